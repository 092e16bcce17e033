"""The stages train.bi and train.cross."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from munjang.data.rows import ScoredPair
from munjang.engine.encoder import Encoder
from munjang.engine.scorer import Scorer
from munjang.errors import DataError
from munjang.evaluate.metrics import spearman
from munjang.evaluate.sts import cosine_of_pairs, gold_scores
from munjang.files import lock
from munjang.models.card import write_card
from munjang.pipeline.stage import Context
from munjang.stages.inputs import MODEL_FOLDER, load_input_rows, model_folder
from munjang.train.best import TrainReport
from munjang.train.bi import train_bi
from munjang.train.checkpoint import Checkpoints
from munjang.train.cross import train_cross
from munjang.train.loop import without_leaks
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions


def run_train_bi(options: TrainBiOptions, context: Context, out: Path) -> dict[str, Any]:
    """Train a bi-encoder into `out/model`."""
    rows, dev, excluded = _training_rows(options, context)

    def score(encoder: Encoder) -> float | None:
        return _times_100(spearman(cosine_of_pairs(encoder, dev), gold_scores(dev)))

    with _checkpoints(context) as checkpoints:
        report = train_bi(options, rows, score, checkpoints=checkpoints, **_arguments(options, context, out))
    return _finish(options, context, out, report, excluded)


def run_train_cross(options: TrainCrossOptions, context: Context, out: Path) -> dict[str, Any]:
    """Train a cross-encoder into `out/model`."""
    rows, dev, excluded = _training_rows(options, context)

    def score(scorer: Scorer) -> float | None:
        return _times_100(spearman(scorer.score([row[:2] for row in dev]), gold_scores(dev)))

    with _checkpoints(context) as checkpoints:
        report = train_cross(options, rows, score, checkpoints=checkpoints, **_arguments(options, context, out))
    return _finish(options, context, out, report, excluded)


@contextlib.contextmanager
def _checkpoints(context: Context) -> Iterator[Checkpoints | None]:
    """The checkpoints of the stage at work, for this process alone."""
    if context.work is None:
        yield None
        return
    try:
        with lock(context.work, "training"):
            yield Checkpoints(context.work, context.fingerprint, context.say)
    finally:
        if not any(context.work.glob("step-*")):
            shutil.rmtree(context.work, ignore_errors=True)


def _times_100(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _arguments(options: TrainOptions, context: Context, out: Path) -> dict[str, Any]:
    return {
        "start": model_folder(context, options.model),
        "out": out / MODEL_FOLDER,
        "seed": context.recipe.seed,
        "device": context.device,
        "progress": context.progress(f"training {options.name}"),
    }


def _training_rows(options: TrainOptions, context: Context) -> tuple[list[ScoredPair], list[ScoredPair], int]:
    sets = [load_input_rows(context, value).rows for value in options.train]
    dev = load_input_rows(context, options.dev).rows
    unseen = [load_input_rows(context, value).rows for value in options.exclude]
    clean_dev = without_leaks(dev, unseen)
    if len(clean_dev) < len(dev):
        lost = len(dev) - len(clean_dev)
        context.say(f"  {lost:,} of {len(dev):,} dev pairs share a sentence with an excluded set: left out")
    dev = clean_dev
    held_out = [dev, *unseen]
    if len({row.score for row in dev}) < 2:
        raise DataError(
            "dev cannot choose weights: all of its scores are equal", where=options.dev, got=f"{len(dev)} rows"
        )
    total = sum(map(len, sets))
    left = [without_leaks(rows, held_out) for rows in sets]
    excluded = total - sum(map(len, left))
    if excluded == total:
        raise DataError("every training pair shares a sentence with dev or an excluded set", got=f"{total} pairs")
    kept = [row for rows, times in zip(left, options.repeats or [1] * len(left), strict=True) for row in rows * times]
    if excluded:
        context.say(
            f"  {excluded:,} of {total:,} training pairs share a sentence with dev or an excluded set: left out"
        )
    return kept, dev, excluded


def _finish(options: TrainOptions, context: Context, out: Path, report: TrainReport, excluded: int) -> dict[str, Any]:
    report.excluded = excluded
    if report.truncated:
        context.say(f"  {report.truncated:,} training texts exceed {options.max_length} tokens: cut")
    write_card(out / MODEL_FOLDER, options, context.recipe.name, report.as_dict())
    before = "undefined" if report.dev_before is None else f"{report.dev_before:.2f}"
    context.say(f"  dev Spearman {before} -> {report.dev_best:.2f} (best at step {report.best_step} of {report.steps})")
    if report.best_step == 0:
        context.say("  nothing beat the starting weights on dev: they are kept")
    return report.as_dict()
