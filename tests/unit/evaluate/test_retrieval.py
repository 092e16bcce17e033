"""Retrieval metrics equal values computed by hand, and queries without an answer count for nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.evaluate.compare import mean_estimate
from munjang.evaluate.retrieval import ndcg, reciprocal_rank
from munjang.evaluate.table import Estimate

JUDGED = {"a": 2, "b": 1, "c": 0, "d": 2}


def test_ndcg_by_hand() -> None:
    # Gains 0, 2, 1 at places 1, 2, 3; the ideal order has 2, 2, 1.
    found = 2 / math.log2(3) + 1 / math.log2(4)
    ideal = 2 + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["x", "a", "b", "c"], JUDGED, 10) == pytest.approx(found / ideal, abs=1e-12)
    assert ndcg(["x", "a", "b", "c"], JUDGED, 3) == pytest.approx(found / ideal, abs=1e-12)
    cut = 2 / math.log2(3) / (2 + 2 / math.log2(3))
    assert ndcg(["x", "a", "b", "d"], JUDGED, 2) == pytest.approx(cut, abs=1e-12)


@pytest.mark.parametrize("order", [["a", "d", "b"], ["d", "a", "b", "c", "x"]])
def test_the_ideal_order_is_1_whichever_of_two_equals_comes_first(order: list[str]) -> None:
    assert ndcg(order, JUDGED, 10) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("ranking", "k", "value"),
    [
        (["a"], 10, 1),
        (["x", "b"], 10, 1 / 2),
        (["c", "x", "d"], 10, 1 / 3),
        (["c", "x", "d"], 3, 1 / 3),
        (["c", "x", "d"], 2, 0),
        ([], 10, 0),
        (["x", "y"], 10, 0),
    ],
)
def test_reciprocal_rank_by_hand(ranking: list[str], k: int, value: float) -> None:
    assert reciprocal_rank(ranking, JUDGED, k) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("judged", [{}, {"a": 0}, {"a": 0, "b": 0}])
def test_a_query_without_a_relevant_document_has_no_value(judged: dict[str, int]) -> None:
    assert ndcg(["a", "b"], judged, 10) is None
    assert reciprocal_rank(["a", "b"], judged, 10) is None


def test_finding_nothing_is_0_and_not_undefined() -> None:
    assert ndcg([], JUDGED, 10) == 0
    assert ndcg(["x", "c"], JUDGED, 10) == 0


@given(
    order=st.permutations(list("abcdefgh")),
    grades=st.lists(st.integers(0, 2), min_size=8, max_size=8),
    k=st.integers(1, 12),
)
def test_values_stay_within_0_and_1_and_grow_with_better_orders(order: list[str], grades: list[int], k: int) -> None:
    judged = dict(zip("abcdefgh", grades, strict=True))
    value = ndcg(order, judged, k)
    if value is None:
        assert not any(grades)
        return
    best = sorted(order, key=lambda i: -judged[i])
    assert 0 <= value <= 1 + 1e-12
    assert ndcg(best, judged, k) == pytest.approx(1, abs=1e-12)
    for place in range(len(order) - 1):
        if judged[order[place]] < judged[order[place + 1]]:
            swapped = [*order[:place], order[place + 1], order[place], *order[place + 2 :]]
            assert ndcg(swapped, judged, k) >= value - 1e-12
            assert reciprocal_rank(swapped, judged, k) >= reciprocal_rank(order, judged, k)


# -- means


def test_queries_without_a_value_are_left_out_of_the_mean() -> None:
    found = mean_estimate([1.0, None, 0.5, None, 0.0] * 4)
    assert found.value == pytest.approx(50)
    assert found.low < 50 < found.high
    assert found == mean_estimate([1.0, 0.5, 0.0] * 4)


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_no_query_with_a_value_is_undefined_with_the_reason(values: list[None]) -> None:
    assert mean_estimate(values) == Estimate(None, None, None, "no query has a relevant document")


def test_one_query_has_no_interval() -> None:
    assert mean_estimate([None, 0.25]) == Estimate(25.0, None, None, "too few rows for an interval")


def test_the_interval_is_over_queries_and_decided_by_the_seed() -> None:
    values = np.random.default_rng(0).random(200).tolist()
    found = mean_estimate(values)
    error = 100 * np.std(values) / math.sqrt(200)
    assert found.value == pytest.approx(100 * np.mean(values))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.value < found.high
    assert found == mean_estimate(values, seed=0) != mean_estimate(values, seed=1)
    assert mean_estimate([0.5] * 12) == Estimate(50, 50, 50)
