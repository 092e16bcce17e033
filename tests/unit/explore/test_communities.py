"""Communities are those of sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers.util import community_detection

from munjang.engine.encoder import normalise
from munjang.engine.native import kernels, neighbours
from munjang.engine.running import NonFiniteError
from munjang.errors import ConfigError
from munjang.explore import communities
from munjang.explore.communities import Community, detect_communities


@pytest.fixture(params=["pairs kept", "pairs found anew", "without kernels"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways to the neighbours of a centre."""
    if request.param == "without kernels":
        monkeypatch.setattr(neighbours, "module", lambda: None)
    elif kernels.module() is None:
        pytest.skip("munjang-native is not installed")
    if request.param == "pairs found anew":
        monkeypatch.setattr(communities, "_KEPT", 0)
        monkeypatch.setattr(communities, "_KEPT_EACH", 0)
        monkeypatch.setattr(communities, "_CENTRES", 5)
    return request.param


def clustered(count: int, centres: int, spread: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    around = random.normal(size=(centres, 16))[random.integers(0, centres, count)]
    return normalise((around + spread * random.normal(size=(count, 16))).astype(np.float32))


def plain(found: list[Community]) -> list[tuple[int, list[int]]]:
    """Centre and members; the order of members whose cosines are equal is left open by sentence-transformers."""
    return [(int(one.members[0]), sorted(one.members.tolist())) for one in found]


def theirs(vectors: np.ndarray, threshold: float, least: int) -> list[tuple[int, list[int]]]:
    found = community_detection(vectors, threshold=threshold, min_community_size=least, batch_size=64)
    return [(one[0], sorted(one)) for one in found]


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.75, 0.9])
@pytest.mark.parametrize("least", [1, 2, 10, 60])
def test_communities_are_those_of_sentence_transformers(threshold: float, least: int, way: str) -> None:
    vectors = clustered(400, 12, 0.5, seed=least)
    found = detect_communities(vectors, threshold, least)
    assert plain(found) == theirs(vectors, threshold, least)


def test_some_of_these_cases_have_several_communities() -> None:
    assert len(detect_communities(clustered(400, 12, 0.5, seed=10), 0.75, 10)) > 3


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("least", [1, 3, 10])
def test_ties_are_broken_as_theirs_are(threshold: float, least: int, way: str) -> None:
    # A quarter on each of 16 places: products are exact, and many are equal or right at the threshold.
    vectors = np.random.default_rng(least).choice([-0.25, 0.25], (150, 16)).astype(np.float32)
    vectors = np.concatenate([vectors, vectors[::3], vectors[::5]])
    assert plain(detect_communities(vectors, threshold, least)) == theirs(vectors, threshold, least)


def test_members_stand_by_cosine_with_the_centre_first(way: str) -> None:
    vectors = clustered(300, 6, 0.4, seed=3)
    found = detect_communities(vectors, 0.7, 5)
    assert found
    for one in found:
        cosines = vectors[one.members].astype(np.float64) @ vectors[one.members[0]].astype(np.float64)
        assert np.allclose(one.cosines, cosines, atol=1e-6)
        assert (np.diff(one.cosines[1:]) <= 0).all()
        assert one.cosines.min() >= np.float32(0.7)


def test_equal_sentences_are_one_community(way: str) -> None:
    vectors = np.repeat(clustered(1, 1, 1, seed=1), 700, axis=0)
    assert [one.members.tolist() for one in detect_communities(vectors, 0.9)] == [list(range(700))]


@pytest.mark.parametrize(("count", "least"), [(0, 1), (0, 10), (1, 2), (9, 10)])
def test_too_few_sentences_are_no_community(count: int, least: int, way: str) -> None:
    assert detect_communities(clustered(count, 3, 0.1, seed=1), 0.1, least) == []


def test_what_means_nothing_is_refused() -> None:
    vectors = clustered(20, 3, 0.1, seed=1)
    with pytest.raises(ConfigError, match="no such cosine"):
        detect_communities(vectors, 1.01)
    with pytest.raises(ConfigError, match="at least one sentence"):
        detect_communities(vectors, 0.5, 0)
    vectors[3] = np.nan
    with pytest.raises(NonFiniteError):
        detect_communities(vectors, 0.5)
