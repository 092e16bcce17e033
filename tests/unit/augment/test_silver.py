"""What becomes of scored candidates: filters, classes, triplets, and what a person should look at."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.augment.silver import (
    classes_of,
    contested,
    contested_file,
    examples_by_score,
    histogram,
    kept_pairs,
    triplets_of,
)
from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.errors import DataError


def silver(scores: list[float], disagreement: list[float] | None = None) -> pyarrow.Table:
    numbers = range(len(scores))
    return pyarrow.table(
        {
            "sentence1": [f"하나 {n}" for n in numbers],
            "sentence2": [f"둘\t{n}" for n in numbers],
            "score": scores,
            "disagreement": disagreement or [0.0] * len(scores),
            "strategy": ["semantic"] * len(scores),
        }
    )


@given(st.lists(st.floats(0, 1), max_size=50))
def test_a_histogram_counts_every_score_once(scores: list[float]) -> None:
    counts = histogram(np.array(scores))
    assert len(counts) == 20
    assert sum(counts) == len(scores)


def test_pairs_on_which_teachers_differ_most_are_left_out() -> None:
    disagreement = np.linspace(0, 0.5, 10)[::-1].copy()
    stays, left_out = kept_pairs(np.linspace(0, 1, 10), disagreement, 0.7, None, 1)
    assert stays.tolist() == [False] * 3 + [True] * 7
    assert left_out == {"disagreement": 3, "match": 0}


def test_both_filters_are_counted_apart() -> None:
    draw = np.random.default_rng(1)
    scores = np.concatenate([draw.beta(0.6, 6, 900), draw.random(100)])
    stays, left_out = kept_pairs(scores, draw.random(1000), 0.8, draw.random(200), 1)
    assert left_out["disagreement"] == 200
    assert left_out["match"] == 800 - stays.sum() > 100


def test_the_likeliest_class_and_those_that_are_sure() -> None:
    labels, sure = classes_of(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]]), 0.5)
    assert labels == ["entailment", "contradiction", "neutral"]
    assert sure.tolist() == [True, True, False]


def test_triplets_join_the_best_and_the_worst_partner() -> None:
    table = pyarrow.table(
        {"sentence1": ["a", "a", "a", "b"], "sentence2": ["b", "c", "d", "e"], "score": [0.9, 0.6, 0.1, 0.7]}
    )
    found = triplets_of(table, 0.3).to_pylist()
    assert found == [{"anchor": "a", "positive": "b", "negative": "d", "gap": pytest.approx(0.8)}]
    with pytest.raises(DataError, match="one partner that is near and one that is far"):
        triplets_of(table, 0.9)


def test_examples_come_from_high_to_low_with_some_of_each_tenth() -> None:
    draw = np.random.default_rng(2)
    scores = [row["score"] for row in examples_by_score(silver(draw.random(500).tolist()), seed=1)]
    assert scores == sorted(scores, reverse=True)
    assert [int(10 * score) for score in scores[::3]] == list(range(9, -1, -1))


def test_contested_pairs_are_those_where_teachers_disagree_else_those_where_the_student_does() -> None:
    table = silver([0.1, 0.5, 0.9], [0.0, 0.4, 0.2])
    assert [row["sentence1"] for row in contested(table, None, 2)] == ["하나 1", "하나 2"]
    assert {row["why"] for row in contested(table, None)} == {"disagreement"}
    alone = contested(silver([0.1, 0.5, 0.9]), np.array([0.9, 0.5, 0.1]), 2)
    assert {row["sentence1"] for row in alone} == {"하나 0", "하나 2"}
    assert {row["why"] for row in alone} == {"student"}
    assert contested(silver([0.1, 0.5]), None) == []


def test_the_file_for_a_person_has_an_empty_column_of_scores() -> None:
    text = contested_file(contested(silver([0.1, 0.5], [0.1, 0.2]), None))
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row["score"] for row in rows] == ["", ""]
    assert rows[0]["sentence2"] == "둘 1"
    assert rows[0]["silver"] == "0.500"


def test_pairs_that_a_person_has_scored_come_back_as_gold_and_the_rest_is_left_out(tmp_path: Path) -> None:
    header, first, second, *_ = contested_file(contested(silver([0.1, 0.5, 0.9], [0.1, 0.2, 0.3]), None)).splitlines()
    file = tmp_path / "contested.tsv"
    file.write_text("\n".join([header, first.replace("\t\t", "\t4\t"), second]) + "\n", encoding="utf-8")
    spec = DataSpec(source=str(file), scale=(0, 5), rejects="skip")
    read = load_rows(spec, ("scored-pairs",), tmp_path)
    assert [(row.sentence1, row.sentence2, row.score) for row in read.rows] == [("하나 2", "둘 2", 0.8)]
    with pytest.raises(DataError, match="score"):
        load_rows(spec.model_copy(update={"rejects": "stop"}), ("scored-pairs",), tmp_path)
