"""Objectives by name: the options offer all of them, and rows find the right one."""

from __future__ import annotations

from typing import get_args

import pytest

from munjang.data.readers import ROLES
from munjang.errors import ConfigError
from munjang.train.cross_losses import LOSSES
from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES, choose_objective
from munjang.train.options import BiObjective, CrossObjective


def test_the_options_offer_every_objective() -> None:
    assert set(get_args(BiObjective)) == set(BI_OBJECTIVES)
    assert set(get_args(CrossObjective)) == set(CROSS_OBJECTIVES) == set(LOSSES)


@pytest.mark.parametrize("known", [BI_OBJECTIVES, CROSS_OBJECTIVES])
def test_every_objective_says_what_it_takes_and_where_it_comes_from(known) -> None:
    for name, objective in known.items():
        assert objective.name == name
        assert set(objective.rows) <= set(ROLES)
        assert len(objective.about) > 10
        assert any(character.isdigit() for character in objective.source) or "sentence-transformers" in objective.source


@pytest.mark.parametrize(
    ("kind", "bi", "cross"),
    [
        ("scored-pairs", "cosent", "bce"),
        ("labelled-pairs", "mnrl", "classes"),
        ("triplets", "mnrl", "listnet"),
        ("positive-pairs", "mnrl", "listnet"),
        ("parallel-pairs", "mnrl", "listnet"),
        ("ranked-lists", "mnrl", "listnet"),
        ("sentences", "simcse", None),
    ],
)
def test_each_kind_of_rows_has_a_default(kind: str, bi: str, cross: str | None) -> None:
    assert choose_objective(BI_OBJECTIVES, kind, None, "x").name == bi
    if cross is None:
        with pytest.raises(ConfigError, match="does not train on such rows"):
            choose_objective(CROSS_OBJECTIVES, kind, None, "x")
    else:
        assert choose_objective(CROSS_OBJECTIVES, kind, None, "x").name == cross


def test_an_objective_that_does_not_take_the_rows_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match="'softmax' does not take these rows") as caught:
        choose_objective(BI_OBJECTIVES, "scored-pairs", "softmax", "stage.bi.train = 'korsts:train'")
    assert "labelled-pairs" in caught.value.expected
    assert "cosent, cosine, angle" in caught.value.expected
    assert caught.value.got == "scored-pairs"
