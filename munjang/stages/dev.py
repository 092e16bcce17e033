"""Bi-encoders on dev, one after another: what the stages that take one of several, or join them, go by."""

from __future__ import annotations

from pathlib import Path

from munjang.data.rows import sentences_of
from munjang.engine.encoder import Encoder
from munjang.evaluate.dev import dev_metric, dev_of_encoder
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
        return dev_of_encoder(Encoder(folder, self._device, cache=True), self._rows.kind, self._rows.rows)
