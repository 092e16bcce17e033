"""Silver labels: what becomes of scored candidates, and what a person should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow

from munjang.augment.strategies import keep_like
from munjang.data.cells import NLI_LABELS
from munjang.errors import DataError, Option, Phrase

#: Bars of a histogram of scores.
BARS = 20
#: Examples shown for each tenth of the scale.
_EXAMPLES = 3
#: Pairs offered to a person.
CONTESTED = 50


def histogram(scores: np.ndarray, high: float = 1.0) -> list[int]:
    """Counts of scores in `BARS` equal parts of 0..high; what lies above counts with the last."""
    return np.histogram(np.clip(scores, 0, high), bins=BARS, range=(0, high))[0].tolist()


def kept_pairs(
    scores: np.ndarray, disagreement: np.ndarray, keep_agreed: float, gold: np.ndarray | None, seed: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Which labels stay, and how many were left out why.

    Args:
        scores, disagreement: (n,).
        keep_agreed: share of the pairs on which teachers agree most.
        gold: scores whose spread is to be followed, or None.
        seed: of the draw.

    Returns:
        bool (n,); counts by `disagreement` and `match`.
    """
    stays = np.ones(len(scores), bool)
    if keep_agreed < 1:
        stays[np.argsort(disagreement, kind="stable")[round(keep_agreed * len(scores)) :]] = False
    left_out = {"disagreement": int((~stays).sum()), "match": 0}
    if gold is not None:
        places = np.flatnonzero(stays)
        like = keep_like(scores[places], gold, seed)
        stays[places[~like]] = False
        left_out["match"] = int((~like).sum())
    return stays, left_out


def classes_of(probabilities: np.ndarray, least: float) -> tuple[list[str], np.ndarray]:
    """The likeliest class of each pair, and which pairs stay.

    Args:
        probabilities: (n, 3), in the order of NLI's labels.
        least: probability that a class must have.
    """
    best = probabilities.argmax(axis=1)
    return [NLI_LABELS[i] for i in best], probabilities.max(axis=1) >= least


def triplets_of(table: pyarrow.Table, least_gap: float) -> pyarrow.Table:
    """(anchor, positive, negative) of every sentence whose best and worst partner are far enough apart.

    A sentence with many partners gives several: the best with the worst, the next best with the next worst, while the gap
    holds.

    Args:
        table: with sentence1, sentence2, score.
        least_gap: between the scores of positive and negative.

    Raises:
        DataError: no sentence has two such partners.
    """
    partners: dict[str, list[tuple[float, str]]] = {}
    for a, b, score in zip(*(table[name].to_pylist() for name in ("sentence1", "sentence2", "score")), strict=True):
        partners.setdefault(a, []).append((score, b))
        partners.setdefault(b, []).append((score, a))
    rows: list[tuple[str, str, str, float]] = []
    for anchor, found in partners.items():
        ordered = sorted(found, reverse=True)
        for (high, near), (low, far) in zip(ordered, reversed(ordered), strict=True):
            if high - low < least_gap:
                break
            rows.append((anchor, near, far, high - low))
    if not rows:
        raise DataError(
            "no sentence has one partner that is near and one that is far",
            expected=f"scores {least_gap:g} apart",
            got=f"{table.num_rows:,} pairs of {len(partners):,} sentences",
            hint=Phrase("mine more {} and random pairs, or lower {}", Option("neighbours"), Option("least_gap")),
        )
    names = ("anchor", "positive", "negative", "gap")
    return pyarrow.table({name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})


def examples_by_score(table: pyarrow.Table, seed: int) -> list[dict[str, Any]]:
    """A few pairs of each tenth of the scale, from high to low, drawn with a seed."""
    scores = table["score"].to_numpy()
    tenth = np.minimum((scores * 10).astype(int), 9)
    draw = np.random.default_rng(seed)
    chosen: list[int] = []
    for number in range(9, -1, -1):
        there = np.flatnonzero(tenth == number)
        some = draw.permutation(there)[:_EXAMPLES]
        chosen += sorted(some.tolist(), key=lambda i: -scores[i])
    return _shown(table.take(chosen))


def contested(table: pyarrow.Table, student: np.ndarray | None, count: int = CONTESTED) -> list[dict[str, Any]]:
    """The pairs of which a person's label would say most: where teachers disagree, else where they and the student do.

    Args:
        table: silver pairs with score and disagreement.
        student: the student's cosines (n,), or None.
        count: how many.
    """
    disagreement = table["disagreement"].to_numpy()
    if disagreement.any():
        order, why = np.argsort(-disagreement, kind="stable"), "disagreement"
    elif student is not None:
        # A cosine is on another scale than a score, so their places are compared.
        apart = np.abs(_places(table["score"].to_numpy()) - _places(student))
        order, why = np.argsort(-apart, kind="stable"), "student"
    else:
        return []
    found = _shown(table.take(order[:count]))
    for row, position in zip(found, order[:count], strict=True):
        row |= {"why": why, "disagreement": float(disagreement[position])}
        if student is not None:
            row["student_score"] = float(student[position])
    return found


def _places(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable") / max(len(values) - 1, 1)


def _shown(table: pyarrow.Table) -> list[dict[str, Any]]:
    names = [n for n in ("sentence1", "sentence2", "score", "strategy", "rank", "cosine") if n in table.column_names]
    return table.select(names).to_pylist()


def contested_file(rows: Sequence[Mapping[str, Any]]) -> str:
    """The contested pairs as TSV: the column score is empty, for a person to fill in; what models say stands behind."""
    lines = ["sentence1\tsentence2\tscore\tsilver\tdisagreement"]
    for row in rows:
        texts = (str(row[name]).replace("\t", " ") for name in ("sentence1", "sentence2"))
        lines.append("\t".join([*texts, "", f"{row['score']:.3f}", f"{row['disagreement']:.3f}"]))
    return "\n".join(lines) + "\n"
