"""Options of a recipe that have no effect: set by hand, and read by nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from munjang.augment.options import LabelOptions, MineOptions
from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, Recipe, StageOptions
from munjang.data.lint import Finding
from munjang.evaluate.options import EvaluateOptions
from munjang.index.options import IndexOptions, SearchOptions
from munjang.models.options import ConvertOptions
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions

#: Objectives of bi-encoders that read an option; see `munjang.train.losses`.
_READ_BY: Mapping[str, frozenset[str]] = {
    "margin": frozenset({"triplet", "contrastive", "online-contrastive"}),
    "similarity_scale": frozenset({"mnrl", "simcse", "kl", "margin-mse", "cosent", "angle"}),
}
#: Stages whose result is of no use by itself.
_FOR_OTHERS = (MineOptions, LabelOptions)


def idle_options(
    recipe: Recipe, made: Mapping[str, str], rows: Mapping[str, str], objectives: Mapping[str, Collection[str]]
) -> list[Finding]:
    """Options without effect, stages that nobody reads, and data sets that nobody names.

    Args:
        recipe: checked.
        made: model as options name it -> `bi-encoder` or `cross-encoder`, as far as is known.
        rows: data set as options name it -> kind of its rows, as far as is known.
        objectives: training stage -> names of the objectives of its sets, where all of them are known.
    """
    findings = []
    for stage in recipe.stages:
        kinds = {rows[value] for _, value, _ in stage.references() if value in rows}
        for option, reason in _idle(stage, recipe, made, kinds, objectives.get(stage.name, ())):
            where = f"stage.{stage.name}.{option}"
            findings.append(
                Finding("warning", "no-effect", where, f"this option has no effect: {reason}", "", "leave it out")
            )
    return [*findings, *_unused(recipe, rows)]


def _idle(
    stage: StageOptions, recipe: Recipe, made: Mapping[str, str], kinds: set[str], objectives: Collection[str]
) -> Iterator[tuple[str, str]]:
    """(option, reason) of every option that was set and has no effect."""
    given = stage.model_fields_set
    if isinstance(stage, TrainOptions):
        found = _idle_training(stage, made, kinds, objectives)
    elif isinstance(stage, EvaluateOptions):
        found = _idle_evaluation(stage, made)
    elif isinstance(stage, SearchOptions):
        found = _idle_search(stage, recipe)
    elif isinstance(stage, ConvertOptions):
        crossing = made.get(stage.model) == "cross-encoder" and stage.to != "bi"
        found = iter([("pooling", "a cross-encoder's head keeps reading what it read")] if crossing else [])
    else:
        return
    yield from ((option, reason) for option, reason in found if option in given)


def _idle_training(
    stage: TrainOptions, made: Mapping[str, str], kinds: set[str], objectives: Collection[str]
) -> Iterator[tuple[str, str]]:
    if stage.batch_tokens is not None:
        yield "batch_size", "batch_tokens takes its place"
    if stage.freeze_layers:
        yield "word_embeddings", "freeze_layers keeps the embeddings as they are"
    if all(one.objective is not None for one in stage.train):
        yield "objective", "every set names one of its own"
    if isinstance(stage, TrainBiOptions) and objectives:
        for option, readers in _READ_BY.items():
            if readers.isdisjoint(objectives):
                yield option, f"none of {', '.join(sorted(readers))} is trained"
        if set(objectives) == {"tsdae"}:
            yield "matryoshka", "tsdae has no smaller dimensions"
    if isinstance(stage, TrainCrossOptions):
        if made.get(stage.model) == "cross-encoder":
            yield "pooling", "the model is a cross-encoder already, and its head keeps reading what it read"
        if kinds and "scored-pairs" not in kinds:
            yield "orders", "only scored pairs come in two orders"
        if kinds and kinds.isdisjoint({"scored-pairs", "positive-pairs", "parallel-pairs"}):
            yield "negatives", "only scored and positive pairs take random negatives"


def _idle_evaluation(stage: EvaluateOptions, made: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if all(made.get(model) == "bi-encoder" for model in stage.models.values()):
        yield "symmetric", "no model is a cross-encoder"
    if len(stage.models) == 1:
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
