"""The options of an evaluation: short forms, what makes a set, and references inside of tables."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from munjang.config.recipe import Input
from munjang.data.catalog import GROUPS
from munjang.errors import ConfigError
from munjang.evaluate.options import EvaluateOptions, MeasuredModel, MeasuredSet


def options(**more: Any) -> EvaluateOptions:
    return EvaluateOptions(**{"name": "result", "models": {"a": "stage:bi"}, "on": ["korsts:test"], **more})


def test_names_alone_stand_for_models_and_sets() -> None:
    one = options()
    assert one.models["a"].runs() == [("stage:bi", None)]
    assert [(s.label, s.data, s.task) for s in one.on] == [("korsts:test", "korsts:test", None)]


@pytest.mark.parametrize(
    ("value", "runs"),
    [
        (["x", "y"], [("x", None), ("y", None)]),
        ({"model": "x", "reranker": "c"}, [("x", "c")]),
        ({"model": ["x", "y"], "reranker": "c"}, [("x", "c"), ("y", "c")]),
        ({"model": ["x", "y"], "reranker": ["c", "d"]}, [("x", "c"), ("y", "d")]),
    ],
)
def test_a_model_may_have_runs_and_rerankers(value: Any, runs: list) -> None:
    assert MeasuredModel.model_validate(value).runs() == runs


@pytest.mark.parametrize("value", [[], {"reranker": "c"}, {"model": ["x", "y", "z"], "reranker": ["c", "d"]}, 3])
def test_a_model_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        MeasuredModel.model_validate(value)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("data:gold", "gold"),
        ({"data": "data:gold", "task": "pair-classification", "threshold": 0.6}, "pair-classification@gold"),
        ({"data": "data:gold", "name": "mine"}, "mine"),
        ({"documents": "data:d", "queries": "data:q", "qrels": "data:r"}, "q"),
        ({"train": "data:a", "test": "data:b"}, "b"),
        ({"mteb": "KorSTS"}, "mteb:KorSTS"),
    ],
)
def test_a_set_has_a_name(value: Any, label: str) -> None:
    assert MeasuredSet.model_validate(value).label == label


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "a set needs"),
        ({"documents": "d", "queries": "q"}, "a set needs"),
        ({"data": "x", "train": "a", "test": "b"}, "a set needs"),
        ({"data": "x", "task": "retrieval"}, "made of several parts"),
        ({"train": "a", "test": "b", "task": "sts"}, "make a set of the task classification"),
        ({"data": "x", "threshold": 0.3}, "threshold needs"),
        ({"data": "x", "task": "sts", "threshold": 0.3}, "threshold needs"),
        ({"data": "x", "task": "summary"}, "Input should be"),
        ({"data": "x", "task": "pair-classification", "threshold": 0}, "greater than 0"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(value: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MeasuredSet.model_validate(value)


def test_groups_and_compounds_are_taken_apart() -> None:
    one = options(on=["korean-sts", "support-search", "clustering@data:topics"])
    labels = [*GROUPS["korean-sts"], "support-search", "clustering@topics"]
    assert [s.label for s in one.on] == labels
    assert one.on[4].qrels == "support-qrels"


def test_two_sets_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two sets have the name korsts:test"):
        options(on=["korsts:test", "korsts:test"])
    assert len(options(on=["korsts:test", "pair-classification@korsts:test"]).on) == 2
    with pytest.raises(ValidationError, match="no such task"):
        options(on=["sst@korsts:test"])


def test_references_are_found_inside_of_models_and_sets() -> None:
    one = options(
        models={"a": "stage:bi", "both": {"model": ["stage:bi", "x"], "reranker": "stage:cross"}},
        on=["korsts:test", {"documents": "data:d", "queries": "data:q", "qrels": "data:r"}],
    )
    assert [(place, value) for place, value, _ in one.references()] == [
        ("models.a.model", "stage:bi"),
        ("models.both.model", "stage:bi"),
        ("models.both.model", "x"),
        ("models.both.reranker", "stage:cross"),
        ("on[0].data", "korsts:test"),
        ("on[1].documents", "data:d"),
        ("on[1].queries", "data:q"),
        ("on[1].qrels", "data:r"),
    ]


def test_a_task_for_other_rows_is_found_before_any_work() -> None:
    one = options(on=["korsts:test", {"data": "data:x", "task": "nli"}])
    one.require_inputs({"on[0].data": Input("scored-pairs"), "on[1].data": Input("labelled-pairs")})
    with pytest.raises(ConfigError, match="takes other rows") as caught:
        one.require_inputs({"on[1].data": Input("scored-pairs")})
    assert (caught.value.where, caught.value.expected) == ("stage.result.on[1]", "labelled-pairs")


def test_the_threshold_and_the_task_change_the_fingerprint() -> None:
    plain, other = (options(on=[{"data": "x", "task": "pair-classification", "threshold": t}]) for t in (0.5, 0.6))
    assert plain.fingerprint_arguments() != other.fingerprint_arguments()
    assert options(rerank=10).fingerprint_arguments() != options().fingerprint_arguments()
