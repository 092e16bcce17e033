"""Communities: sentences around a centre that each reach a cosine with it, as sentence-transformers defines them.

`sentence_transformers.util.community_detection` computes all cosines by blocks and keeps the neighbours of every centre; where
many sentences are alike, that list is the square of their number. Here a first pass over the pairs counts the neighbours of each
sentence. That orders the centres; and the neighbours of a centre are only wanted when its turn comes and no larger community has
taken it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from munjang.engine.above import AskedRows, Pairs, dot_of_pairs, pairs_above
from munjang.engine.running import NonFiniteError
from munjang.errors import ConfigError, Option
from munjang.progress import Progress, silent

#: Pairs that are kept of the first pass, for each row and at least; of more, those of centres are found anew.
_KEPT_EACH, _KEPT = 64, 1 << 20
#: Centres whose neighbours are found together.
_CENTRES = 64


@dataclass(frozen=True)
class Community:
    """One of them."""

    members: np.ndarray
    """int64, the centre first, then by falling cosine with it; equal ones by place."""
    cosines: np.ndarray
    """float32, of each member with the centre."""


def detect_communities(
    vectors: np.ndarray, threshold: float = 0.75, least: int = 10, *, progress: Progress = silent
) -> list[Community]:
    """Communities by the definition of `sentence_transformers.util.community_detection`.

    A sentence's neighbours are those whose cosine with it is at least the threshold, itself among them. Sentences with at least
    so many neighbours are centres, those with most first, equal ones by place. Each takes the neighbours that none before it has
    taken, if these are still enough and it has not been taken itself.

    Args:
        vectors: float32 (n, d), of length 1.
        threshold: least cosine with the centre, -1 to 1.
        least: sentences of the smallest community.
        progress: called with (rows done, rows in all) of the first pass.

    Returns:
        The largest first, equal ones in the order in which they were found; no sentence is in two. Memory is linear in n.

    Raises:
        ConfigError: a threshold that is no cosine, or `least` below 1. NonFiniteError: a vector is not finite.
    """
    require_options(threshold, least)
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(vectors).all():
        raise NonFiniteError("a vector holds a number that is not finite")
    if len(vectors) < least or not len(vectors):
        return []
    counts, pairs = _count(vectors, threshold, progress)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= least]
    free = np.ones(len(vectors), bool)
    found = []
    for centre, near, cosines in _neighbours(vectors, threshold, order, free, pairs):
        stays = free[near]
        if not free[centre] or int(stays.sum()) < least:
            continue
        near, cosines = near[stays], cosines[stays]
        first = np.lexsort((near, -cosines, near != centre))
        found.append(Community(near[first], cosines[first]))
        free[near] = False
    return sorted(found, key=lambda community: -len(community.members))


def require_options(threshold: float, least: int) -> None:
    """Refuse what means nothing, before any work.

    Raises:
        ConfigError: a threshold that is no cosine, or `least` below 1.
    """
    if not -1 <= threshold <= 1:
        raise ConfigError("no such cosine", where=Option("threshold", threshold), expected="a number from -1 to 1")
    if least < 1:
        raise ConfigError("a community has at least one sentence", where=Option("least", least))


def _count(vectors: np.ndarray, threshold: float, progress: Progress) -> tuple[np.ndarray, Pairs | None]:
    """How many neighbours each row has, itself among them; and the pairs, unless they are too many to be kept."""
    rows = np.arange(len(vectors))
    counts = (dot_of_pairs(vectors, vectors, rows, rows) >= np.float32(threshold)).astype(np.int64)
    parts: list[Pairs] | None = []
    kept, most = 0, max(_KEPT, _KEPT_EACH * len(vectors))
    for part in pairs_above(vectors, threshold, progress=progress):
        counts += np.bincount(part.left, minlength=len(vectors)) + np.bincount(part.right, minlength=len(vectors))
        kept += len(part.scores)
        if kept > most:
            parts = None
        elif parts is not None:
            parts.append(part)
    return counts, None if parts is None else Pairs.joined(parts)


def _neighbours(
    vectors: np.ndarray, threshold: float, order: np.ndarray, free: np.ndarray, pairs: Pairs | None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The centres that are free when their turn comes, with the places and cosines of their neighbours, rising by place."""
    rows = np.arange(len(vectors))
    if pairs is not None:
        own = dot_of_pairs(vectors, vectors, rows, rows)
        itself = np.flatnonzero(own >= np.float32(threshold))
        left = np.concatenate([pairs.left, pairs.right, itself])
        right = np.concatenate([pairs.right, pairs.left, itself])
        scores = np.concatenate([pairs.scores, pairs.scores, own[itself]])
        by = np.lexsort((right, left))
        right, scores = right[by], scores[by]
        ends = np.searchsorted(left[by], rows, "right")
        starts = np.concatenate([[0], ends[:-1]])
        for centre in order.tolist():
            if free[centre]:
                part = slice(starts[centre], ends[centre])
                yield centre, right[part], scores[part]
        return
    asked, at = AskedRows(vectors), 0
    while at < len(order):
        # Not more at a time than may be taken by the first of them.
        ahead = order[at : at + 16 * _CENTRES]
        centres = ahead[free[ahead]][:_CENTRES]
        at += len(ahead) if len(centres) < _CENTRES else int(np.flatnonzero(ahead == centres[-1])[0]) + 1
        part = asked.above(vectors[centres], float(np.float32(threshold)))
        ends = np.searchsorted(part.left, np.arange(len(centres)), "right")
        for number, centre in enumerate(centres.tolist()):
            own_part = slice(ends[number - 1] if number else 0, ends[number])
            yield centre, part.right[own_part], part.scores[own_part]
