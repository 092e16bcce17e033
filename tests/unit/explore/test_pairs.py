"""Pairs of sentences: those of comparing all with all, whatever computes and in whatever blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.engine import above
from munjang.engine.above import pairs_above
from munjang.engine.encoder import normalise
from munjang.engine.native import kernels, neighbours
from munjang.engine.running import NonFiniteError
from munjang.errors import ConfigError
from munjang.explore.pairs import Pairs, mine_nearest, mine_pairs, mine_translations


@pytest.fixture(params=["as built", "without kernels"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute."""
    if request.param == "as built" and kernels.module() is None:
        pytest.skip("munjang-native is not installed")
    if request.param != "as built":
        monkeypatch.setattr(neighbours, "module", lambda: None)
    return request.param


def unit(count: int, size: int = 16, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return normalise((random.normal(size=size) + spread * random.normal(size=(count, size))).astype(np.float32))


def all_with_all(vectors: np.ndarray, least: float, others: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Pairs as two loops find them, best first, ties by position."""
    other = vectors if others is None else others
    scores = (vectors.astype(np.float64) @ other.T.astype(np.float64)).astype(np.float32)
    allowed = scores >= np.float32(least)
    left, right = np.nonzero(np.triu(allowed, 1) if others is None else allowed)
    order = np.lexsort((right, left, -scores[left, right]))
    return list(zip(left[order].tolist(), right[order].tolist(), strict=True))


def places(pairs: Pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


@given(count=st.integers(0, 60), other=st.integers(0, 40), least=st.sampled_from([-1.0, 0.0, 0.4, 0.9, 1.0]))
def test_pairs_are_those_of_two_loops(count: int, other: int, least: float) -> None:
    vectors, others = unit(count, seed=1), unit(other, seed=2)
    # Signs on 16 places: a quarter each, so that products are exact and many of them equal.
    signs = np.random.default_rng(count).choice([-0.25, 0.25], (count, 16)).astype(np.float32)
    for rows, against in ((vectors, None), (vectors, others), (signs, None)):
        found = mine_pairs(rows, least, against)
        assert set(places(found)) == set(all_with_all(rows, least, against))
        assert (np.diff(found.scores) <= 0).all()
    assert places(mine_pairs(signs, least)) == all_with_all(signs, least)


def test_both_engines_and_all_blocks_find_the_same(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.concatenate([unit(700, 24, 3, 0.4), unit(50, 24, 3, 0.4)])
    expected = all_with_all(vectors, 0.93)
    assert len(expected) > 1_000
    monkeypatch.setattr(above, "_COLUMNS", 100)
    for block in (1, 97, 5_000):
        parts = list(pairs_above(vectors, 0.93, block=block))
        assert [pair for part in parts for pair in places(part)] == sorted(expected)
    assert places(mine_pairs(vectors, 0.93)) == expected


@pytest.mark.parametrize("top", [1, 7, 150, 10_000_000])
def test_the_best_are_kept_of_however_many(top: int, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(above, "_FEWEST", 8)
    monkeypatch.setattr(above, "_MOST_PAIRS", 1)
    vectors = np.random.default_rng(5).choice([-0.25, 0.25], (300, 16)).astype(np.float32)
    assert places(mine_pairs(vectors, -1, top=top)) == all_with_all(vectors, -1)[:top]


def test_equal_sentences_do_not_fill_the_memory(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(above, "_MOST_PAIRS", 1)
    found = mine_pairs(np.repeat(unit(1), 2_000, axis=0), 0.9, top=10)
    assert places(found) == [(0, i) for i in range(1, 11)]


def test_a_pair_at_the_threshold_is_found(engine: str) -> None:
    rows = np.array([[1, 0], [0.6, 0.8]], np.float32)
    assert len(mine_pairs(rows, 0.6).scores) == 1
    assert len(mine_pairs(rows, float(np.nextafter(np.float32(0.6), np.float32(1)))).scores) == 0


def test_nearest_of_each_row_come_once() -> None:
    vectors = unit(200, seed=8)
    found = places(mine_nearest(vectors, 3))
    scores = (vectors.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    np.fill_diagonal(scores, -2)
    near = np.argsort(-scores, axis=1, kind="stable")[:, :3]
    expected = {(min(i, j), max(i, j)) for i, row in enumerate(near.tolist()) for j in row}
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert places(mine_nearest(vectors, 3, top=5)) == found[:5]
    between = mine_nearest(vectors[:20], 2, vectors[20:], threshold=-1)
    assert np.bincount(between.left).tolist() == [2] * 20
    assert len(mine_nearest(vectors[:3], 99).scores) == 3


def test_translations_survive_a_sentence_that_is_near_to_everything() -> None:
    random = np.random.default_rng(4)
    korean = normalise(random.normal(size=(40, 32)).astype(np.float32) + 1.5)
    english = normalise(korean + 0.1 * random.normal(size=korean.shape).astype(np.float32))
    shuffled = random.permutation(40)
    others = np.concatenate([english[shuffled], normalise(korean.mean(axis=0, keepdims=True))])
    by_cosine = (korean @ others.T).argmax(axis=1)
    found = mine_translations(korean, others, 4, threshold=0)
    own = np.append(shuffled, -1)
    right = [sum(own[rows] == lefts) for rows, lefts in ((by_cosine, np.arange(40)), (found.right, found.left))]
    assert (by_cosine == 40).any()
    assert right[1] > right[0]
    assert (np.diff(found.scores) <= 0).all()


def test_a_margin_is_that_of_the_paper() -> None:
    one, other, k = unit(30, seed=1), unit(25, seed=2), 4
    found = mine_translations(one, other, k, threshold=0)
    cosines = one.astype(np.float64) @ other.T.astype(np.float64)
    near = np.sort(cosines, axis=1)[:, -k:].sum(axis=1) / (2 * k)
    near_other = np.sort(cosines, axis=0)[-k:].sum(axis=0) / (2 * k)
    margins = cosines / (near[:, None] + near_other)
    assert np.allclose(found.scores, margins[found.left, found.right], atol=1e-5)
    assert len(set(found.left.tolist())) == len(found.left)
    assert len(set(found.right.tolist())) == len(found.right)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_pair_is_no_pair(count: int, engine: str) -> None:
    rows = unit(count)
    assert places(mine_pairs(rows, -1)) == places(mine_nearest(rows, 2)) == []
    assert places(mine_pairs(rows, -1, unit(0))) == places(mine_translations(rows, unit(0))) == []


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (lambda v: mine_pairs(v, 1.5), "no such cosine"),
        (lambda v: mine_pairs(v, float("nan")), "no such cosine"),
        (lambda v: mine_pairs(v, 0.5, top=0), "at least one"),
        (lambda v: mine_nearest(v, 0), "at least one"),
        (lambda v: mine_translations(v, v, 0), "at least one"),
    ],
)
def test_what_no_search_has_is_refused(search: Callable[[np.ndarray], Pairs], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        search(unit(3))


def test_a_number_that_is_not_finite_is_named() -> None:
    rows = unit(4)
    rows[2, 1] = np.nan
    with pytest.raises(NonFiniteError, match="not finite") as caught:
        mine_pairs(rows, 0.5)
    assert caught.value.where == "vectors[2]"
