"""What a cluster is about: its words, a label, and its most typical sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from munjang.explore.clusters import Clustering

#: Words of a cluster, and of its label.
_WORDS, _LABEL = 8, 3


@dataclass(frozen=True)
class Topic:
    """Of one cluster."""

    words: list[str]
    """The most telling first."""
    label: str
    """The first of them; without any the most typical sentence."""
    typical: list[int]
    """Places of the sentences nearest to the centroid, nearest first, equal ones by place."""


def describe(
    clustering: Clustering, vectors: np.ndarray, texts: Sequence[str], terms: Sequence[Sequence[str]], typical: int = 3
) -> list[Topic]:
    """Topics of all clusters, in their order.

    Args:
        clustering: of the sentences.
        vectors: float32 (n, d), of length 1. texts: of the sentences.
        terms: of each sentence, as `munjang.index.morphemes.Analyser` cuts it.
        typical: how many typical sentences.
    """
    words = topic_words(clustering.labels, terms)
    topics = []
    for number, own in enumerate(words):
        places = np.flatnonzero(clustering.labels == number)
        cosines = vectors[places] @ clustering.centroids[number]
        nearest = places[np.lexsort((places, -cosines.astype(np.float32)))][:typical].tolist()
        topics.append(Topic(own, ", ".join(own[:_LABEL]) or texts[nearest[0]], nearest))
    return topics


def topic_words(labels: np.ndarray, terms: Sequence[Sequence[str]], most: int = _WORDS) -> list[list[str]]:
    """Words of each cluster by class-based TF-IDF (Grootendorst 2022): tf(word, cluster) * log(1 + A / f(word)).

    tf is the share of a word among the terms of a cluster, f its frequency in all clusters together, A the mean number of terms
    of a cluster. A word counts once a sentence, so that one sentence that repeats it is no topic.

    Args:
        labels: int (n,), -1 for sentences that are in none, which are left out.
        terms: of each sentence.
        most: words of each.

    Returns:
        Words of clusters 0, 1, ...; the most telling first, equal ones in the order of the alphabet.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(int(np.max(labels, initial=-1)) + 1)]
    for label, own in zip(labels.tolist(), terms, strict=True):
        if label >= 0:
            counts[label].update(set(own))
    whole: Counter[str] = Counter()
    for one in counts:
        whole.update(one)
    mean = whole.total() / max(len(counts), 1)
    found = []
    for one in counts:
        total = max(one.total(), 1)
        telling = {word: tf / total * np.log(1 + mean / whole[word]) for word, tf in one.items()}
        found.append([word for word, _ in sorted(telling.items(), key=lambda item: (-item[1], item[0]))[:most]])
    return found
