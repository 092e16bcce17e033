"""Clusters of sentences by one of four methods, and which of an earlier run they are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from munjang.engine.above import dot_of_pairs
from munjang.engine.encoder import normalise
from munjang.errors import ConfigError, Option
from munjang.explore.communities import detect_communities
from munjang.explore.communities import require_options as require_cosine
from munjang.progress import Progress, silent

Method = Literal["community", "kmeans", "hdbscan", "agglomerative"]
METHODS: tuple[Method, ...] = get_args(Method)
#: Sentences of which agglomerative clustering holds all distances: 3.2 GB.
_MOST_AGGLOMERATIVE = 20_000
#: Sentences from whose distances the silhouette of a number of clusters is computed.
_SILHOUETTE = 2_000
#: Least share of a cluster's sentences, or of the earlier one's, that makes the two the same.
_SAME = 0.5


@dataclass(frozen=True)
class Clustering:
    """Which sentence is in which cluster."""

    labels: np.ndarray
    """int64 (n,): from 0, the largest cluster first, equal ones by their first sentence; -1 in none."""
    centroids: np.ndarray
    """float32 (clusters, d), of length 1: the mean of a cluster's vectors."""
    silhouettes: Mapping[int, float] = field(default_factory=dict)
    """Of each number of clusters that was tried, where it was to be chosen."""


def cluster_vectors(
    vectors: np.ndarray,
    method: Method = "community",
    *,
    threshold: float = 0.75,
    least: int = 5,
    count: int | tuple[int, int] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Clustering:
    """Cluster sentences.

    Args:
        vectors: float32 (n, d), of length 1.
        method: `community`, see `munjang.explore.communities`; `kmeans`; `hdbscan` (Campello et al. 2013), which finds two
            dense places or more, or none; or `agglomerative`, average linkage of cosines, whose memory is quadratic.
        threshold: of communities the least cosine with the centre, of agglomerative clusters the least mean cosine.
        least: sentences of the smallest cluster, but of k-means.
        count: clusters of k-means; or the least and the most, of which the number with the largest silhouette is taken.
        seed: of k-means.
        progress: told of the pass over all pairs for communities, or of the numbers that are tried for k-means.

    Raises:
        ConfigError: see `require_options`; more clusters than sentences, or more sentences than the method can hold.
        NonFiniteError: a vector is not finite.
    """
    require_options(method, threshold, least, count)
    vectors = np.ascontiguousarray(vectors, np.float32)
    silhouettes: dict[int, float] = {}
    if method == "community":
        labels = np.full(len(vectors), -1)
        for number, one in enumerate(detect_communities(vectors, threshold, least, progress=progress)):
            labels[one.members] = number
    elif method == "kmeans":
        assert count is not None
        labels, silhouettes = _k_means(vectors, count, seed, progress)
    else:
        labels = _hdbscan(vectors, least) if method == "hdbscan" else _agglomerative(vectors, threshold, least)
    labels = _by_size(labels)
    sums = np.zeros((int(labels.max(initial=-1)) + 1, vectors.shape[1]))
    np.add.at(sums, labels[labels >= 0], vectors[labels >= 0])
    return Clustering(labels, normalise(sums).astype(np.float32), silhouettes)


def require_options(method: str, threshold: float, least: int, count: int | tuple[int, int] | None) -> None:
    """Refuse what means nothing, before any work.

    Raises:
        ConfigError: an unknown method; a threshold that is no cosine; `least` below 1, of HDBSCAN below 2; k-means without a
            count, another method with one, or a range that is none.
    """
    if method not in METHODS:
        raise ConfigError("no such method", where=Option("method"), expected=" or ".join(METHODS), got=method)
    require_cosine(threshold, least)
    if method == "hdbscan" and least < 2:
        raise ConfigError("a dense place has at least two sentences", where=Option("least", least))
    if (method == "kmeans") != (count is not None):
        what = "k-means needs a number of clusters" if count is None else "only k-means takes a number of clusters"
        raise ConfigError(what, where=Option("count"))
    low, high = count if isinstance(count, tuple) else (1, 1) if count is None else (count, count)
    if low < 1 or high < low or (low != high and low < 2):
        raise ConfigError(
            "no such number of clusters",
            where=Option("count"),
            expected="1 or more, a range from 2",
            got=f"{low} {high}",
        )


def _k_means(
    vectors: np.ndarray, count: int | tuple[int, int], seed: int, progress: Progress
) -> tuple[np.ndarray, dict[int, float]]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import silhouette_score

    low, high = count if isinstance(count, tuple) else (count, count)
    if high > len(vectors):
        raise ConfigError(
            "more clusters than sentences", where=Option("count"), expected=f"at most {len(vectors)}", got=str(high)
        )
    sample = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:_SILHOUETTE])
    best: tuple[float, np.ndarray] | None = None
    silhouettes: dict[int, float] = {}
    for number in range(low, high + 1):
        with warnings.catch_warnings():
            # Equal vectors: fewer clusters than asked for are what there is.
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels = KMeans(number, n_init=4, random_state=seed).fit_predict(vectors)
        score, seen = 0.0, len(np.unique(labels[sample]))
        if low != high and 1 < seen < len(sample):
            score = silhouettes[number] = float(silhouette_score(vectors[sample], labels[sample], metric="cosine"))
        if best is None or score > best[0]:
            best = score, labels
        progress(number - low + 1, high - low + 1)
    assert best is not None
    return best[1].astype(np.int64), silhouettes


