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
    Neutral,
    Reference,
    ScoredPairs,
    StageOptions,
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
        {"column": {}},
        {"columns": {"score": 1.5}},
    ],
    ids=str,
)
def test_a_wrong_setting_of_data_is_refused(wrong):
    with pytest.raises(ValidationError):
        DataSpec(source="x", **wrong)
