"""Exact nearest neighbours by blocks: memory grows with the block, the result does not depend on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from munjang.engine.native.neighbours import NativeCorpus, native_top_k
from munjang.engine.running import NonFiniteError


class Neighbours(NamedTuple):
    """The best rows of a corpus for each query: positions int64 and scores float32, both (queries, k), best first."""

    positions: np.ndarray
    scores: np.ndarray


def top_k(queries: np.ndarray, corpus: np.ndarray, k: int, block: int = 1024) -> Neighbours:
    """The k rows of a corpus with the largest dot product with each query.

    Equal scores are ordered by position, so the result is the same for every `block`.

    Args:
        queries: float32 (q, d). corpus: float32 (n, d). Normalise both for cosine.
        k: how many; fewer come back where the corpus is smaller.
        block: queries at a time; memory is about 4 bytes x block x n.

    Raises:
        NonFiniteError: a product of a query and a row is not finite.
    """
    queries, corpus = np.asarray(queries, np.float32), np.asarray(corpus, np.float32)
    k = min(k, len(corpus))
    if k and (found := native_top_k(queries, corpus, k)) is not None:
        return Neighbours(*found)
    return _by_blocks(queries, corpus, k, block)


class Corpus:
    """Rows that are searched again and again: `top_k` with what can be prepared once kept.

    Args:
        vectors: float32 (n, d), which are not copied and must not change. Normalise them for cosine.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = np.asarray(vectors, np.float32)
        self._native = NativeCorpus(self._vectors)

    def top_k(self, queries: np.ndarray, k: int) -> Neighbours:
        """See `top_k`."""
        queries, k = np.asarray(queries, np.float32), min(k, len(self._vectors))
        if k and (found := self._native.top_k(queries, k)) is not None:
            return Neighbours(*found)
        return _by_blocks(queries, self._vectors, k, 1024)


def _by_blocks(queries: np.ndarray, corpus: np.ndarray, k: int, block: int) -> Neighbours:
    positions = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float32)
    if k == 0:
        return Neighbours(positions, scores)
    for start in range(0, len(queries), block):
        part = queries[start : start + block]
        found = part @ corpus.T
        if not np.isfinite(found).all():
            raise NonFiniteError("there are vectors whose products are not finite")
        for row, row_scores in enumerate(found):
            best = rescored(part[row], corpus, near_best(row_scores, k), k)
            positions[start + row], scores[start + row] = best
    return Neighbours(positions, scores)


#: A matrix product of floats depends on its shape in the last bits; scores this close to the k-th are candidates.
_TOLERANCE = 1e-5


def near_best(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions that may be among the k largest once they are scored again, in order: O(n).

    Args:
        scores: float32 (n,), of a matrix product. k: how many are wanted.
    """
    if k >= len(scores):
        return np.arange(len(scores))
    bound = np.partition(scores, -k)[-k]
    return np.flatnonzero(scores >= bound - _TOLERANCE * max(1.0, abs(float(bound))))


def rescored(query: np.ndarray, corpus: np.ndarray, near: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of some candidates: each scored by itself in double precision, ties by position.

    Args:
        query: float32 (d,). corpus: float32 (n, d). near: positions in it. k: how many.

    Returns:
        positions int64 and scores float32, both (k,), best first.
    """
    # einsum sums each row in the same order, whatever rows stand beside it.
    scores = np.einsum("ij,j->i", corpus[near].astype(np.float64), query.astype(np.float64), optimize=False)
    scores = scores.astype(np.float32)
    order = np.lexsort((near, -scores))[:k]
    return near[order], scores[order]
