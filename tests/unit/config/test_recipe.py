"""The schema of recipes: references at any depth, and what goes into a fingerprint."""

from __future__ import annotations

import json
from typing import Annotated, ClassVar

import pytest
from pydantic import Field, ValidationError

from munjang.config.recipe import (
    AnyRows,
    BiEncoder,
    CrossEncoder,
    DataSpec,
    Frozen,
    Neutral,
    Reference,
    ScoredPairs,
    StageOptions,
    TrainingRows,
)


class Everything(StageOptions):
    """A stage with one option of each shape."""

    kind: ClassVar[str] = "everything"
    produces: ClassVar[str] = "scored-pairs"

    model: BiEncoder
    scorer: CrossEncoder | None = None
    pairs: list[ScoredPairs] = Field(default_factory=list)
    named: dict[str, AnyRows] = Field(default_factory=dict)
    watched: Annotated[str, Reference(("scored-pairs",), neutral=True)] = "data:dev"
    note: str = "stage:not-a-reference"
    epochs: int = Field(default=1, ge=1)
    batch_size: Annotated[int, Neutral()] = 32
    device: Annotated[str | None, Neutral()] = None
    threads: Annotated[int, Neutral()] = Field(default=1, ge=1)
    weights: tuple[float, float] = (0.5, 0.5)


FULL = Everything(
    name="all",
    model="stage:bi",
    scorer="stage:cross",
    pairs=["data:gold", "stage:silver"],
    named={"a": "data:a", "b": "data:b"},
)


def test_references_are_found_at_any_depth_with_what_they_accept():
    found = [(option, value, reference.accepts[0]) for option, value, reference in FULL.references()]
    assert found == [
        ("model", "stage:bi", "bi-encoder"),
        ("scorer", "stage:cross", "cross-encoder"),
        ("pairs", "data:gold", "scored-pairs"),
        ("pairs", "stage:silver", "scored-pairs"),
        ("named", "data:a", "scored-pairs"),
        ("named", "data:b", "scored-pairs"),
        ("watched", "data:dev", "scored-pairs"),
    ]


def test_an_option_that_is_not_set_refers_to_nothing():
    assert [option for option, *_ in Everything(name="x", model="m").references()] == ["model", "watched"]


def test_a_watched_input_is_marked_neutral():
    assert {option for option, _, reference in FULL.references() if reference.neutral} == {"watched"}


def test_options_that_cannot_change_the_result_stay_out_of_fingerprints():
    other = FULL.model_copy(update={"name": "other", "batch_size": 1, "device": "cuda", "threads": 8})
    assert other.fingerprint_arguments() == FULL.fingerprint_arguments()
    assert not {"name", "batch_size", "device", "threads"} & set(FULL.fingerprint_arguments())


@pytest.mark.parametrize("change", [{"epochs": 2}, {"weights": (0.4, 0.6)}, {"note": "x"}, {"pairs": ["data:other"]}])
def test_options_that_can_change_the_result_go_into_fingerprints(change):
    assert FULL.model_copy(update=change).fingerprint_arguments() != FULL.fingerprint_arguments()


def test_fingerprint_arguments_are_plain_json():
    arguments = FULL.fingerprint_arguments()
    assert json.loads(json.dumps(arguments, allow_nan=False)) == arguments


# -- models inside options


class Teacher(Frozen):
    """A model inside a model."""

    model: CrossEncoder
    batch_size: Annotated[int, Neutral()] = 8


class TrainSet(Frozen):
    """One set of a training, with options of its own."""

    data: TrainingRows
    name: str = ""
    weight: float = 1.0
    threads: Annotated[int | None, Neutral()] = None
    watched: Annotated[str | None, Reference(("scored-pairs",), neutral=True)] = None
    teachers: dict[str, Teacher] = Field(default_factory=dict)


class Nested(StageOptions):
    """A stage whose options hold models, alone, in a list, in a tuple and in a table."""

    kind: ClassVar[str] = "nested"
    produces: ClassVar[str] = "bi-encoder"

    model: BiEncoder
    train: list[TrainSet] = Field(default_factory=list)
    dev: TrainSet | None = None
    pair: tuple[TrainSet, TrainSet] | None = None
    named: dict[str, TrainSet] = Field(default_factory=dict)
    display: Annotated[TrainSet | None, Neutral()] = None


TABLE = {
    "name": "bi",
    "model": "stage:start",
    "train": [
        {"data": "data:gold", "weight": 2},
        {"data": "stage:silver", "teachers": {"a": {"model": "stage:cross"}}, "watched": "data:dev"},
    ],
    "dev": {"data": "korsts:dev"},
    "pair": [{"data": "a.tsv"}, {"data": "b.tsv"}],
    "named": {"x": {"data": "c.tsv"}},
}
NESTED = Nested.model_validate(TABLE)


