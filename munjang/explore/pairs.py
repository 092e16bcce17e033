"""The most similar pairs of sentences: all from a score on, the nearest of each sentence, or translations of each other.

Paraphrase mining as a by-product of search keeps some nearest sentences for each and hopes that every good pair is among them;
where a sentence has more paraphrases than that, pairs are lost. Here a threshold means all pairs above it, and what is kept of
them is bounded by a number of pairs and not of neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from munjang.engine.above import Pairs, pairs_above
from munjang.engine.running import NonFiniteError
from munjang.engine.selfjoin import self_join
from munjang.engine.topk import top_k
from munjang.errors import ConfigError, Option
from munjang.progress import Progress, silent


def require_options(threshold: float | None, top: int | None = None, neighbours: int | None = None) -> None:
    """Refuse what no search has, before any work.

    Raises:
        ConfigError: a threshold that is no cosine; `top` or `neighbours` below 1.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise ConfigError("no such cosine", where=Option("threshold", threshold), expected="a number from -1 to 1")
    for name, value in (("top", top), ("neighbours", neighbours)):
        if value is not None and value < 1:
            raise ConfigError("there must be at least one", where=Option(name, value))


def mine(
    sides: Sequence[np.ndarray],
    threshold: float,
    top: int,
    neighbours: int | None = None,
    margin: bool = False,
    progress: Progress = silent,
) -> Pairs:
    """The pairs that a choice of options means: `mine_translations`, `mine_nearest` or `mine_pairs`.

    Args:
        sides: vectors of one side or of two. threshold, top, progress: see there.
        neighbours: nearest rows of each; None for all, and for the default of translations.
        margin: of two sides, translations.
    """
    vectors, others = sides[0], sides[1] if len(sides) > 1 else None
    if margin and others is not None:
        found = mine_translations(vectors, others, neighbours or 4, threshold=threshold, progress=progress)
        return found.take(np.arange(min(top, len(found.scores))))
    if neighbours is not None:
        return mine_nearest(vectors, neighbours, others, threshold=threshold, top=top, progress=progress)
    return mine_pairs(vectors, threshold, others, top=top, progress=progress)


def mine_pairs(
    vectors: np.ndarray,
    threshold: float,
    others: np.ndarray | None = None,
    *,
    top: int | None = None,
    progress: Progress = silent,
) -> Pairs:
    """All pairs whose cosine is at least a threshold, or the best of them.

    Args:
        vectors: float32 (n, d), of length 1.
        threshold: least cosine, -1 to 1.
        others: float32 (m, d), of length 1, for pairs of a row of one and a row of the other.
        top: how many pairs to keep; memory is linear in them and in the rows. None for all.
        progress: called with (rows done, rows in all).

    Returns:
        Unordered pairs, each once, `left` < `right` where there is one matrix; best first, equal scores by `left` and `right`.

    Raises:
        ConfigError: a threshold that is no cosine, or `top` below 1.
        NonFiniteError: a vector holds a number that is not finite.
    """
    require_options(threshold, top)
    _require_finite(vectors, others)
    kept, pending, bound = [Pairs.none()], 0, [threshold]
    for part in pairs_above(vectors, lambda: bound[0], others, progress=progress):
        kept.append(part)
        pending += len(part.scores)
        if top is not None and pending > 2 * top:
            best = _best_first(Pairs.joined(kept), top)
            # What comes later and is as good as the last one stands behind it, for it has a later row.
            kept, pending, bound[0] = [best], top, float(best.scores[-1])
    return _best_first(Pairs.joined(kept), top)


