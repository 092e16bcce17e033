"""Stages and data that a recipe writes once for many values.

    [grid]
    size = [250, 500]
    seed = [1, 2, 3]

    [data."gold-{size}"]
    source = "korsts:train"
    sample = "{size}"

    [[stage]]
    name = "bi-{size}-{seed}"
    kind = "train.bi"
    train = ["data:gold-{size}"]
    seeds = ["{seed}"]

    [[stage]]
    name = "result-{size}"
    kind = "evaluate"
    models = { gold = ["stage:bi-{size}-{seed}"] }

A stage whose name holds `{size}` stands once for each size. A text that is `{size}` and nothing else becomes the value
itself, a number for instance. An item of a list or a key of a table that holds an axis which the name does not stands once
for each of its values: `result-250` measures the models of all seeds.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

_AXIS = re.compile(r"\{([A-Za-z][A-Za-z0-9_-]*)\}")
#: Stages that a grid may make; more are a slip of the hand.
_MOST = 10_000
Values = Mapping[str, Any]


class GridError(Exception):
    """What is wrong with a grid, and where."""


def expand(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without its grid: every stage and data set by itself.

    Args:
        raw: the tables of a recipe; without a table `grid` it comes back as it is.

    Raises:
        GridError: the grid is none, or something names an axis where it has no value.
    """
    if "grid" not in raw:
        return dict(raw)
    axes = _checked(raw["grid"])
    whole = {key: value for key, value in raw.items() if key != "grid"}
    if isinstance(whole.get("data"), dict):
        whole["data"] = {
            _text(key, values): _filled(spec, values, axes, f"data.{key}")
            for key, spec in whole["data"].items()
            for values in _combinations(key, axes)
        }
    if isinstance(whole.get("stage"), list):
        stages = []
        for number, stage in enumerate(whole["stage"]):
            name = stage.get("name") if isinstance(stage, dict) else None
            place = f"stage.{name}" if isinstance(name, str) else f"stage[{number}]"
            for values in _combinations(name if isinstance(name, str) else "", axes):
                stages.append(_filled(stage, values, axes, place))
        if len(stages) > _MOST:
            raise GridError(f"grid: {len(stages):,} stages, more than {_MOST:,}")
        whole["stage"] = stages
    return whole


def _checked(grid: Any) -> dict[str, list[Any]]:
    if not isinstance(grid, dict) or not grid:
        raise GridError("grid: expected a table of lists, such as size = [250, 500]")
    for axis, values in grid.items():
        if not _AXIS.fullmatch("{" + axis + "}"):
            raise GridError(f"grid.{axis}: an axis has a name of letters, digits, - and _")
        if not isinstance(values, list) or not values:
            raise GridError(f"grid.{axis}: expected a list of values")
        plain = (isinstance(value, str | int | float) and not isinstance(value, bool) for value in values)
        if not all(plain) or len({str(value) for value in values}) < len(values):
            raise GridError(f"grid.{axis}: values are texts or numbers, each once")
    return grid


def _combinations(text: str, axes: Mapping[str, list[Any]], bound: Values | None = None) -> Iterator[dict[str, Any]]:
    """Values for the axes that a text holds, besides those that are bound, in the order of the grid."""
    bound = bound or {}
    free = [axis for axis in axes if axis in _AXIS.findall(text) and axis not in bound]
    for values in itertools.product(*(axes[axis] for axis in free)):
        yield {**bound, **dict(zip(free, values, strict=True))}


def _filled(value: Any, values: Values, axes: Mapping[str, list[Any]], place: str) -> Any:
    if isinstance(value, str):
        return _whole(value, values, axes, place)
    if isinstance(value, dict):
        return {
            _text(key, inside): _filled(item, inside, axes, f"{place}.{key}")
            for key, item in value.items()
            for inside in _combinations(key, axes, values)
        }
    if isinstance(value, list):
        found = []
        for number, item in enumerate(value):
            free = item if isinstance(item, str) else ""
            for inside in _combinations(free, axes, values):
                found.append(_filled(item, inside, axes, f"{place}[{number}]"))
        return found
    return value


def _whole(text: str, values: Values, axes: Mapping[str, list[Any]], place: str) -> Any:
    alone = _AXIS.fullmatch(text)
    if alone and alone[1] in values:
        return values[alone[1]]
    missing = [axis for axis in _AXIS.findall(text) if axis in axes and axis not in values]
    if missing:
        raise GridError(f"{place}: {{{missing[0]}}} has no value here; let the name hold it, or make this a list")
    return _text(text, values)


def _text(text: str, values: Values) -> str:
    return _AXIS.sub(lambda found: str(values.get(found[1], found[0])), text)