def changed(path: str, value: object) -> Nested:
    """`NESTED` with one value changed, such as that at `train.1.weight`."""
    table = json.loads(json.dumps(TABLE))
    *parents, last = path.split(".")
    target = table
    for part in parents:
        target = target[int(part) if part.isdigit() else part]
    target[last] = value
    return Nested.model_validate(table)


def test_references_of_nested_models_have_their_paths():
    assert [(option, value) for option, value, _ in NESTED.references()] == [
        ("model", "stage:start"),
        ("train[0].data", "data:gold"),
        ("train[1].data", "stage:silver"),
        ("train[1].watched", "data:dev"),
        ("train[1].teachers.a.model", "stage:cross"),
        ("dev.data", "korsts:dev"),
        ("pair[0].data", "a.tsv"),
        ("pair[1].data", "b.tsv"),
        ("named.x.data", "c.tsv"),
    ]
    marks = {option: mark for option, _, mark in NESTED.references()}
    assert "triplets" in marks["train[0].data"].accepts
    assert [option for option, mark in marks.items() if mark.neutral] == ["train[1].watched"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.0.threads", 8),
        ("train.1.watched", "data:other"),
        ("train.0.watched", "data:other"),
        ("train.1.teachers.a.batch_size", 1),
        ("dev.threads", 2),
        ("named.x.threads", 2),
        ("display", {"data": "data:gold"}),
        # The content of a stage is fingerprinted apart, so its name does not count.
        ("train.1.data", "stage:bronze"),
        ("train.1.teachers.a.model", "stage:other"),
        ("name", "other"),
    ],
)
def test_nested_options_that_cannot_change_the_result_stay_out_of_fingerprints(path, value):
    other = changed(path, value)
    assert other != NESTED
    assert other.fingerprint_arguments() == NESTED.fingerprint_arguments()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.0.data", "data:other"),
        ("train.0.data", "stage:silver"),
        ("train.0.weight", 3),
        ("train.0.name", "x"),
        ("train.1.teachers.b", {"model": "stage:cross"}),
        ("train.1.teachers.a.model", "models/mine"),
        ("dev", None),
        ("dev.weight", 3),
        ("pair.1.weight", 3),
        ("named.x.weight", 3),
        ("named.y", {"data": "c.tsv"}),
        ("train", []),
    ],
)
def test_nested_options_that_can_change_the_result_go_into_fingerprints(path, value):
    assert changed(path, value).fingerprint_arguments() != NESTED.fingerprint_arguments()


def test_nested_fingerprint_arguments_are_the_plain_table_without_neutral_options():
    arguments = NESTED.fingerprint_arguments()
    assert json.loads(json.dumps(arguments, allow_nan=False)) == arguments
    plain = {"data": "data:gold", "name": "", "weight": 2.0, "teachers": {}}
    assert arguments["train"] == [
        plain,
        {"data": "stage:", "name": "", "weight": 1.0, "teachers": {"a": {"model": "stage:"}}},
    ]
    assert arguments["pair"][0] == {**plain, "data": "a.tsv", "weight": 1.0}
    assert "display" not in arguments


def test_options_cannot_be_changed_later_and_unknown_ones_are_refused():
    with pytest.raises(ValidationError, match="frozen"):
        FULL.epochs = 3
    with pytest.raises(ValidationError, match="extra"):
        Everything(name="x", model="m", epoch=3)


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a/b", "가", "a.b", "a\n", "a_b"])
def test_a_stage_name_is_fit_for_a_folder(name):
    with pytest.raises(ValidationError, match="name"):
        Everything(name=name, model="m")


def test_a_string_is_short_for_a_source():
    assert DataSpec.model_validate("korsts:train") == DataSpec(source="korsts:train")


def test_columns_may_be_names_or_numbers():
    assert DataSpec(source="x", columns={"sentence1": "질문", "score": 2}).columns == {"sentence1": "질문", "score": 2}


@pytest.mark.parametrize("part", [(0, 1), (0, 0.9), (0.9, 1), (0.25, 0.5)])
def test_a_part_lies_between_nought_and_one(part):
    assert DataSpec(source="x", part=part).part == part


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (5, 0)},
        {"scale": (1, 1)},
        {"scale": (0,)},
        {"scale": (0, float("nan"))},
        {"scale": (0, float("inf"))},
        {"scale": (float("-inf"), 5)},
        {"format": "xlsx"},
        {"rejects": "ignore"},
        {"sample": 0},
        {"part": (0.5, 0.5)},
        {"part": (0.9, 0.1)},
        {"part": (-0.1, 0.5)},
        {"part": (0.5, 1.1)},
        {"part": (0.5,)},
        {"part": (0, float("nan"))},
        {"part": (float("nan"), 1)},
        {"part": 0.5},
        {"column": {}},
        {"columns": {"score": 1.5}},
    ],
    ids=str,
)
def test_a_wrong_setting_of_data_is_refused(wrong):
    with pytest.raises(ValidationError):
        DataSpec(source="x", **wrong)
