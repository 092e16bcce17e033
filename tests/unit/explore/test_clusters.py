"""Clusters: what lies together is found, whatever the method; ids stay, words tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from munjang.engine.encoder import normalise
from munjang.errors import ConfigError
from munjang.explore import clusters
from munjang.explore.clusters import METHODS, Clustering, Method, cluster_vectors, stable_ids
from munjang.explore.topics import describe, topic_words

SIZES = (40, 30, 20)
GOLD = np.repeat(np.arange(3), SIZES)
ORDER = np.random.default_rng(5).permutation(len(GOLD))


def heaps() -> np.ndarray:
    """Three heaps, mixed by `ORDER`."""
    random = np.random.default_rng(0)
    around = np.eye(3, 12)[GOLD]
    return normalise((around + 0.05 * random.normal(size=(len(GOLD), 12))).astype(np.float32))[ORDER]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_heaps(method: Method) -> None:
    vectors = heaps()
    found = cluster_vectors(vectors, method, threshold=0.8, least=5, count=3 if method == "kmeans" else None)
    assert found.labels.tolist() == GOLD[ORDER].tolist()
    assert np.allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-6)
    assert (vectors @ found.centroids.T).argmax(axis=1).tolist() == found.labels.tolist()


def test_the_silhouette_chooses_their_number() -> None:
    found = cluster_vectors(heaps(), "kmeans", count=(2, 6))
    assert len(found.centroids) == 3
    assert max(found.silhouettes, key=lambda one: found.silhouettes[one]) == 3
    assert list(found.silhouettes) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_equal_sentences_and_single_ones_have_answers(method: Method, count: int) -> None:
    vectors = np.repeat(heaps()[:1], count, axis=0)
    if method == "kmeans" and count < 2:
        with pytest.raises(ConfigError, match="more clusters than sentences"):
            cluster_vectors(vectors, method, count=2)
        return
    found = cluster_vectors(vectors, method, least=2, count=2 if method == "kmeans" else None)
    assert set(found.labels.tolist()) <= {-1, 0}
    # One dense place alone is none for HDBSCAN.
    if count == 30 and method != "hdbscan":
        assert set(found.labels.tolist()) == {0}


def test_equal_sentences_have_no_silhouette() -> None:
    assert cluster_vectors(np.repeat(heaps()[:1], 9, axis=0), "kmeans", count=(2, 4)).silhouettes == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"method": "magic"}, "no such method"),
        ({"method": "kmeans"}, "needs a number"),
        ({"count": 3}, "only k-means"),
        ({"method": "kmeans", "count": (5, 2)}, "no such number"),
        ({"method": "kmeans", "count": (1, 2)}, "no such number"),
        ({"method": "kmeans", "count": 0}, "no such number"),
        ({"method": "kmeans", "count": 91}, "more clusters than sentences"),
        ({"method": "hdbscan", "least": 1}, "at least two"),
        ({"threshold": 3}, "no such cosine"),
    ],
)
def test_what_means_nothing_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cluster_vectors(heaps(), **wrong)


def test_what_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_MOST_AGGLOMERATIVE", 10)
    with pytest.raises(ConfigError, match="distances of all pairs"):
        cluster_vectors(heaps(), "agglomerative")


def test_ids_stay_where_clusters_go_on() -> None:
    keys = [f"s{i}" for i in range(10)]
    first = stable_ids(np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, -1]), keys, {})
    assert first == [1, 2, 3]
    before = dict(zip(keys, [1, 1, 1, 1, 2, 2, 2, 3, 3], strict=False))
    # The second is the largest now, the first lost one sentence, the third fell apart, and a new one came.
    later = np.array([1, 1, 1, -1, 0, 0, 0, -1, -1, 0, 0, 2, 2])
    assert stable_ids(later, [*keys, "n1", "n2", "n3"], before) == [2, 1, 4]


def test_a_cluster_that_shares_little_is_a_new_one() -> None:
    before = {f"s{i}": 1 for i in range(10)} | {f"t{i}": 2 for i in range(10)}
    keys = [f"s{i}" for i in range(10)] + [f"t{i}" for i in range(10)]
    labels = np.array([0] * 6 + [1] * 4 + [0] * 6 + [1] * 4)
    assert sorted(stable_ids(labels, keys, before)) == [1, 2]
    few = np.array([0] * 4 + [-1] * 6 + [0] * 4 + [-1] * 6)
    assert stable_ids(few, keys, before) == [1]
    third = {**{key: 1 for key in keys[:8]}, **{key: 2 for key in keys[8:14]}, **{key: 3 for key in keys[14:]}}
    assert stable_ids(np.array([0, 0, *[-1] * 6, 0, 0, *[-1] * 4, 0, 0, *[-1] * 4]), keys, third) == [4]


def test_words_are_those_that_tell_a_cluster_from_the_others() -> None:
    terms = [
        ["환불", "신청", "하다"],
        ["환불", "언제", "하다"],
        ["배송", "언제", "하다"],
        ["배송", "지연", "하다"],
        ["잡음"],
    ]
    words = topic_words(np.array([0, 0, 1, 1, -1]), terms, most=2)
    assert [own[0] for own in words] == ["환불", "배송"]
    assert topic_words(np.array([-1]), [["잡음"]]) == []
    assert topic_words(np.zeros(0, int), []) == []


def test_typical_sentences_are_the_nearest_to_the_middle() -> None:
    vectors = normalise(np.array([[1, 0.5], [1, 0], [1, -0.5], [0, 1]], np.float32))
    labels = np.array([0, 0, 0, 1])
    clustering = Clustering(labels, np.eye(2, dtype=np.float32))
    topics = describe(clustering, vectors, ["a", "b", "c", "d"], [["x"], ["x"], ["x"], []], typical=2)
    assert [one.typical for one in topics] == [[1, 0], [3]]
    assert [one.label for one in topics] == ["x", "d"]
