"""BM25: the values of two loops, whatever the block; a document never finds itself where it must not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.index.bm25 import Bm25

TEXTS = st.lists(st.lists(st.sampled_from("가나다라마바"), max_size=8), min_size=1, max_size=12)


def by_loops(documents: list[list[str]], query: list[str], k1: float = 1.2, b: float = 0.75) -> list[float]:
    n, mean = len(documents), sum(map(len, documents)) / len(documents) or 1
    scores = []
    for document in documents:
        score = 0.0
        for term in set(query):
            holding, count = sum(term in d for d in documents), document.count(term)
            if count:
                idf = math.log(1 + (n - holding + 0.5) / (holding + 0.5))
                score += idf * count / (count + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


@given(TEXTS, TEXTS, st.integers(1, 9), st.integers(1, 5))
def test_scores_are_those_of_two_loops_whatever_the_block(
    documents: list[list[str]], queries: list[list[str]], k: int, block: int
) -> None:
    found = Bm25(documents).top_k(queries, k, block=block)
    assert found.positions.shape == found.scores.shape == (len(queries), k)
    for query, positions, scores in zip(queries, found.positions, found.scores, strict=True):
        expected = by_loops(documents, query)
        hits = sum(score > 0 for score in expected)
        assert (positions >= 0).sum() == min(k, hits)
        assert scores[min(k, hits) :].tolist() == [0] * (k - min(k, hits))
        best = sorted(expected, reverse=True)[: min(k, hits)]
        assert scores[: len(best)] == pytest.approx(best, rel=1e-5)
        for position, score in zip(positions, scores, strict=True):
            if position >= 0:
                assert score == pytest.approx(expected[position], rel=1e-5)
    whole = Bm25(documents).top_k(queries, k)
    assert np.array_equal(found.positions, whole.positions)
    assert np.array_equal(found.scores, whole.scores)


@given(TEXTS, st.integers(1, 5))
def test_a_document_that_does_not_find_itself_loses_no_place(documents: list[list[str]], k: int) -> None:
    index = Bm25(documents)
    found = index.top_k(documents, k, exclude_self=True)
    every = index.top_k(documents, len(documents))
    for i, (positions, everything) in enumerate(zip(found.positions, every.positions, strict=True)):
        others = [p for p in everything if p not in (-1, i)][:k]
        assert positions.tolist() == others + [-1] * (k - len(others))


def test_equal_scores_stand_by_position() -> None:
    found = Bm25([["가"], ["나"], ["가"], ["가"]]).top_k([["가"]], 4)
    assert found.positions.tolist() == [[0, 2, 3, -1]]


def test_common_terms_are_left_out_only_where_there_are_rarer_ones() -> None:
    documents = [["흔한", "드문"], ["흔한", "다른"], ["흔한", "다른"]]
    index = Bm25(documents, common=2)
    assert index.top_k([["흔한", "드문"]], 3).positions.tolist() == [[0, -1, -1]]
    assert set(index.top_k([["흔한"]], 3).positions[0].tolist()) == {0, 1, 2}


def test_memory_is_bounded_by_postings_and_not_by_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    documents = [[str(n) for n in draw.integers(0, 30, 6)] for _ in range(200)]
    expected = Bm25(documents).top_k(documents, 3, exclude_self=True)
    monkeypatch.setattr("munjang.index.bm25._BLOCK_POSTINGS", 50)
    found = Bm25(documents).top_k(documents, 3, exclude_self=True)
    assert np.array_equal(found.positions, expected.positions)


def test_nothing_to_find() -> None:
    assert Bm25([]).top_k([["가"]], 2).positions.tolist() == [[-1, -1]]
    assert Bm25([[]]).top_k([[], ["가"]], 1).positions.tolist() == [[-1], [-1]]
    assert Bm25([["가"]]).top_k([], 1).positions.shape == (0, 1)