def mine_nearest(
    vectors: np.ndarray,
    k: int,
    others: np.ndarray | None = None,
    *,
    threshold: float = -1.0,
    top: int | None = None,
    progress: Progress = silent,
) -> Pairs:
    """The pairs of each row and its k nearest, one of both being enough.

    Args:
        vectors, others, threshold, top, progress: see `mine_pairs`. Between two matrices the k nearest are those of each row of
            `vectors`.
        k: nearest rows of each; fewer where there are not so many.

    Returns:
        See `mine_pairs`.

    Raises:
        ConfigError, NonFiniteError: see `mine_pairs`; or k below 1.
    """
    require_options(threshold, top, k)
    _require_finite(vectors, others)
    found = self_join(vectors, k, progress) if others is None else top_k(vectors, others, k)
    left = np.repeat(np.arange(len(vectors)), found.positions.shape[1])
    right, scores = found.positions.ravel(), found.scores.ravel()
    if others is None:
        left, right = np.minimum(left, right), np.maximum(left, right)
        _, first = np.unique(left * len(vectors) + right, return_index=True)
        left, right, scores = left[first], right[first], scores[first]
    pairs = Pairs(left.astype(np.int64), right.astype(np.int64), scores)
    return _best_first(pairs.take(scores >= np.float32(threshold)), top)


def mine_translations(
    vectors: np.ndarray, others: np.ndarray, k: int = 4, *, threshold: float = 0.0, progress: Progress = silent
) -> Pairs:
    """Sentences of two languages that translate each other, by the ratio margin of Artetxe and Schwenk (2019).

    A cosine alone prefers sentences that are near to everything. The margin of a pair is its cosine divided by the mean of
    the cosines of both with their k nearest in the other language. Each sentence proposes the candidate with its largest
    margin, in both directions, and pairs are taken from the best on, each sentence once ("max. score" there).

    Args:
        vectors: float32 (n, d), of length 1, of one language. others: float32 (m, d), of the other.
        k: nearest sentences of the neighbourhood; 4 in the paper.
        threshold: least margin; above 1 a pair is nearer than its neighbourhood.
        progress: called with (directions done, 2).

    Returns:
        Pairs with margins as scores, best first, equal ones by `left` and `right`; no row in two of them.

    Raises:
        ConfigError: k below 1. NonFiniteError: see `mine_pairs`.
    """
    require_options(None, neighbours=k)
    _require_finite(vectors, others)
    if not len(vectors) or not len(others):
        return Pairs.none()
    forward = top_k(vectors, others, k)
    progress(1, 2)
    backward = top_k(others, vectors, k)
    progress(2, 2)
    around, around_others = (near.scores.mean(axis=1, dtype=np.float64) for near in (forward, backward))
    proposed = []
    for near, own, of in ((forward, around, around_others), (backward, around_others, around)):
        margins = near.scores / np.maximum((own[:, None] + of[near.positions]) / 2, 1e-12)
        best = margins.argmax(axis=1)
        rows = np.arange(len(best))
        proposed.append((rows, near.positions[rows, best], margins[rows, best].astype(np.float32)))
    (rows, theirs, first), (others_rows, ours, second) = proposed
    left, right = np.concatenate([rows, ours]), np.concatenate([theirs, others_rows])
    pairs = _best_first(Pairs(left, right, np.concatenate([first, second])), None)
    return _each_once(pairs.take(pairs.scores >= np.float32(threshold)))


def _each_once(pairs: Pairs) -> Pairs:
    """The pairs from the first on of which neither row has been in one before."""
    seen_left, seen_right, kept = set(), set(), []
    for place, (one, other) in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)):
        if one not in seen_left and other not in seen_right:
            seen_left.add(one)
            seen_right.add(other)
            kept.append(place)
    return pairs.take(np.array(kept, np.int64))


def _best_first(pairs: Pairs, top: int | None) -> Pairs:
    if top is not None and len(pairs.scores) > top:
        # Sorting costs more than finding the last score that can be among the best.
        pairs = pairs.take(pairs.scores >= np.partition(pairs.scores, -top)[-top])
    return pairs.take(np.lexsort((pairs.right, pairs.left, -pairs.scores))[:top])


def _require_finite(*matrices: np.ndarray | None) -> None:
    for matrix in matrices:
        if matrix is not None and not np.isfinite(matrix).all():
            row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
            raise NonFiniteError("a vector holds a number that is not finite", where=f"vectors[{row}]")
