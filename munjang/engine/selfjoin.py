"""The nearest others of every vector, exactly: eight bits find who may be among them, double precision decides.

All pairs of a million vectors are 10^12 products of rows. In float32 they take most of an hour on two cores, and as long again to
look through. Here rows are rounded to eight bits, for whose products CPUs have instructions of their own, and the error of that
rounding is bounded: a pair whose rounded product lies further below a row's k-th best than twice the bound cannot be among
the k best, whatever the exact values are. What is left, some dozens of pairs a row, is computed exactly. So the result is that of
`munjang.engine.topk.top_k`, ties included.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from munjang.engine.topk import Neighbours, top_k
from munjang.engine.workers import run_batches
from munjang.progress import Progress, silent

#: Fewer rows are faster without rounding.
_LEAST_ROWS = 4_096
#: Rows and columns of a tile; its int32 sums stay in a core's cache.
_ROWS, _COLUMNS = 256, 4_096
#: Digits of a row's offset in eight bits, each worth 127 units, and a last one worth one.
_DIGITS = 15
#: Survivors a row from which on rounding does not help, as where most vectors are equal.
_MOST_SURVIVORS = 2_048


@dataclass(frozen=True)
class _Rounded:
    """Rows in eight bits: the sum of products of a row's `left` and another's `right` is their dot product in `units`.

    The mean of all rows is taken away before rounding, for vectors of many models lie around one direction and would spend
    their eight bits on it. What that changes of a dot product is a number of each row, its offset, which stands behind the
    row as digits: v·w = (v-m)·(w-m) + m·(v-m) + m·(w-m) + m·m.
    """

    left: np.ndarray
    """int8 (n, d + 2 * (digits + 1))."""
    right: np.ndarray
    """The same with digits and their worths exchanged."""
    margin: np.ndarray
    """int64 (n,): how far in units a product with the row may be from the exact one."""


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
    rounded = _rounded(vectors) if len(vectors) >= max(_LEAST_ROWS, 4 * k) and k else None
    positions, scores = np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k), np.float32)
    starts = list(range(0, len(vectors), _ROWS))
    pilot = np.sort(np.random.default_rng(0).permutation(len(vectors))[:_COLUMNS])

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
    size, width = vectors.shape
    padded = -(-width // 8) * 8
    largest = max(float(np.abs(part - mean).max()) for part in _parts(vectors))
    if not np.isfinite(largest) or largest == 0:
        return None
    step = largest / 127
    left = np.zeros((size, padded + 2 * (_DIGITS + 1)), np.int8)
    offsets, lost, held = (np.empty(size) for _ in range(3))
    at = 0
    for part in _parts(vectors):
        centred = part - mean
        codes = np.rint(centred / step)
        here = slice(at, at + len(part))
        left[here, :width] = codes
        offsets[here] = centred @ mean
        lost[here] = np.linalg.norm(centred - step * codes, axis=1)
        held[here] = np.linalg.norm(centred, axis=1)
        at += len(part)
    units = np.rint(offsets / step**2)
    if np.abs(units).max() > 127 * 127 * _DIGITS:
        return None
    digits, worths = _digits(units.astype(np.int64)), np.array([127] * _DIGITS + [1], np.int8)
    left[:, padded : padded + _DIGITS + 1], left[:, padded + _DIGITS + 1 :] = digits, worths
    right = left.copy()
    right[:, padded : padded + _DIGITS + 1], right[:, padded + _DIGITS + 1 :] = worths, digits
    # |v·w - v'·w'| <= |v - v'| |w'| + |v| |w - w'|; two units for the offsets, two for sums in floating point.
    most = lost * (held + lost).max() + held * lost.max()
    return _Rounded(left, right, np.ceil(most / step**2).astype(np.int64) + 4)


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
    margin = 2 * rounded.margin[rows]
    # One more than k, as the row itself may be among them.
    first = torch._int_mm(left, torch.from_numpy(rounded.right[pilot]).T).numpy()
    bound = np.partition(first, -(k + 1), axis=1)[:, -(k + 1)] - margin
    sums = torch.empty((len(rows), _COLUMNS), dtype=torch.int32)
    kept = _Survivors(rows, k, margin, bound)
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
        margin: (r,), twice how far a sum may be off.
        bound: (r,), a sum below it is out.
    """

    def __init__(self, rows: np.ndarray, k: int, margin: np.ndarray, bound: np.ndarray) -> None:
        self.rows, self.k, self.margin = rows, k, margin
        self.bound = bound.astype(np.int32)[:, None]
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.pending = 0

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
        if self.pending > 16 * self.k * len(self.rows):
            self._narrow()

    def _narrow(self) -> None:
        """Raise the bounds to what the survivors of a row say of its k-th best, and drop what falls below."""
        row, column, value = (np.concatenate(columns) for columns in zip(*self.parts, strict=True))
        order = np.lexsort((-value, row))
        row, column, value = row[order], column[order], value[order]
        counts = np.bincount(row, minlength=len(self.rows))
        ends = np.cumsum(counts)
        full = counts >= self.k
        kth = value[(ends - counts)[full] + self.k - 1]
        raised = np.maximum(self.bound[full, 0], kth - self.margin[full])
        self.bound[full, 0] = raised
        stays = value >= self.bound[row, 0]
        self.parts = [(row[stays], column[stays], value[stays])]
        self.pending = int(stays.sum())

    def exactly(self, vectors: np.ndarray) -> Neighbours:
        """The k best of each row in double precision, rounded to float32, ties by position."""
        self._narrow()
        row, column, _ = self.parts[0]
        scores = np.empty(len(row), np.float32)
        for start in range(0, len(row), 8_192):
            part = slice(start, start + 8_192)
            one, other = vectors[self.rows[row[part]]], vectors[column[part]]
            scores[part] = np.einsum("ij,ij->i", other.astype(np.float64), one.astype(np.float64), optimize=False)
        order = np.lexsort((column, -scores, row))
        row, column, scores = row[order], column[order], scores[order]
        begins = np.searchsorted(row, np.arange(len(self.rows)))
        best = begins[:, None] + np.arange(self.k)
        return Neighbours(column[best], scores[best])
