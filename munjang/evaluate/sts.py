"""Semantic textual similarity: bi-encoders and cross-encoders measured in one way."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from munjang.data.rows import ScoredPair, sentences_of
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.engine.scorer import Scorer
from munjang.evaluate.metrics import Estimate, correlations, paired_difference
from munjang.models.folder import model_kind
from munjang.progress import Progress, silent


@dataclass
class Cell:
    """One model on one set."""

    model: str
    set: str
    predicted: np.ndarray
    spearman: Estimate
    pearson: Estimate
    against_baseline: Estimate | None = None
    """Spearman minus the baseline's, x 100, over the same resamples."""


@dataclass
class Evaluation:
    """All models on all sets, with the scores of every row."""

    sets: dict[str, list[ScoredPair]]
    kinds: dict[str, str]
    baseline: str | None
    cells: list[Cell] = field(default_factory=list)
    truncated: dict[str, int] = field(default_factory=dict)
    """Texts that were cut at the model's maximum length, by model."""

    def cell(self, model: str, set_name: str) -> Cell:
        """The cell of a model and a set."""
        return next(c for c in self.cells if c.model == model and c.set == set_name)

    def as_dict(self) -> dict[str, Any]:
        """The table as JSON values, without the rows."""
        return {
            "baseline": self.baseline,
            "models": {m: {"kind": k, "truncated": self.truncated.get(m, 0)} for m, k in self.kinds.items()},
            "sets": {name: len(rows) for name, rows in self.sets.items()},
            "cells": [
                {
                    "model": c.model,
                    "set": c.set,
                    "spearman": c.spearman.as_dict(),
                    "pearson": c.pearson.as_dict(),
                    "against_baseline": c.against_baseline.as_dict() if c.against_baseline else None,
                }
                for c in self.cells
            ],
        }


def gold_scores(rows: list[ScoredPair]) -> np.ndarray:
    """The rows' scores: (n,), on 0..1."""
    return np.array([row.score for row in rows])


def cosine_of_pairs(encoder: Encoder, rows: list[ScoredPair], progress: Progress = silent) -> np.ndarray:
    """Cosine of the two sentences of each row: (n,), in -1..1."""
    vectors = encoder.encode(sentences_of(rows), progress=progress)
    return cosine_of_rows(vectors[0::2], vectors[1::2])


def evaluate_sts(
    models: Mapping[str, Path],
    sets: Mapping[str, list[ScoredPair]],
    *,
    baseline: str | None = None,
    symmetric: bool = True,
    device: str = "cpu",
    progress: Callable[[str], Progress] = lambda title: silent,
) -> Evaluation:
    """Measure models on sets of scored pairs.

    A bi-encoder is measured by the cosine of its vectors under its own default prompt, a cross-encoder by its
    scores. Both see a sentence that occurs in several sets once.

    Args:
        models: label -> folder.
        sets: name -> rows.
        baseline: label of the model that others are compared with.
        symmetric: let cross-encoders score both orders of a pair.
        device: such as `cpu`.
        progress: opens a display with a title.
    """
    result = Evaluation(dict(sets), {label: model_kind(folder) for label, folder in models.items()}, baseline)
    rows = [row for part in sets.values() for row in part]
    bounds = np.cumsum([0, *(len(part) for part in sets.values())])
    for label, folder in models.items():
        predicted, result.truncated[label] = _predict(
            folder, result.kinds[label], rows, symmetric, device, progress(f"evaluating {label}")
        )
        for (name, part), start, end in zip(sets.items(), bounds[:-1], bounds[1:], strict=True):
            scores = predicted[start:end]
            estimates = correlations(scores, gold_scores(part))
            result.cells.append(Cell(label, name, scores, estimates["spearman"], estimates["pearson"]))
    if baseline is not None:
        for cell in result.cells:
            if cell.model != baseline:
                other = result.cell(baseline, cell.set).predicted
                cell.against_baseline = paired_difference(cell.predicted, other, gold_scores(result.sets[cell.set]))
    return result


def _predict(
    folder: Path, kind: str, rows: list[ScoredPair], symmetric: bool, device: str, progress: Progress
) -> tuple[np.ndarray, int]:
    runner: Encoder | Scorer
    if kind == "cross-encoder":
        runner = Scorer(folder, device, symmetric)
        scores = runner.score([(row.sentence1, row.sentence2) for row in rows], progress)
    else:
        runner = Encoder(folder, device)
        scores = cosine_of_pairs(runner, rows, progress)
    truncated = runner.counts.truncated
    del runner
    gc.collect()
    return scores, truncated
