"""Options of a recipe that have no effect: set by hand, and read by nobody.

What a training would refuse for that reason is not here: its options say so themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from munjang.augment.options import Labelling, MineOptions
from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, Recipe, StageOptions
from munjang.data.lint import Finding
from munjang.evaluate.options import EvaluateOptions
from munjang.index.options import IndexOptions, SearchOptions
from munjang.models.options import ConvertOptions

#: Stages whose result is of no use by itself.
_FOR_OTHERS = (MineOptions, Labelling)


def idle_options(recipe: Recipe, made: Mapping[str, str], rows: Mapping[str, str]) -> list[Finding]:
    """Options without effect, stages that nobody reads, and data sets that nobody names.

    Args:
        recipe: checked.
        made: model as options name it -> `bi-encoder` or `cross-encoder`, as far as is known.
        rows: data set as options name it -> kind of its rows, as far as is known.
    """
    findings = []
    for stage in recipe.stages:
        for option, reason in _idle(stage, recipe, made):
            where = f"stage.{stage.name}.{option}"
            findings.append(
                Finding("warning", "no-effect", where, f"this option has no effect: {reason}", "", "leave it out")
            )
    return [*findings, *_unused(recipe, rows)]


def _idle(stage: StageOptions, recipe: Recipe, made: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(option, reason) of every option that was set and has no effect."""
    if isinstance(stage, EvaluateOptions):
        found = _idle_evaluation(stage, made)
    elif isinstance(stage, SearchOptions):
        found = _idle_search(stage, recipe)
    elif isinstance(stage, ConvertOptions):
        crossing = made.get(stage.model) == "cross-encoder" and stage.to not in ("bi", "static")
        found = iter([("pooling", "a cross-encoder's head keeps reading what it read")] if crossing else [])
    else:
        return
    yield from ((option, reason) for option, reason in found if option in stage.model_fields_set)


def _idle_evaluation(stage: EvaluateOptions, made: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    measured = list(stage.models.values())
    reranked = any(one.reranker for one in measured)
    if not reranked and all(made.get(model) == "bi-encoder" for one in measured for model in one.model):
        yield "symmetric", "no model is a cross-encoder"
    if not reranked:
        yield "rerank", "no model has a cross-encoder behind it"
    if len(measured) == 1:
        yield "baseline", "there is no other model to compare with"


def _idle_search(stage: SearchOptions, recipe: Recipe) -> Iterator[tuple[str, str]]:
    indexes = {STAGE_PREFIX + other.name: other for other in recipe.stages if isinstance(other, IndexOptions)}
    if all(value in indexes and indexes[value].reranker is None for value in stage.indexes.values()):
        yield "rerank", "no index has a reranker"


def _unused(recipe: Recipe, rows: Mapping[str, str]) -> Iterator[Finding]:
    named = {value for stage in recipe.stages for _, value, _ in stage.references()}
    for stage in recipe.stages:
        if isinstance(stage, _FOR_OTHERS) and STAGE_PREFIX + stage.name not in named:
            message = "no later stage reads what this one makes"
            remedy = f"name {STAGE_PREFIX}{stage.name} where it is meant to be used, or remove the stage"
            yield Finding("warning", "unused-stage", f"stage.{stage.name}", message, remedy=remedy)
    for key, spec in recipe.data.items():
        kind = rows.get(DATA_PREFIX + key)
        if DATA_PREFIX + key not in named:
            message, remedy = "no stage names this data set", f"name {DATA_PREFIX}{key} where it is meant to be used"
            yield Finding("warning", "unused-data", f"data.{key}", message, spec.source, remedy)
        elif spec.scale is not None and kind not in (None, "scored-pairs"):
            message = f"this option has no effect: {kind} have no scores on a scale"
            yield Finding("warning", "no-effect", f"data.{key}.scale", message, "", "leave it out")
