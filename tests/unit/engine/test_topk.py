"""Exact neighbours: those of a full sort with ties by position, whatever the block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from munjang.engine.native import neighbours as native
from munjang.engine.running import NonFiniteError
from munjang.engine.topk import Corpus, top_k

#: Sums of products of small whole numbers are exact in float32, and most of them occur more than once.
WHOLE = arrays.arrays(np.float32, (24, 3), elements=st.integers(-2, 2).map(float))


@pytest.fixture(autouse=True, params=["native", "numpy"], scope="module")
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs with the native kernels, where they are built, and without them."""
    if request.param == "native" and native.module() is None:
        pytest.skip("munjang-native is not built here: pip install ./native")
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "numpy":
            patched.setattr(native, "module", lambda: None)
        patched.setattr(native, "_LEAST_QUERIES", 1)
        patched.setattr(native, "_LEAST_PRODUCTS", 1)
        yield request.param


def by_sorting(queries: np.ndarray, corpus: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All scores of each query sorted, best first, the earlier position before an equal one."""
    scores = queries.astype(np.float64) @ corpus.astype(np.float64).T
    positions = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return positions, np.take_along_axis(scores, positions, axis=1)


def unit_rows(shape: tuple[int, int], seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(queries=WHOLE, corpus=WHOLE, n=st.integers(0, 24), k=st.integers(0, 30), block=st.integers(1, 40))
def test_neighbours_are_those_of_a_stable_sort(
    queries: np.ndarray, corpus: np.ndarray, n: int, k: int, block: int
) -> None:
    found = top_k(queries, corpus[:n], k, block)
    positions, scores = by_sorting(queries, corpus[:n], k)
    assert (found.positions.dtype, found.scores.dtype) == (np.int64, np.float32)
    assert found.positions.shape == (24, min(k, n))
    assert np.array_equal(found.positions, positions)
    assert np.array_equal(found.scores, scores)


@given(k=st.integers(1, 12), block=st.integers(1, 9))
def test_equal_scores_come_by_position(k: int, block: int) -> None:
    corpus = np.tile(np.array([[1, 0], [0, 1], [1, 0]], np.float32), (4, 1))
    found = top_k(np.array([[1, 0]], np.float32), corpus, k, block)
    assert found.positions[0].tolist() == [0, 2, 3, 5, 6, 8, 9, 11, 1, 4, 7, 10][:k]


@pytest.mark.parametrize("size", [(17, 147), (100, 384), (257, 33)])
def test_on_real_numbers_the_scores_are_the_products_up_to_rounding(size: tuple[int, int]) -> None:
    corpus, queries = unit_rows(size, 1), unit_rows((31, size[1]), 2)
    found = top_k(queries, corpus, 10)
    _, scores = by_sorting(queries, corpus, 10)
    assert np.abs(found.scores - scores).max() < 1e-5
    assert (np.diff(found.scores, axis=1) <= 0).all()
    own = np.einsum("qd,qkd->qk", queries, corpus[found.positions])
    assert np.abs(found.scores - own).max() < 1e-5


@pytest.mark.parametrize("size", [(17, 147), (100, 384), (257, 33)])
def test_on_real_numbers_the_block_changes_nothing(size: tuple[int, int]) -> None:
    corpus, queries = unit_rows(size, 3), unit_rows((130, size[1]), 4)
    whole = top_k(queries, corpus, 10, block=1024)
    for block in (1, 2, 7, 64):
        parts = top_k(queries, corpus, 10, block=block)
        assert np.array_equal(parts.positions, whole.positions)
        assert np.array_equal(parts.scores, whole.scores)


@pytest.mark.parametrize("seed", [60, 74, 107, 382])
def test_equal_texts_have_equal_scores_and_come_by_position(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n, d, q = draw.integers(5, 60), draw.integers(3, 400), draw.integers(1, 70)
    base = unit_rows((n, d), seed)
    corpus = np.concatenate([base, base[::-1], base])
    found = top_k(base[:q], corpus, 9)
    text = np.concatenate([np.arange(n), np.arange(n)[::-1], np.arange(n)])[found.positions]
    for positions, texts, scores in zip(found.positions, text, found.scores, strict=True):
        for one in np.unique(texts):
            assert len(set(scores[texts == one].tolist())) == 1
            assert (np.diff(positions[texts == one]) > 0).all()


@pytest.mark.parametrize("k", [0, 1, 5])
def test_an_empty_side_gives_an_empty_answer(k: int) -> None:
    some, none = unit_rows((4, 8), 0), np.empty((0, 8), np.float32)
    assert top_k(some, none, k).positions.shape == (4, 0)
    assert top_k(none, some, k).positions.shape == (0, k if k < 4 else 4)
    assert top_k(none, none, k).scores.shape == (0, 0)


def test_other_types_are_taken_as_float32() -> None:
    queries, corpus = unit_rows((5, 8), 1), unit_rows((20, 8), 2)
    expected = top_k(queries, corpus, 3)
    for kind in (np.float64, np.float32):
        found = top_k(queries.astype(kind), corpus.astype(kind), 3)
        assert np.array_equal(found.positions, expected.positions)
    lists = top_k(queries.tolist(), corpus.tolist(), 3)
    assert np.array_equal(lists.positions, expected.positions)


def test_a_kept_corpus_gives_the_same_for_every_query(way: str) -> None:
    corpus, queries = unit_rows((300, 20), 1), unit_rows((50, 20), 2)
    kept, expected = Corpus(corpus), top_k(queries, corpus, 7)
    for i in range(len(queries)):
        found = kept.top_k(queries[i : i + 1], 7)
        assert np.array_equal(found.positions[0], expected.positions[i])
        assert np.array_equal(found.scores[0], expected.scores[i])
    assert kept.top_k(queries[:2], 400).positions.shape == (2, 300)
    assert Corpus(corpus[:0]).top_k(queries, 3).positions.shape == (50, 0)
    with pytest.raises(NonFiniteError):
        Corpus(np.full((3, 20), np.nan, np.float32)).top_k(queries[:1], 2)
