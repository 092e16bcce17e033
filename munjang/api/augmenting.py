"""Augmented SBERT in one call: the recipe is written, and run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from munjang.api.naming import checked_options, name_data
from munjang.api.runs import RunResult, run
from munjang.augment.plan import AugmentPlan, recipe_text
from munjang.config.recipe import DATA_PREFIX, DataSpec
from munjang.data.load import load_rows
from munjang.errors import DataError, Option
from munjang.files import write_bytes
from munjang.progress import QUIET, Show

RECIPE_FILE = "recipe.toml"
#: Fields of a plan that name scored pairs, and those that name texts.
_SCORED, _TEXTS = ("gold", "existing", "dev", "test"), ("raw", "pairs")
#: Gold pairs below which nothing can be learned: a ranking needs some to order.
_LEAST_GOLD = 8


def augment(
    out: str | Path,
    *,
    seed: int = 42,
    device: str | None = None,
    show: Show = QUIET,
    reading: Mapping[str, Any] | None = None,
    **plan: Any,
) -> RunResult:
    """Train a bi-encoder on gold and silver pairs, and measure what silver gave.

    The recipe of the run is written to `out/recipe.toml`; the same call goes on where it was stopped.

    Args:
        out: directory of the run.
        seed: of everything that is drawn.
        device: such as `cpu`; by default cuda, else mps, else cpu.
        show: how to tell about progress.
        reading: fields of `DataSpec` for files, such as `scale`.
        plan: fields of `munjang.augment.plan.AugmentPlan`.

    Returns:
        The run; its stage `gain` holds the table of gains.

    Raises:
        ConfigError: the plan is wrong. DataError: too few gold pairs, or gold whose scores are all equal.
        GateError: the teachers are no better than the student, or their labels are of no use.
    """
    checked = checked_options(AugmentPlan, "augment", **plan)
    directory = Path(out)
    text = _recipe(checked, dict(reading or {}), directory.resolve().name, seed)
    directory.mkdir(parents=True, exist_ok=True)
    write_bytes(directory / RECIPE_FILE, text.encode())
    return run(directory / RECIPE_FILE, out=directory, device=device, show=show)


def _recipe(plan: AugmentPlan, reading: dict[str, Any], name: str, seed: int) -> str:
    """The text of the recipe, its data found and gold looked at."""
    # How scores are read says nothing of files without any.
    of_texts = {key: value for key, value in reading.items() if key in ("encoding", "rejects")}
    scored, data = _named(plan, _SCORED, reading)
    texts, more = _named(plan, _TEXTS, of_texts) if plan.raw or plan.pairs else ({}, {})
    plan = plan.model_copy(update={**scored, **texts})
    data |= more
    scores = []
    for value in plan.gold_sets:
        key = value.removeprefix(DATA_PREFIX)
        spec = data[key] if key != value else DataSpec(source=value)
        scores += [row.score for row in load_rows(spec, ("scored-pairs",), Path.cwd(), seed).rows]
    _require_gold(scores, plan)
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "augment"
    return recipe_text(plan, data, plain, seed, len(scores), Path.cwd())


def _named(
    plan: AugmentPlan, fields: tuple[str, ...], reading: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, DataSpec]]:
    """Fields that name data, as a recipe names them, and how the files among them are read."""
    values = {field: getattr(plan, field) for field in fields}
    listed = {f: [value] if isinstance(value, str) else list(value or []) for f, value in values.items()}
    names, data = name_data([source for sources in listed.values() for source in sources], reading)
    rest = iter(names)
    named = {field: [next(rest) for _ in sources] for field, sources in listed.items()}
    return {f: found if isinstance(values[f], list) else (found or [None])[0] for f, found in named.items()}, data


def _require_gold(scores: list[float], plan: AugmentPlan) -> None:
    where = Option("gold", plan.gold) if plan.gold else Option("existing", plan.existing)
    if len(scores) < _LEAST_GOLD:
        raise DataError(
            "too few gold pairs to learn anything from",
            where=where,
            expected=f"at least {_LEAST_GOLD}",
            got=f"{len(scores)}",
            hint="label a few more, or name pairs of another domain under existing",
        )
    if min(scores) == max(scores):
        raise DataError(
            "all gold scores are equal: there is nothing to tell apart",
            where=where,
            expected="scores that differ",
            got=f"{len(scores):,} pairs, all {scores[0]:g} on 0..1",
            hint="score pairs that are alike and pairs that are not",
        )
