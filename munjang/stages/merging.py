"""The stage merge: one bi-encoder whose weights are the mean of several."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from munjang.errors import DataError
from munjang.models.merging import average
from munjang.models.options import MergeOptions
from munjang.models.record import merge_records
from munjang.pipeline.stage import Context
from munjang.stages.dev import Dev
from munjang.stages.inputs import MODEL_FOLDER, model_folder

#: Hidden, so that it is no part of what is committed.
_TRIAL = ".trial"


def run_merge(options: MergeOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write the mean to `out/model`, and what it and each of its parts reach on dev to the report."""
    folders = [model_folder(context, value) for value in options.models]
    dev = Dev(context, options.dev) if options.dev is not None else None
    shares = options.shares or [1.0] * len(folders)
    alone = [_scored(dev, folder, options.dev) for folder in folders] if dev else []
    if options.greedy:
        chosen = _greedy(folders, alone, partial(_scored, dev, where=options.dev), out)
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
    reached, best = _scored(dev, place, options.dev), max(alone)
    shown = ", ".join(f"{value:.2f}" for value in alone)
    context.say(f"  dev {dev.metric}: alone {shown}; together {reached:.2f}")
    if reached < best:
        context.say("  the mean is below the best of them: take that one, or let greedy leave out what harms")
    by_model = dict(zip(options.models, alone, strict=True))
    return {**report, "dev_metric": dev.metric, "dev": by_model, "dev_best": reached}


def _scored(dev: Dev, folder: Path, where: str | None) -> float:
    value = dev(folder)
    if value is None:
        raise DataError("a model cannot be scored on this dev set", where=where, got=str(folder))
    return value


def _greedy(folders: Sequence[Path], alone: Sequence[float], score: Callable[[Path], float], out: Path) -> set[int]:
    """The models that a greedy soup holds: from the best on dev on, each stays if the mean does not fall for it."""
    order = sorted(range(len(folders)), key=lambda i: -alone[i])
    chosen, best = [order[0]], alone[order[0]]
    for candidate in order[1:]:
        tried = [*chosen, candidate]
        trial = out / _TRIAL
        try:
            trial.mkdir()
            average([folders[i] for i in tried], [1.0] * len(tried), trial)
            reached = score(trial)
        finally:
            shutil.rmtree(trial, ignore_errors=True)
        if reached >= best:
            chosen, best = tried, reached
    return set(chosen)
