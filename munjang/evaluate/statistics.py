"""Statistics of weighted units: a resample of the bootstrap is a row of counts, the value itself a row of ones.

A unit is what is drawn anew: a pair, a query, a text. Counting how often each is drawn, in place of copying it, lets thousands
of resamples share one sort of the scores: 10,000 resamples of a rank correlation cost a few passes over the counts.

Each function takes columns of shape (n,) and weights of shape (r, n), and returns (r,): one value for each row of
weights, NaN where it is undefined there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

#: Resamples of the bootstrap. 10,000 put the ends of a 95% interval within about 0.05 points of their limit, and
#: leave room for the correction of a p-value by the number of comparisons.
RESAMPLES = 10_000
#: Numbers in a block of weights: what is in memory at a time, whatever the set's size.
_BLOCK_CELLS = 1_000_000


def resampled_weights(units: int, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each unit is drawn in each resample, by blocks of shape (r, units), float64; rows sum to `units`.

    The same for every model and metric, so that differences between models are paired.
    """
    draw = np.random.default_rng(seed)
    step = max(_BLOCK_CELLS // max(units, 1), 1)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = draw.integers(0, units, size=(count, units))
        drawn += np.arange(count)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(np.float64)


def whole(statistic: Callable[..., np.ndarray], *columns: np.ndarray) -> float | None:
    """A statistic of all units, each counted once; None where it is undefined.

    Args:
        statistic: of this module. columns: what it takes of the units, (n,) each.
    """
    columns = tuple(np.asarray(column, np.float64) for column in columns)
    if not len(columns[0]) or not all(np.isfinite(column).all() for column in columns):
        return None
    value = float(statistic(*columns, np.ones((1, len(columns[0]))))[0])
    return value if np.isfinite(value) else None


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the units that have a value; a unit without one is NaN and does not count."""
    defined = np.isfinite(values)
    known = weights[:, defined]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (known @ values[defined]) / known.sum(axis=1)


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation."""
    # Far from zero the sums of squares would lose the digits that differ.
    x, y = _standardised(x), _standardised(y)
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = (weights @ x) / total, (weights @ y) / total
        covariance = (weights @ (x * y)) / total - mean_x * mean_y
        variance_x = (weights @ (x * x)) / total - mean_x**2
        variance_y = (weights @ (y * y)) / total - mean_y**2
        found = np.clip(covariance / np.sqrt(variance_x * variance_y), -1, 1)
    found[_constant(x, weights) | _constant(y, weights)] = np.nan
    return found


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation, ties at their mean rank (Kendall 1945), as in `scipy.stats.spearmanr`."""
    ranks_x, variance_x = _mid_ranks(x, weights)
    ranks_y, variance_y = _mid_ranks(y, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = np.einsum("ij,ij,ij->i", weights, ranks_x, ranks_y)
        found = np.clip(covariance / np.sqrt(variance_x * variance_y), -1, 1)
    found[_constant(x, weights) | _constant(y, weights)] = np.nan
    return found


def average_precision(predicted: np.ndarray, gold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under precision over recall as a sum of steps, equal scores being one step.

    Args:
        predicted: scores, higher for a positive. gold: 0 or 1.
        weights: (r, n).
    """
    positives, shown = _cumulated_by_score(predicted, gold, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(shown > 0, positives / shown, 0.0)
        recall = positives / positives[:, -1:]
    found = (np.diff(recall, axis=1, prepend=0.0) * precision).sum(axis=1)
    return np.where(positives[:, -1] > 0, found, np.nan)


def best_f1(predicted: np.ndarray, gold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F1 at the threshold that is best for it; arguments as for `average_precision`."""
    positives, shown = _cumulated_by_score(predicted, gold, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (2 * positives / (shown + positives[:, -1:])).max(axis=1)
    return np.where(positives[:, -1] > 0, found, np.nan)


def best_accuracy(predicted: np.ndarray, gold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Accuracy at the threshold that is best for it; arguments as for `average_precision`."""
    positives, shown = _cumulated_by_score(predicted, gold, weights)
    total = shown[:, -1:]
    right = positives + (total - positives[:, -1:]) - (shown - positives)
    none_positive = (total - positives[:, -1:]) / total
    return np.maximum(right / total, none_positive).max(axis=1)


def f1_threshold(predicted: np.ndarray, gold: np.ndarray) -> float:
    """The score from which on a pair counts as positive where F1 is highest: halfway to the next lower score."""
    levels = np.unique(predicted)[::-1]
    positives, shown = _cumulated_by_score(predicted, gold, np.ones((1, len(gold))))
    best = int(np.argmax(2 * positives[0] / (shown[0] + positives[0, -1])))
    return float(levels[best] if best + 1 == len(levels) else (levels[best] + levels[best + 1]) / 2)


def macro_f1(predicted: np.ndarray, gold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the classes that are drawn or predicted of the F1 of each.

    Args:
        predicted: (n,) classes as whole numbers. gold: (n,) classes.
        weights: (r, n).
    """
    values = []
    for label in np.union1d(gold, predicted):
        hit = weights @ ((gold == label) & (predicted == label))
        both = weights @ (gold == label) + weights @ (predicted == label)
        with np.errstate(invalid="ignore", divide="ignore"):
            values.append(np.where(both > 0, 2 * hit / both, np.nan))
    return np.nanmean(np.array(values), axis=0)


def v_measure(predicted: np.ndarray, gold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Harmonic mean of homogeneity and completeness (Rosenberg and Hirschberg 2007).

    Args:
        predicted: (n,) clusters as whole numbers. gold: (n,) classes.
        weights: (r, n).
    """
    joint = _entropy(_counts(predicted * (int(gold.max()) + 1) + gold, weights))
    classes, clusters = _entropy(_counts(gold, weights)), _entropy(_counts(predicted, weights))
    shared = classes + clusters - joint
    with np.errstate(invalid="ignore", divide="ignore"):
        homogeneity = np.where(classes > 0, shared / classes, 1.0)
        completeness = np.where(clusters > 0, shared / clusters, 1.0)
        found = 2 * homogeneity * completeness / (homogeneity + completeness)
    return np.where(homogeneity + completeness > 1e-12, found, 0.0)


def _standardised(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    values = values - values.mean()
    spread = np.abs(values).max(initial=0.0)
    return values / spread if spread > 0 else values


def _constant(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(r,): True where all units that are drawn have one value; rounding would leave them a variance of its own."""
    drawn = weights > 0
    highest = np.where(drawn, values, -np.inf).max(axis=1, initial=-np.inf)
    return highest == np.where(drawn, values, np.inf).min(axis=1, initial=np.inf)


def _mid_ranks(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks less their mean, ties at their mean rank: (r, n), and the weighted sum of their squares: (r,)."""
    _, group = np.unique(values, return_inverse=True)
    drawn = _by_group(group, weights)
    last = np.cumsum(drawn, axis=1)
    ranks = last - (drawn - 1) / 2 - (last[:, -1:] + 1) / 2
    return ranks[:, group], np.einsum("ij,ij,ij->i", drawn, ranks, ranks)


def _by_group(group: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights added up within groups: (r, groups); every number from 0 to the highest is a group."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(weights[:, order], starts, axis=1)


def _cumulated_by_score(predicted: np.ndarray, gold: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and units down to each distinct score, highest first: both (r, scores)."""
    _, group = np.unique(-np.asarray(predicted, np.float64), return_inverse=True)
    positives = _by_group(group, weights * np.asarray(gold, np.float64))
    return np.cumsum(positives, axis=1), np.cumsum(_by_group(group, weights), axis=1)


def _counts(classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    _, group = np.unique(classes, return_inverse=True)
    return _by_group(group, weights)


def _entropy(counts: np.ndarray) -> np.ndarray:
    shares = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return -np.where(shares > 0, shares * np.log(shares), 0.0).sum(axis=1)
