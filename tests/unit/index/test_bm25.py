"""BM25: the scores of two plain loops, ties by position, nothing found twice, oneself, or without a shared term."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.engine.topk import Neighbours
from munjang.index import bm25
from munjang.index.bm25 import Bm25

Texts = list[list[str]]

#: Few terms, so that many documents share some, repeat some and are tied.
texts = st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), max_size=14)


def plain(documents: Texts, query: list[str], k1: float = 1.2, b: float = 0.75) -> list[float]:
    """The score of every document by the formula, term by term."""
    count = len(documents)
    mean = sum(map(len, documents)) / count
    scores = []
    for document in documents:
        score = 0.0
        for term in query:
            frequency = sum(term in other for other in documents)
            idf = math.log(1 + (count - frequency + 0.5) / (frequency + 0.5))
            times = document.count(term)
            if times:
                score += idf * times / (times + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


def found(neighbours: Neighbours, row: int) -> list[int]:
    """The positions of one query, without the empty places."""
    return [int(at) for at in neighbours.positions[row] if at >= 0]


def assert_same(one: Neighbours, other: Neighbours) -> None:
    assert np.array_equal(one.positions, other.positions)
    assert np.array_equal(one.scores, other.scores)


# -- scores


def test_the_score_by_hand() -> None:
    index = Bm25([["배", "타다"], ["배", "먹다", "배"], ["학교"]])
    result = index.top_k([["배"]], 3)
    idf = math.log(1 + 1.5 / 2.5)
    first = idf * 2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2))
    second = idf * 1 / (1 + 1.2 * (0.25 + 0.75 * 2 / 2))
    assert result.positions.tolist() == [[1, 0, -1]]
    assert result.scores[0] == pytest.approx([first, second, 0.0])
    assert (result.positions.dtype, result.scores.dtype) == (np.int64, np.float32)
    assert len(index) == 3


def test_k1_of_0_counts_a_term_once_and_b_of_0_knows_no_length() -> None:
    documents = [["a"], ["a", "a", "c"], ["b"]]
    assert len(set(Bm25(documents, k1=0).top_k([["a"]], 2).scores[0].tolist())) == 1
    once, twice = Bm25(documents, b=0).top_k([["a"]], 2).scores[0][::-1]
    idf = math.log(1 + 1.5 / 2.5)
    assert (once, twice) == (pytest.approx(idf / 2.2), pytest.approx(idf * 2 / 3.2))


def test_a_repeated_term_of_a_query_counts_again() -> None:
    once, twice = (Bm25([["a"], ["b"]]).top_k([query], 1).scores[0, 0] for query in (["a"], ["a", "a"]))
    assert twice == pytest.approx(2 * once)


@given(texts, texts, st.integers(1, 16), st.booleans(), st.sampled_from([(1.2, 0.75), (0.0, 0.5), (2.0, 1.0)]))
def test_it_finds_what_two_loops_find(documents: Texts, queries: Texts, k: int, alone: bool, how: tuple) -> None:
    queries = documents if alone else queries
    result = Bm25(documents, *how).top_k(queries, k, exclude_self=alone)
    assert result.positions.shape == result.scores.shape == (len(queries), k)
    for row, query in enumerate(queries):
        scores = np.array(plain(documents, query, *how)) if documents else np.zeros(0)
        hits = [at for at in np.flatnonzero(scores).tolist() if not (alone and at == row)]
        places = found(result, row)
        assert len(places) == len(set(places)) == min(k, len(hits))
        assert set(places) <= set(hits)
        assert result.scores[row, : len(places)] == pytest.approx(scores[places], rel=1e-6)
        # The sums of the two loops may differ in the last bit, so that what is tied there need not be here.
        rest = scores[sorted(set(hits) - set(places))]
        assert len(rest) == 0 or rest.max() <= scores[places].min() * (1 + 1e-6)


# -- order, empty places


@given(texts, texts, st.integers(1, 16), st.booleans())
def test_hits_are_ordered_and_never_without_a_score(documents: Texts, queries: Texts, k: int, alone: bool) -> None:
    result = Bm25(documents).top_k(queries, k, exclude_self=alone)
    for row, query in enumerate(queries):
        places = found(result, row)
        scores = result.scores[row].tolist()
        assert (result.positions[row, len(places) :] == -1).all()
        assert scores[len(places) :] == [0.0] * (k - len(places))
        keys = [(-score, place) for score, place in zip(scores, places, strict=False)]
        assert keys == sorted(keys)
        assert all(score > 0 and set(documents[at]) & set(query) for score, at in zip(scores, places, strict=False))
        assert not (alone and row in places)


def test_equal_documents_stand_in_their_order() -> None:
    documents = [["x"], *([["a", "b"]] * 50), ["y"]]
    result = Bm25(documents).top_k([["b", "a"]], 7)
    assert result.positions.tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert len(set(result.scores[0].tolist())) == 1


def test_the_order_of_terms_means_nothing() -> None:
    documents = [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a", "d"]]
    index = Bm25(documents)
    assert_same(index.top_k([["a", "b", "c"]], 3), index.top_k([["c", "b", "a"]], 3))
    assert index.top_k([["a", "b", "c"]], 3).positions.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("documents", [[], [[]], [[], []]])
def test_nothing_is_found_in_nothing(documents: Texts) -> None:
    result = Bm25(documents).top_k([["a"], []], 2)
    assert result.positions.tolist() == [[-1, -1], [-1, -1]]
    assert result.scores.tolist() == [[0, 0], [0, 0]]


def test_no_queries_and_no_places() -> None:
    index = Bm25([["a"]])
    assert index.top_k([], 3).positions.shape == (0, 3)
    assert index.top_k([["a"]], 0).positions.shape == (1, 0)
    assert index.top_k([["zz"]], 1).positions.tolist() == [[-1]]


# -- blocks


@given(texts, texts, st.integers(1, 6), st.integers(1, 20), st.booleans(), st.integers(0, 8))
def test_a_block_changes_nothing(
    documents: Texts, queries: Texts, k: int, block: int, alone: bool, common: int
) -> None:
    index = Bm25(documents)
    whole = index.top_k(queries, k, exclude_self=alone, common=common)
    assert_same(whole, index.top_k(queries, k, exclude_self=alone, common=common, block=block))


def test_a_bounded_part_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    documents = [[f"t{term}" for term in random.zipf(1.3, 8) % 400] for _ in range(600)]
    index = Bm25(documents)
    whole = index.top_k(documents, 5, exclude_self=True)
    for shared in (1, 777, 20_000):
        monkeypatch.setattr(bm25, "_SHARED", shared)
        assert_same(whole, index.top_k(documents, 5, exclude_self=True))


# -- oneself


def test_a_query_does_not_find_itself_and_loses_no_place() -> None:
    documents = [["a", "b"], ["a", "b"], ["a", "b", "c"], ["d"]]
    index = Bm25(documents)
    assert index.top_k(documents, 2).positions.tolist() == [[0, 1], [0, 1], [2, 0], [3, -1]]
    assert index.top_k(documents, 2, exclude_self=True).positions.tolist() == [[1, 2], [0, 2], [0, 1], [-1, -1]]


def test_more_queries_than_documents_have_no_self() -> None:
    documents = [["a"], ["b"]]
    result = Bm25(documents).top_k([*documents, ["a"]], 1, exclude_self=True)
    assert result.positions.tolist() == [[-1], [-1], [0]]


# -- common terms

COMMON = [["a", "b"], ["a", "b"], ["a", "c"], ["a", "b", "d"], ["a"]]


@pytest.mark.parametrize(
    ("query", "common", "like"),
    [
        (["a", "c"], 1, ["c"]),  # a rarer term remains
        (["a", "b"], 1, ["b"]),  # all are common: the rarest stays
        (["a"], 0, ["a"]),
        (["a", "b", "c"], 3, ["b", "c"]),
        (["a", "b", "c"], 5, ["a", "b", "c"]),
        (["a", "zz"], 1, ["a"]),  # what no document has is not a rarer term
    ],
)
def test_common_terms_are_left_out_where_rarer_ones_remain(query: list[str], common: int, like: list[str]) -> None:
    index = Bm25(COMMON)
    assert_same(index.top_k([query], 5, common=common), index.top_k([like], 5, common=len(COMMON)))


def test_a_term_that_stands_only_in_the_query_itself_displaces_no_common_one() -> None:
    result = Bm25(COMMON).top_k(COMMON, 1, exclude_self=True, common=1)
    # The third and fourth have a term of their own, c and d, by which nothing else is found.
    assert result.positions.tolist() == [[1], [0], [4], [0], [0]]


def test_few_documents_have_no_common_terms() -> None:
    documents = [["a", f"t{n % 90}"] for n in range(990)]
    index = Bm25(documents)
    query = [["a", "t3"]]
    assert_same(index.top_k(query, 990), index.top_k(query, 990, common=990))
    many = Bm25(documents + [["a", "b"]] * 11)
    assert found(many.top_k(query, 1001), 0) == found(many.top_k([["t3"]], 1001), 0)
