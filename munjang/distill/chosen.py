"""The recipe of a chosen student, taken out of the recipe in which it was tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, Recipe, StageOptions
from munjang.config.writing import Table, recipe_toml
from munjang.data.catalog import split_name
from munjang.train.options import TrainOptions


def chosen_recipe(recipe: Recipe, student: str, label: str, epochs: float, base: Path) -> str:
    """The stages that lead to a student, with all passes over the data, as a recipe of its own.

    Args:
        recipe: that tried it.
        student: the stage that made it, as `stage:NAME`.
        label: of the student.
        epochs: passes of its own training; what it was made from, such as a teacher, stays as it was.
        base: folder of `recipe`; its relative paths become absolute.
    """
    chain = _chain(recipe, student)
    used = {value.removeprefix(DATA_PREFIX) for stage in chain for _, value, _ in stage.references()}
    data = {}
    for key, spec in recipe.data.items():
        if key in used:
            settings = spec.model_dump(mode="json", exclude_defaults=True)
            data[key] = {**settings, "source": _absolute(spec.source, base)}
    stages = [("", _table(stage, base)) for stage in chain]
    if isinstance(chain[-1], TrainOptions):
        stages[-1][1]["epochs"] = epochs
        stages[-1][1].pop("evaluations", None)  # once was enough to compare; here dev chooses the weights
    head = (f"The student {label} of {recipe.title}, trained in full; written by the stage plan.",)
    return recipe_toml(f"{recipe.name}-{label}", f"{recipe.title}: {label}", recipe.seed, data, stages, head)


def _chain(recipe: Recipe, student: str) -> list[StageOptions]:
    """The stages that a model was made from, in order, itself the last."""
    wanted = {student.removeprefix(STAGE_PREFIX)}
    chain = []
    for stage in reversed(recipe.stages):
        if stage.name in wanted:
            chain.insert(0, stage)
            references = (value for _, value, _ in stage.references())
            wanted |= {value.removeprefix(STAGE_PREFIX) for value in references if value.startswith(STAGE_PREFIX)}
    return chain


def _table(stage: StageOptions, base: Path) -> Table:
    """A stage as a recipe holds it."""
    table = stage.model_dump(mode="json", exclude_unset=True)
    for option, value, _ in stage.references():
        place = option.partition("[")[0].partition(".")[0]
        table[place] = _replaced(table[place], value, _absolute(value, base))
    return {"name": table.pop("name"), "kind": stage.kind, **table}


def _absolute(value: str, base: Path) -> str:
    """A path of the disk from wherever it is read; any other name stays what it is."""
    if value.startswith((DATA_PREFIX, STAGE_PREFIX)) or split_name(value) is not None:
        return value
    path = base / Path(value).expanduser()
    return str(path.absolute()) if path.exists() else value


def _replaced(found: Any, old: str, new: str) -> Any:
    if isinstance(found, dict):
        return {key: _replaced(item, old, new) for key, item in found.items()}
    if isinstance(found, list):
        return [_replaced(item, old, new) for item in found]
    return new if found == old else found
