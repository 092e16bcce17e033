"""Exact nearest neighbours by blocks: memory grows with the block, the result does not depend on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


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
    """
    k = min(k, len(corpus))
    positions = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float32)
    if k == 0:
        return Neighbours(positions, scores)
    for start in range(0, len(queries), block):
        found = np.asarray(queries[start : start + block], np.float32) @ np.asarray(corpus, np.float32).T
        for row, row_scores in enumerate(found):
            best = _stable_best(row_scores, k)
            positions[start + row] = best
            scores[start + row] = row_scores[best]
    return Neighbours(positions, scores)


def _stable_best(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest scores, ties by position, in O(n + k log k)."""
    if k < len(scores):
        bound = np.partition(scores, -k)[-k]
        above = np.flatnonzero(scores > bound)
        level = np.flatnonzero(scores == bound)[: k - len(above)]
        chosen = np.concatenate([above, level])
    else:
        chosen = np.arange(len(scores))
    return chosen[np.lexsort((chosen, -scores[chosen]))]
