"""Rows as examples: NLI as triplets and classes, lists from best to worst, pairs among random texts; bad rows are named."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.data.rows import LabelledPair, PositivePair, RankedList, ScoredPair, Triplet
from munjang.errors import DataError
from munjang.train.examples import (
    TrainRows,
    cross_examples,
    describe,
    examples_of,
    nli_triplets,
    rows_unused,
    without_leaks,
)
from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES

NLI = [
    LabelledPair("비가 온다", "젖는다", "entailment"),
    LabelledPair("비가 온다", "맑다", "contradiction"),
    LabelledPair("비가 온다", "춥다", "neutral"),
    LabelledPair("눈이 온다", "하얗다", "entailment"),
    LabelledPair("밤이다", "어둡다", "entailment"),
    LabelledPair("밤이다", "캄캄하다", "entailment"),
    LabelledPair("밤이다", "낮이다", "contradiction"),
]


def bi(kind: str, rows: list, name: str, repeat: int = 1) -> TrainRows:
    return TrainRows("t", kind, rows, BI_OBJECTIVES[name], repeat)


def cross(kind: str, rows: list, name: str) -> TrainRows:
    return TrainRows("t", kind, rows, CROSS_OBJECTIVES[name])


def test_nli_makes_triplets_in_both_directions_where_a_premise_has_both() -> None:
    assert nli_triplets(NLI) == [
        ("비가 온다", "젖는다", "맑다"),
        ("젖는다", "비가 온다", "맑다"),
        ("밤이다", "어둡다", "낮이다"),
        ("어둡다", "밤이다", "낮이다"),
        ("밤이다", "캄캄하다", "낮이다"),
        ("캄캄하다", "밤이다", "낮이다"),
    ]
    assert [e.texts for e in examples_of(bi("labelled-pairs", NLI, "mnrl"))] == nli_triplets(NLI)


def test_nli_without_a_contradiction_teaches_no_triplets() -> None:
    with pytest.raises(DataError, match="'mnrl'") as caught:
        examples_of(bi("labelled-pairs", NLI[3:4], "mnrl"))
    assert "contradiction" in caught.value.expected


def test_nli_as_classes_in_the_order_of_its_labels() -> None:
    found = examples_of(bi("labelled-pairs", NLI[:3], "softmax"))
    assert [e.target for e in found] == [0, 2, 1]
    assert cross_examples(cross("labelled-pairs", NLI[:3], "classes"), "both", None, 1) == found  # never turned


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(DataError, match="one class") as caught:
        examples_of(bi("labelled-pairs", [NLI[0], NLI[3]], "softmax"))
    assert "'entailment'" in caught.value.got


def test_scored_pairs_are_scores_or_positive_from_half_of_the_scale_on() -> None:
    rows = [ScoredPair("가", "나", 0.49), ScoredPair("다", "라", 0.5)]
    assert [e.target for e in examples_of(bi("scored-pairs", rows, "cosent"))] == [0.49, 0.5]
    assert [e.target for e in examples_of(bi("scored-pairs", rows, "contrastive"))] == [0.0, 1.0]


def test_a_set_is_shown_as_often_as_it_says() -> None:
    rows = [ScoredPair("가", "나", 0.4), ScoredPair("다", "라", 0.5)]
    once = examples_of(bi("scored-pairs", rows, "cosent"))
    assert examples_of(bi("scored-pairs", rows, "cosent", 3)) == once * 3


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_a_list_goes_from_best_to_worst(scores: list[float]) -> None:
    row = RankedList("질문", tuple(f"글 {i}" for i in range(len(scores))), tuple(scores))
    (example,) = examples_of(bi("ranked-lists", [row], "kl"))
    assert example.texts[0] == "질문"
    assert all(a >= b for a, b in pairwise(example.target))
    assert dict(zip(example.texts[1:], example.target, strict=True)) == dict(zip(row.documents, scores, strict=True))


def test_probabilities_are_no_logits() -> None:
    lists = [RankedList("q", ("a", "b"), (0.9, 0.1)), RankedList("p", ("a", "b"), (1.0, 0.0))]
    with pytest.raises(DataError, match="raw logits") as caught:
        examples_of(bi("ranked-lists", lists, "margin-mse"))
    assert 'objective = "kl"' in caught.value.hint
    assert examples_of(bi("ranked-lists", lists, "kl"))
    assert examples_of(bi("ranked-lists", [*lists, RankedList("q", ("a", "b"), (4.0, -3.0))], "margin-mse"))


def test_triplets_are_lists_of_two_for_a_cross_encoder() -> None:
    (example,) = cross_examples(cross("triplets", [Triplet("a", "p", "n")], "listnet"), "both", None, 1)
    assert example == (("a", "p", "n"), (1.0, 0.0))


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 5))
def test_a_positive_pair_stands_among_texts_that_are_not_its_own(count: int, negatives: int, seed: int) -> None:
    rows = [PositivePair(f"질문 {i % 7}", f"답 {i}") for i in range(count)]
    data = cross("positive-pairs", rows, "listnet")
    own: dict[str, set[str]] = {}
    for row in rows:
        own.setdefault(row.anchor, set()).add(row.positive)
    found = cross_examples(data, "both", negatives, seed)
    assert found == cross_examples(data, "both", negatives, seed)
    for example in found:
        query, positive, *others = example.texts
        assert positive in own[query]
        assert own[query].isdisjoint(others)
        assert 1 <= len(others) == len(set(others)) <= negatives
        assert example.target == (1.0, *[0.0] * len(others))


def test_positive_pairs_alone_teach_nothing() -> None:
    rows = [PositivePair("질문", "답"), PositivePair("물음", "답")]
    with pytest.raises(DataError, match="teach a cross-encoder nothing"):
        cross_examples(cross("positive-pairs", rows, "listnet"), "both", None, 1)


def test_rows_of_any_kind_that_share_a_text_are_left_out() -> None:
    held_out = [[ScoredPair("시험 문장", "다른 문장", 0.5)]]
    rows = [Triplet("가", "나", "시험  문장"), Triplet("가", "나", "다")]
    assert without_leaks(rows, held_out) == rows[1:]
    assert without_leaks(["시험 문장", "새 문장"], held_out) == ["새 문장"]
    lists = [RankedList("q", ("a", "다른 문장"), (1.0, 0.0)), RankedList("q", ("a", "b"), (1.0, 0.0))]
    assert without_leaks(lists, held_out) == lists[1:]


def test_an_example_is_described_on_one_line() -> None:
    assert describe(examples_of(bi("scored-pairs", [ScoredPair("가\n나", "다", 0.25)], "cosent"))[0]).endswith("(0.25)")
    assert "\n" not in describe(examples_of(bi("scored-pairs", [ScoredPair("가\n나", "다", 0.25)], "cosent"))[0])


def test_a_pair_to_whose_query_all_texts_belong_is_counted_as_unused() -> None:
    rows = [PositivePair("질문", "답 1"), PositivePair("질문", "답 2"), PositivePair("물음", "답 1")]
    data = cross("positive-pairs", rows, "listnet")
    assert rows_unused(data) == 2
    assert [example.texts[0] for example in cross_examples(data, "both", 4, 1)] == ["물음"]
    assert rows_unused(bi("positive-pairs", rows, "mnrl")) == 0
