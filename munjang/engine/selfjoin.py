"""The nearest others of every vector, exactly: eight bits find who may be among them, double precision decides.

All pairs of a million vectors are 10^12 products of rows. In float32 they take most of an hour on two cores, and as long again to
look through. Here rows are rounded to eight bits, for whose products CPUs have instructions of their own, and the error of that
rounding is bounded: a pair of which even the upper bound lies below the lower bounds of k others cannot be among the k best,
whatever the exact values are. What is left, some dozens of pairs a row, is computed exactly. So the result is that of
`munjang.engine.topk.top_k`, ties included.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from munjang.engine.native.neighbours import native_self_join
from munjang.engine.topk import Neighbours, near_best, rescored, top_k
from munjang.engine.workers import run_batches
from munjang.progress import Progress, silent

#: Fewer rows are faster without rounding.
_LEAST_ROWS = 4_096
#: Rows and columns of a tile; its int32 sums stay in a core's cache.
_ROWS, _COLUMNS = 128, 4_096
#: Digits of a row's offset in eight bits, each worth 127 units, and a last one worth one.
_DIGITS = 15
#: Survivors a row from which on rounding does not help, as where most vectors are equal.
_MOST_SURVIVORS = 2_048


@dataclass(frozen=True)
class _Rounded:
    """Rows in eight bits: the sum of products of a row's `left` and another's `right`, times `unit`, is no less than their dot
    product, and less the `pads` of both, twice, no more.

    The mean of all rows is taken away before rounding, for vectors of many models lie around one direction and would spend
    their eight bits on it. What that changes of a dot product is a number of each row, its offset, which stands behind the
    row as digits: v·w = (v-m)·(w-m) + m·(v-m) + m·(w-m) + m·m. The row's share in the bound of the error is added to it.
    """

    left: np.ndarray
    """int8 (n, d + 2 * (digits + 1))."""
    right: np.ndarray
    """The same with digits and their worths exchanged."""
    pads: np.ndarray
    """int32 (n,), in units."""


def self_join(vectors: np.ndarray, k: int, progress: Progress = silent) -> Neighbours:
    """The k rows with the largest dot product with each row, itself left out; equal rows count as others.

    Args:
        vectors: float32 (n, d). Normalise them for cosine.
        k: how many.
        progress: called with (rows done, rows in all).

    Returns:
        positions int64 and scores float32, (n, min(k, n - 1)), best first, equal scores by position. The result depends
        neither on threads nor on blocks.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    k = min(k, max(len(vectors) - 1, 0))
    if k and (known := native_self_join(vectors, k, progress)) is not None:
        return Neighbours(*known)
    rounded = _rounded(vectors) if len(vectors) >= max(_LEAST_ROWS, 4 * k) and k else None
    positions, scores = np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k), np.float32)
    starts = list(range(0, len(vectors), _ROWS))
    # A larger one makes better first bounds and is looked at besides.
    pilot = np.random.default_rng(0).permutation(len(vectors))[: max(_COLUMNS, min(len(vectors) // 64, 4 * _COLUMNS))]

    def block(start: int) -> Neighbours:
        rows = np.arange(start, min(start + _ROWS, len(vectors)))
        found = _by_rounding(vectors, rounded, rows, pilot, k) if rounded is not None else None
        return found or _without_rounding(vectors, rows, k)

    done = 0
    # Without rounding, the library of matrix products uses all cores by itself.
    threads = (os.cpu_count() or 1) if rounded is not None else 1
    for start, found in run_batches(starts, block, threads):
        positions[start : start + _ROWS], scores[start : start + _ROWS] = found
        done += len(found.positions)
        progress(done, len(vectors))
    return Neighbours(positions, scores)


def _without_rounding(vectors: np.ndarray, rows: np.ndarray, k: int) -> Neighbours:
    found = top_k(vectors[rows], vectors, k + 1)
    others = found.positions != rows[:, None]
    # A row that does not come among its own k + 1 best, because of equal ones before it, gives up the last.
    others[others.all(axis=1), -1] = False
    shape = (len(rows), min(k, len(vectors) - 1))
    return Neighbours(found.positions[others].reshape(shape), found.scores[others].reshape(shape))


def _rounded(vectors: np.ndarray) -> _Rounded | None:
    """Rows in eight bits, or None where that would say nothing: no spread, numbers that are not finite, or no torch for it."""
    try:
        import torch
    except ImportError:
        return None
    if not hasattr(torch, "_int_mm"):
        return None
    mean = vectors.mean(axis=0, dtype=np.float64)
    step = _best_step(vectors, mean)
    if step is None:
        return None
    size, width = vectors.shape
    padded = -(-width // 8) * 8
    left = np.zeros((size, padded + 2 * (_DIGITS + 1)), np.int8)
    offsets, lost, held = (np.empty(size) for _ in range(3))
    at = 0
    for part in _parts(vectors):
        centred = part - mean
        codes = np.clip(np.rint(centred / step), -127, 127)
        here = slice(at, at + len(part))
        left[here, :width] = codes
        offsets[here] = centred @ mean
        lost[here] = np.linalg.norm(centred - step * codes, axis=1)
        held[here] = step * np.linalg.norm(codes, axis=1)
        at += len(part)
    if not np.isfinite(held).all():
        return None
    # v·w - v'·w' = (v-v')·w' + v'·(w-w') + (v-v')·(w-w'): what v has lost counts at most with the longest w', and half of the
    # last term with either. Two units more are for rounded offsets and for sums in floating point.
    pads = np.ceil(lost * (held.max() + lost.max() / 2) / step**2) + 2
    units = np.rint(offsets / step**2) + pads
    if np.abs(units).max() > 127 * 127 * _DIGITS:
        return None
    digits, worths = _digits(units.astype(np.int64)), np.array([127] * _DIGITS + [1], np.int8)
    left[:, padded : padded + _DIGITS + 1], left[:, padded + _DIGITS + 1 :] = digits, worths
    right = left.copy()
    right[:, padded : padded + _DIGITS + 1], right[:, padded + _DIGITS + 1 :] = worths, digits
    return _Rounded(left, right, pads.astype(np.int32))


def _best_step(vectors: np.ndarray, mean: np.ndarray) -> float | None:
    """The width of a step of eight bits that loses least of some rows; what lies beyond 127 steps is cut off."""
    sample = vectors[:: max(1, len(vectors) // 2_048)] - mean
    largest = float(np.abs(sample).max()) if np.isfinite(sample).all() else 0.0
    if largest == 0:
        return None
    steps = largest / 127 * 0.9 ** np.arange(24)
    lost = [np.linalg.norm(sample - s * np.clip(np.rint(sample / s), -127, 127), axis=1).mean() for s in steps]
    return float(steps[int(np.argmin(lost))])


def _parts(vectors: np.ndarray, rows: int = 16_384) -> list[np.ndarray]:
    """The rows in parts, so that double precision is never needed for all of them."""
    return [vectors[start : start + rows] for start in range(0, len(vectors), rows)]


def _digits(units: np.ndarray) -> np.ndarray:
    """Whole numbers as int8 (n, digits + 1): digits of 127 each and a last one of 1."""
    large, small = np.divmod(units + 63, 127)
    found = np.empty((len(units), _DIGITS + 1), np.int8)
    found[:, -1] = small - 63
    for place in range(_DIGITS):
        found[:, place] = np.clip(large, -127, 127)
        large = large - found[:, place]
    return found


def _by_rounding(
    vectors: np.ndarray, rounded: _Rounded, rows: np.ndarray, pilot: np.ndarray, k: int
) -> Neighbours | None:
    """The k best others of some rows, or None where rounding leaves too many that may be among them.

    Args:
        vectors: all of them.
        rounded: in eight bits.
        rows: positions, (r,).
        pilot: some positions, from which each row learns how good its k-th best is at least.
        k: how many.
    """
    import torch

    left = torch.from_numpy(rounded.left[rows])
    right = torch.from_numpy(rounded.right)
    first = torch._int_mm(left, torch.from_numpy(rounded.right[pilot]).T).numpy() - 2 * rounded.pads[pilot]
    # One more than k, as the row itself may be among them.
    bound = np.partition(first, -(k + 1), axis=1)[:, -(k + 1)] - 2 * rounded.pads[rows]
    sums = torch.empty((len(rows), _COLUMNS), dtype=torch.int32)
    kept = _Survivors(rows, k, rounded.pads, bound)
    for start in range(0, len(vectors), _COLUMNS):
        columns = right[start : start + _COLUMNS].T
        tile = sums if columns.shape[1] == _COLUMNS else torch.empty((len(rows), columns.shape[1]), dtype=torch.int32)
        torch._int_mm(left, columns, out=tile)
        kept.look(tile.numpy(), start)
        if kept.too_many:
            return None
    return kept.exactly(vectors)


class _Survivors:
    """Pairs that may be among the k best of their row, as tiles go by.

    Args:
        rows: positions of the rows, (r,).
        k: how many are wanted.
        pads: of all rows; see `_Rounded`.
        bound: int32 (r,), what k others of the row reach at least.
    """

    def __init__(self, rows: np.ndarray, k: int, pads: np.ndarray, bound: np.ndarray) -> None:
        self.rows, self.k, self.pads = rows, k, pads
        self.bound = bound.astype(np.int32)[:, None]
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.pending, self.enough = 0, 16 * k * len(rows)

    @property
    def too_many(self) -> bool:
        """True where looking at all of them exactly would take longer than not to round."""
        return self.pending > _MOST_SURVIVORS * len(self.rows)

    def look(self, tile: np.ndarray, start: int) -> None:
        """Take from a tile what reaches its row's bound; `start` is the position of its first column."""
        flat = np.flatnonzero(tile >= self.bound)
        row, column = np.divmod(flat, tile.shape[1])
        column += start
        others = self.rows[row] != column
        self.parts.append((row[others], column[others], tile.ravel()[flat[others]]))
        self.pending += len(flat)
        if self.pending > self.enough:
            self._narrow()
            self.enough = max(self.enough, 2 * self.pending)

    def _narrow(self) -> None:
        """Raise the bounds to what the survivors of a row say of its k-th best, and drop what falls below."""
        row, column, most = (np.concatenate(columns) for columns in zip(*self.parts, strict=True))
        least = most - 2 * (self.pads[self.rows[row]] + self.pads[column])
        # Only what reaches the bound from below can raise it, and that is little of the whole.
        raising = np.flatnonzero(least >= self.bound[row, 0])
        order = raising[np.lexsort((-least[raising], row[raising]))]
        counts = np.bincount(row[order], minlength=len(self.rows))
        full = counts >= self.k
        kth = least[order][(np.cumsum(counts) - counts)[full] + self.k - 1]
        self.bound[full, 0] = np.maximum(self.bound[full, 0], kth)
        stays = most >= self.bound[row, 0]
        self.parts = [(row[stays], column[stays], most[stays])]
        self.pending = int(stays.sum())

    def exactly(self, vectors: np.ndarray) -> Neighbours:
        """The k best of each row in double precision, rounded to float32, ties by position."""
        self._narrow()
        row, column, _ = self.parts[0]
        order = np.argsort(row, kind="stable")
        ends = np.searchsorted(row[order], np.arange(len(self.rows)), "right")
        positions, scores = np.empty((len(self.rows), self.k), np.int64), np.empty((len(self.rows), self.k), np.float32)
        for number, columns in enumerate(np.split(column[order], ends[:-1])):
            query = vectors[self.rows[number]]
            others = vectors[columns]
            # Products in float32 first: of some dozens of survivors they leave the k best and what is as near as they err.
            # Not by BLAS, which would wake threads of its own beside ours for a product this small.
            near = near_best(np.einsum("ij,j->i", others, query, optimize=False), self.k)
            positions[number], scores[number] = rescored(query, vectors, columns[near], self.k)
        return Neighbours(positions, scores)
