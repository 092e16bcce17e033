"""The stage merge: one bi-encoder whose weights are the mean of several."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from munjang.engine.encoder import Encoder
from munjang.errors import DataError
from munjang.evaluate.dev import dev_metric, dev_of_encoder
from munjang.models.merging import average
from munjang.models.options import MergeOptions
from munjang.models.record import merge_records
from munjang.pipeline.stage import Context
from munjang.stages.inputs import MODEL_FOLDER, load_input_rows, model_folder
from munjang.train.objectives import DEV_KINDS

#: Hidden, so that it is no part of what is committed.
_TRIAL = ".trial"


def run_merge(options: MergeOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write the mean to `out/model`, and what it and each of its parts reach on dev to the report."""
    folders = [model_folder(context, value) for value in options.models]
    dev = _Dev(options, context) if options.dev is not None else None
    shares = options.shares or [1.0] * len(folders)
    alone = [dev(folder) for folder in folders] if dev else []
    if options.greedy:
        chosen = _greedy(folders, alone, dev, out)
        shares = [float(i in chosen) for i in range(len(folders))]
    taken = [i for i, share in enumerate(shares) if share > 0]
    place = out / MODEL_FOLDER
    place.mkdir()
    tensors = average([folders[i] for i in taken], [shares[i] for i in taken], place)
    merge_records([folders[i] for i in taken], place)
    report = {"merged": [options.models[i] for i in taken], "shares": [shares[i] for i in taken], "tensors": tensors}
    context.say(f"  {tensors:,} tensors are the mean of {len(taken)} models")
    if dev is None:
        return report
    reached, best = dev(place), max(alone)
    shown = ", ".join(f"{value:.2f}" for value in alone)
    context.say(f"  dev {dev.metric}: alone {shown}; together {reached:.2f}")
    if reached < best:
        context.say("  the mean is below the best of them: take that one, or let greedy leave out what harms")
    by_model = dict(zip(options.models, alone, strict=True))
    return {**report, "dev_metric": dev.metric, "dev": by_model, "dev_best": reached}


class _Dev:
    """Scores of models on dev."""

    def __init__(self, options: MergeOptions, context: Context) -> None:
        self._rows = load_input_rows(context, options.dev, DEV_KINDS["bi"])
        context.readings[-1] |= {"use": "dev"}
        self.metric = dev_metric(self._rows.kind, self._rows.rows, False, options.dev)
        self._device, self._where = context.device, options.dev

    def __call__(self, folder: Path) -> float:
        value = dev_of_encoder(Encoder(folder, self._device, cache=True), self._rows.kind, self._rows.rows)
        if value is None:
            raise DataError("a model cannot be scored on this dev set", where=self._where, got=str(folder))
        return value


def _greedy(folders: Sequence[Path], alone: Sequence[float], dev: _Dev, out: Path) -> set[int]:
    """The models that a greedy soup holds: from the best on dev on, each stays if the mean does not fall for it."""
    order = sorted(range(len(folders)), key=lambda i: -alone[i])
    chosen, best = [order[0]], alone[order[0]]
    for candidate in order[1:]:
        tried = [*chosen, candidate]
        trial = out / _TRIAL
        try:
            trial.mkdir()
            average([folders[i] for i in tried], [1.0] * len(tried), trial)
            reached = dev(trial)
        finally:
            shutil.rmtree(trial, ignore_errors=True)
        if reached >= best:
            chosen, best = tried, reached
    return set(chosen)
