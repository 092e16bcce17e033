"""Models on dev: what stages that train, that take one of several, or that join them, go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from munjang.data.rows import sentences_of
from munjang.engine.encoder import Encoder
from munjang.evaluate.dev import dev_metric, dev_of_encoder, dev_of_scorer, matching_accuracies
from munjang.pipeline.stage import Context
from munjang.stages.inputs import load_input_rows
from munjang.train.objectives import DEV_KINDS


class Dev:
    """A dev set and what it measures.

    Args:
        context: of the stage, in which the reading is noted.
        value: names the rows.
    """

    def __init__(self, context: Context, value: str) -> None:
        self._rows = load_input_rows(context, value, DEV_KINDS["bi"])
        context.readings[-1] |= {"use": "dev"}
        self.metric = dev_metric(self._rows.kind, self._rows.rows, False, value)
        #: All texts of its rows.
        self.texts: list[str] = sentences_of(self._rows.rows)
        self._device = context.device

    def __call__(self, folder: Path) -> float | None:
        """What a model reaches, x 100; None where its outputs do not differ."""
        return self.of(Encoder(folder, self._device, cache=True))

    def of(self, encoder: Encoder) -> float | None:
        """The same of a model in memory."""
        return dev_of_encoder(encoder, self._rows.kind, self._rows.rows)


class DevRows(NamedTuple):
    """One dev set of a training."""

    name: str
    kind: str
    rows: list[Any]


class DevSets:
    """The dev sets of a training: the mean of what they measure chooses the weights.

    Args:
        sets: at least one.
        cross: True for a cross-encoder.
        more: measures more of a model that is said and chooses nothing.

    Raises:
        DataError: rows that cannot choose weights.
    """

    def __init__(
        self, sets: Sequence[DevRows], cross: bool, more: Callable[[Any], dict[str, float]] | None = None
    ) -> None:
        self._sets, self._cross, self._more = sets, cross, more
        self._metrics = [dev_metric(one.kind, one.rows, cross, one.name) for one in sets]
        self.parts: dict[str, float | None] = {}
        """Of the last model: what each set measured, by set and metric, and what else is known of it. Empty where the one
        number says all."""

    @property
    def metric(self) -> str:
        """What the sets measure together."""
        if len(self._sets) == 1:
            return self._metrics[0]
        names = dict.fromkeys(self._metrics)
        return f"mean of {next(iter(names))}" if len(names) == 1 else f"mean over {len(self._sets)} dev sets"

    def __call__(self, runner: Any) -> float | None:
        """The mean over the sets, x 100; None where one of them is undefined."""
        values: list[float | None] = []
        parts: dict[str, float | None] = {}
        for one, metric in zip(self._sets, self._metrics, strict=True):
            name = f"{one.name}: {metric}"
            if one.kind in ("positive-pairs", "parallel-pairs"):
                forth, back = (100 * share for share in matching_accuracies(runner, one.rows))
                parts |= {f"{name}, first to second": forth, f"{name}, second to first": back}
                values.append((forth + back) / 2)
                continue
            score = dev_of_scorer if self._cross else dev_of_encoder
            values.append(score(runner, one.kind, one.rows))
            parts[name] = values[-1]
        if self._more is not None:
            parts |= self._more(runner)
        self.parts = parts if len(parts) > 1 else {}
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None
