"""Exact nearest neighbours by the native kernels, where the package munjang-native is installed.

Rows are rounded to eight bits, for whose products CPUs have instructions of their own; bounds of what rounding loses say which
rows may be among the best, and those are scored again in double precision. So the result is that of
`munjang.engine.topk.top_k`, ties included, whatever the instructions and threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from munjang.engine.native.kernels import instructions, module, threads
from munjang.progress import Progress, silent

#: Queries, and products of a query and a row, from which on rounding the rows pays.
_LEAST_QUERIES, _LEAST_PRODUCTS = 32, 200_000
#: Queries between two words about progress.
_QUERIES = 8_192


def native_top_k(queries: np.ndarray, corpus: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Positions int64 and scores float32, both (q, k), as `munjang.engine.topk.top_k` gives them; None where that is the
    better way: few products, or numbers that are not finite.

    Args:
        queries: float32 (q, d). corpus: float32 (n, d). k: at most n.
    """
    few = len(queries) < _LEAST_QUERIES or len(queries) * len(corpus) < _LEAST_PRODUCTS
    if few or module() is None or not _usable(queries, corpus):
        return None
    rounded = module().Corpus(np.ascontiguousarray(corpus), threads(), instructions())
    return rounded.top(np.ascontiguousarray(queries), k, -1, threads())


class NativeCorpus:
    """Rows that are rounded once and asked again and again: from some dozens of queries on that pays.

    Args:
        vectors: float32 (n, d).
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors, self._asked = vectors, 0
        self._rounded: Any | None = None
        self._fit: bool | None = None

    def top_k(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray] | None:
        """As `native_top_k`; None as long as the rows are not worth it, or cannot be rounded."""
        self._asked += len(queries)
        enough = self._asked >= _LEAST_QUERIES and self._asked * len(self._vectors) >= _LEAST_PRODUCTS
        if module() is None or self._fit is False or not enough:
            return None
        if self._rounded is None:
            self._fit = _usable(self._vectors)
            if not self._fit:
                return None
            self._vectors = np.ascontiguousarray(self._vectors)
            self._rounded = module().Corpus(self._vectors, threads(), instructions())
        return self._rounded.top(np.ascontiguousarray(queries), k, -1, threads()) if _usable(queries) else None


def native_self_join(vectors: np.ndarray, k: int, progress: Progress = silent) -> tuple[np.ndarray, np.ndarray] | None:
    """What `munjang.engine.selfjoin.self_join` gives, as above; None where the kernels are missing or numbers not finite.

    Args:
        vectors: float32 (n, d). k: at most n - 1. progress: called with (rows done, rows in all).
    """
    if module() is None or not _usable(vectors):
        return None
    vectors = np.ascontiguousarray(vectors)
    corpus = module().Corpus(vectors, threads(), instructions())
    positions, scores = np.empty((len(vectors), k), np.int64), np.empty((len(vectors), k), np.float32)
    for start in range(0, len(vectors), _QUERIES):
        part = slice(start, min(start + _QUERIES, len(vectors)))
        positions[part], scores[part] = corpus.top(vectors[part], k, start, threads())
        progress(part.stop, len(vectors))
    return positions, scores


class NativePairs:
    """All pairs from a score on, by the kernels; see `munjang.engine.above.pairs_above`.

    Args:
        corpus: float32 (n, d), contiguous and usable.
    """

    def __init__(self, corpus: np.ndarray) -> None:
        self._rounded = module().Corpus(corpus, threads(), instructions())

    @classmethod
    def of(cls, queries: np.ndarray, corpus: np.ndarray) -> NativePairs | None:
        """For these matrices; None where the kernels are missing, or numbers not finite."""
        return None if module() is None or not _usable(queries, corpus) else cls(np.ascontiguousarray(corpus))

    def above(self, queries: np.ndarray, least: float, own: int = -1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of queries and of rows int64, and scores float32, by query and row.

        Args:
            queries: float32 (q, d). least: score of a pair. own: the row that the first query is, the next being the next
                query; each then meets only the rows after its own. -1 for queries that are no rows.
        """
        left, right, scores = self._rounded.pairs(np.ascontiguousarray(queries), least, own, threads())
        return np.asarray(left), np.asarray(right), np.asarray(scores)


def _usable(*matrices: np.ndarray) -> bool:
    """True for numbers that can be rounded, and lengths whose squares can be added up."""
    return all(one.shape[1] > 0 and bool(np.abs(one).max(initial=0) < 1e15) for one in matrices)