def _hdbscan(vectors: np.ndarray, least: int) -> np.ndarray:
    if len(vectors) < least:
        return np.full(len(vectors), -1)
    from sklearn.cluster import HDBSCAN

    # Of vectors of length 1, the order of distances is that of cosines.
    found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(vectors.astype(np.float64))
    return np.where(found < 0, -1, found).astype(np.int64)


def _agglomerative(vectors: np.ndarray, threshold: float, least: int) -> np.ndarray:
    if len(vectors) > _MOST_AGGLOMERATIVE:
        raise ConfigError(
            "agglomerative clustering holds the distances of all pairs",
            where=Option("method"),
            expected=f"at most {_MOST_AGGLOMERATIVE:,} sentences",
            got=f"{len(vectors):,}",
            hint="use community, kmeans or hdbscan",
        )
    labels = np.zeros(len(vectors), np.int64)
    if len(vectors) > 1:
        from sklearn.cluster import AgglomerativeClustering

        method = AgglomerativeClustering(None, metric="cosine", linkage="average", distance_threshold=1 - threshold)
        labels = method.fit_predict(vectors.astype(np.float64)).astype(np.int64)
    return np.where(np.bincount(labels, minlength=1)[labels] >= least, labels, -1)


def _by_size(labels: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from the largest on."""
    known, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    renumbered = np.full(int(labels.max(initial=-1)) + 2, -1)
    renumbered[known[np.lexsort((first, -sizes))]] = np.arange(len(known))
    return renumbered[labels]


def cosines_within(clustering: Clustering, vectors: np.ndarray) -> list[float | None]:
    """The cosine of each sentence with the centroid of its cluster; None for those in none.

    Args:
        vectors: float32 (n, d), of length 1.
    """
    inside = np.flatnonzero(clustering.labels >= 0)
    found: list[float | None] = [None] * len(vectors)
    cosines = dot_of_pairs(vectors, clustering.centroids, inside, clustering.labels[inside])
    for place, cosine in zip(inside.tolist(), cosines.tolist(), strict=True):
        found[place] = round(cosine, 6)
    return found


def stable_ids(labels: np.ndarray, keys: Sequence[str], before: Mapping[str, int]) -> list[int]:
    """An id for each cluster: that of the earlier cluster that it goes on, or a new one.

    Earlier and new clusters are matched one to one so that they share as many sentences as possible; two are the same where that
    is at least half of the sentences of either, among those that both runs have seen.

    Args:
        labels: of a `Clustering`.
        keys: `match_key` of each sentence.
        before: key -> id of its cluster in the earlier run, of sentences that were in one; empty for a first run.

    Returns:
        Ids from 1; new ones follow the largest earlier one.
    """
    from scipy.optimize import linear_sum_assignment

    count = int(labels.max(initial=-1)) + 1
    known = sorted(set(before.values()))
    column = {one: place for place, one in enumerate(known)}
    shared = np.zeros((count, len(known)))
    for label, key in zip(labels.tolist(), keys, strict=True):
        if label >= 0 and key in before:
            shared[label, column[before[key]]] += 1
    seen = set(keys)
    earlier = np.zeros(len(known))
    for key, one in before.items():
        earlier[column[one]] += key in seen
    sizes = np.maximum(shared.sum(axis=1), 1)
    ids = [0] * count
    for row, place in zip(*linear_sum_assignment(-shared), strict=True):
        overlap = shared[row, place]
        if overlap and max(overlap / sizes[row], overlap / earlier[place]) >= _SAME:
            ids[row] = known[place]
    following = max(known, default=0)
    for row in range(count):
        if not ids[row]:
            following += 1
            ids[row] = following
    return ids
