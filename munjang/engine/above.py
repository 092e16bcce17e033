"""All pairs of rows from a score on, exactly, a block of rows at a time.

The number of pairs is not known before they are found, and where many rows are alike it is nearly the square of theirs. So
pairs come in parts, and who takes them decides what is kept. A pair's score is its dot product in double precision, rounded to
float32, as in `munjang.engine.topk`: which pairs are found depends neither on blocks nor on threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from munjang.engine.native.neighbours import NativePairs
from munjang.progress import Progress, silent

#: Pairs that one part may hold at most, all rows being equal; a part has at least the rows of `_FEWEST`.
_MOST_PAIRS, _FEWEST, _MOST = 1 << 26, 64, 4_096
#: Columns of a tile of products, and pairs that are scored again together.
_COLUMNS, _AGAIN = 8_192, 1 << 15


class Pairs(NamedTuple):
    """Pairs of rows with their scores."""

    left: np.ndarray
    """int64 (p,)."""
    right: np.ndarray
    """int64 (p,)."""
    scores: np.ndarray
    """float32 (p,)."""

    @classmethod
    def none(cls) -> Pairs:
        """No pairs."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

    @classmethod
    def joined(cls, parts: list[Pairs]) -> Pairs:
        """Some pairs after each other."""
        return cls(*(np.concatenate(column) for column in zip(cls.none(), *parts, strict=True)))

    def take(self, places: np.ndarray) -> Pairs:
        """The pairs at some places, or those of a mask."""
        return Pairs(self.left[places], self.right[places], self.scores[places])


def pairs_above(
    vectors: np.ndarray,
    least: float | Callable[[], float],
    others: np.ndarray | None = None,
    *,
    block: int | None = None,
    progress: Progress = silent,
) -> Iterator[Pairs]:
    """The pairs whose dot product is at least a number.

    Args:
        vectors: float32 (n, d). Normalise them for cosine.
        least: the number; or a function that says it anew for every block, for one that rises as pairs are found.
        others: float32 (m, d); without them pairs are those of two rows of `vectors`, each once, `left` < `right`.
        block: rows at a time; by default so many that a part stays below a gigabyte where all rows are equal.
        progress: called with (rows done, rows in all).

    Yields:
        The pairs of one block of rows, by `left` and `right`; the next block's come after them.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    corpus = vectors if others is None else np.ascontiguousarray(others, np.float32)
    if not len(vectors) or not len(corpus):
        return
    block = block or int(np.clip(_MOST_PAIRS // len(corpus), _FEWEST, _MOST))
    rows = AskedRows(corpus)
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block]
        # As the scores are: a pair that is exactly at the threshold is found.
        bound = float(np.float32(least() if callable(least) else least))
        own = start if others is None else -1
        left, right, scores = rows.above(part, bound, own)
        yield Pairs(left + start, right, scores)
        progress(min(start + block, len(vectors)), len(vectors))


class AskedRows:
    """Rows that are asked again and again which of them reach a score.

    Args:
        corpus: float32 (n, d), which is not copied and must not change.
    """

    def __init__(self, corpus: np.ndarray) -> None:
        self._corpus = np.ascontiguousarray(corpus, np.float32)
        self._native = NativePairs.of(self._corpus, self._corpus)

    def above(self, queries: np.ndarray, least: float, own: int = -1) -> Pairs:
        """All pairs of a query and a row whose dot product is at least a number, by query and row.

        Args:
            queries: float32 (q, d), finite if the rows are. least: the number.
            own: the row that the first query is, the next being the next query; each then meets only the rows after its own.
                -1 for queries that are no rows.
        """
        if not len(queries) or not len(self._corpus):
            return Pairs.none()
        found = self._native.above(queries, least, own) if self._native else None
        return Pairs(*found) if found is not None else _above(queries, self._corpus, least, own)


def _above(queries: np.ndarray, corpus: np.ndarray, least: float, own: int) -> Pairs:
    """As `NativePairs.above`: products in float32 say which pairs may be, double precision which are."""
    # No product in float32, in whatever order it is summed, is further from the exact one.
    error = queries.shape[1] * 2.0**-23 * float(_longest(queries) * _longest(corpus))
    found = []
    for start in range(max(own, 0), len(corpus), _COLUMNS):
        near = queries @ corpus[start : start + _COLUMNS].T
        # Not "at least": what is not finite is to be seen, not lost, when it is scored again.
        left, right = np.nonzero(~(near < least - error))
        right += start
        if own >= 0:
            later = right > left + own
            left, right = left[later], right[later]
        found.append(_exactly(queries, corpus, left, right, least))
    whole = Pairs.joined(found)
    return whole.take(np.lexsort((whole.right, whole.left)))


def _exactly(queries: np.ndarray, corpus: np.ndarray, left: np.ndarray, right: np.ndarray, least: float) -> Pairs:
    scores = dot_of_pairs(queries, corpus, left, right)
    return Pairs(left, right, scores).take(scores >= least)


def dot_of_pairs(vectors: np.ndarray, others: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Dot products of pairs of rows, in double precision, rounded to float32 (p,).

    Args:
        vectors: float32 (n, d). others: float32 (m, d). left: places in the first, (p,). right: in the second.
    """
    scores = np.empty(len(left), np.float32)
    for start in range(0, len(left), _AGAIN):
        part = slice(start, start + _AGAIN)
        one, other = vectors[left[part]].astype(np.float64), others[right[part]].astype(np.float64)
        # einsum sums each row in the same order, whatever rows stand beside it.
        scores[part] = np.einsum("ij,ij->i", one, other, optimize=False)
    return scores


def _longest(vectors: np.ndarray) -> np.floating:
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)).max()
