"""Correlations with bootstrap intervals; what is undefined is None with a reason, never 0 and never NaN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

#: Resamples of the bootstrap. 2,000 put the ends of a 95% interval within about 0.1 points of their limit.
RESAMPLES = 2_000
#: Fewer rows give no interval: resamples of a handful repeat the same few values and say nothing of other rows.
LEAST_ROWS = 10
_BLOCK_CELLS = 2_000_000


class Estimate(NamedTuple):
    """A metric with its 95% interval, all x 100; all None, with a reason, where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""

    def as_dict(self) -> dict[str, float | str | None]:
        """The estimate as JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high, "reason": self.reason or None}

    @classmethod
    def of(cls, values: dict[str, Any]) -> Estimate:
        """An estimate back from its JSON values."""
        return cls(values["value"], values["low"], values["high"], values["reason"] or "")


def pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's correlation, or None where a side is constant or not finite, or of fewer than two rows."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1, 1))


def spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    """Spearman's rank correlation with ties at their mean rank, or None where it is undefined."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    return pearson(rankdata(x), rankdata(y))


def why_undefined(predicted: np.ndarray, gold: np.ndarray) -> str:
    """Why a correlation of these scores is undefined, or an empty string."""
    if len(gold) < 2:
        return f"{len(gold)} row"
    if not (np.isfinite(gold).all() and np.isfinite(predicted).all()):
        return "a score is not a finite number"
    if np.ptp(np.asarray(gold, np.float64)) == 0:
        return "all gold scores are equal"
    if np.ptp(np.asarray(predicted, np.float64)) == 0:
        return "all predicted scores are equal"
    return ""


def bootstrap_rows(rows: int, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """The rows of each resample: int64 (resamples, rows); the same for every model, so that intervals compare."""
    return np.random.default_rng(seed).integers(0, rows, size=(resamples, rows))


def correlations(
    predicted: np.ndarray, gold: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Spearman and Pearson x 100 with 95% percentile-bootstrap intervals over rows.

    Args:
        predicted: (n,) scores of a model. gold: (n,) scores of people.
        seed: of the resampling.
        resamples: how many.
    """
    reason = why_undefined(predicted, gold)
    if reason:
        undefined = Estimate(None, None, None, reason)
        return {"spearman": undefined, "pearson": undefined}
    predicted, gold = np.asarray(predicted, np.float64), np.asarray(gold, np.float64)
    drawn: dict[str, list[np.ndarray]] = {"spearman": [], "pearson": []}
    for rows in _blocks(len(gold), seed, resamples):
        drawn["spearman"].append(_row_pearson(_ranks(predicted[rows]), _ranks(gold[rows])))
        drawn["pearson"].append(_row_pearson(predicted[rows], gold[rows]))
    return {
        "spearman": _estimate(spearman(predicted, gold), np.concatenate(drawn["spearman"]), len(gold)),
        "pearson": _estimate(pearson(predicted, gold), np.concatenate(drawn["pearson"]), len(gold)),
    }


def paired_difference(
    predicted: np.ndarray, other: np.ndarray, gold: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Spearman of one model minus another's, x 100, with a 95% interval over the same resamples of rows.

    Because both models see the same rows, the interval is narrower than the two single ones suggest: models may
    differ clearly though their intervals overlap (paired bootstrap, Efron and Tibshirani 1993).
    """
    reason = why_undefined(predicted, gold) or why_undefined(other, gold)
    if reason:
        return Estimate(None, None, None, reason)
    gold = np.asarray(gold, np.float64)
    scores = [np.asarray(s, np.float64) for s in (predicted, other)]
    drawn = []
    for rows in _blocks(len(gold), seed, resamples):
        ranks = _ranks(gold[rows])
        ours, theirs = (_row_pearson(_ranks(s[rows]), ranks) for s in scores)
        drawn.append(ours - theirs)
    difference = (spearman(scores[0], gold) or 0.0) - (spearman(scores[1], gold) or 0.0)
    return _estimate(difference, np.concatenate(drawn), len(gold))


def _ranks(values: np.ndarray) -> np.ndarray:
    return rankdata(values, axis=1)


def _row_pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson of each row of two matrices; NaN where a resample is constant."""
    # After centring, rounding leaves a constant row a variance of its own; so constancy is asked before.
    constant = (np.ptp(x, axis=1) == 0) | (np.ptp(y, axis=1) == 0)
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("ij,ij->i", x, x) * np.einsum("ij,ij->i", y, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.clip(np.einsum("ij,ij->i", x, y) / norms, -1, 1)
    found[constant] = np.nan
    return found


def _blocks(rows: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """The resamples of `bootstrap_rows` a few at a time, so that memory does not grow with the set."""
    draw = np.random.default_rng(seed)
    step = max(_BLOCK_CELLS // max(rows, 1), 1)
    for start in range(0, resamples, step):
        yield draw.integers(0, rows, size=(min(step, resamples - start), rows))


def _estimate(value: float | None, resampled: np.ndarray, rows: int) -> Estimate:
    resampled = resampled[np.isfinite(resampled)]
    if value is None:
        return Estimate(None, None, None, "undefined")
    if len(resampled) < 100 or rows < LEAST_ROWS:
        return Estimate(100 * value, None, None, "too few rows for an interval")
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(100 * value, float(100 * low), float(100 * high))
