"""Options of training: what would have no effect is refused where it was set, and never where it is a default."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from munjang.config.recipe import Input
from munjang.errors import ConfigError
from munjang.train.distilling import make_distil
from munjang.train.losses import make_loss
from munjang.train.objectives import BI_OBJECTIVES, DISTILLING, OPTIONS_OF_OBJECTIVES
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions

START = {"bi": Input("bi-encoder", 12), "cross": Input("cross-encoder", 12)}


def bi(**values: Any) -> TrainBiOptions:
    return TrainBiOptions.model_validate({"name": "m", "model": "m", "train": ["a"], "dev": "d", **values})


def cross(**values: Any) -> TrainCrossOptions:
    return TrainCrossOptions.model_validate({"name": "m", "model": "m", "train": ["a"], "dev": "d", **values})


def check(options: TrainOptions, *kinds: str, start: Input | None = None) -> None:
    """Check options against sets of some kinds, or of which nothing is known where a kind is empty."""
    inputs = {f"train[{number}].data": Input(kind) for number, kind in enumerate(kinds) if kind}
    options.require_inputs(inputs if start is None else {**inputs, "model": start})


IDLE = [
    (bi(margin=0.3), ["scored-pairs"], "margin", "cosent"),
    (bi(margin=0.5), ["scored-pairs"], "margin", "cosent"),  # set, though to the default
    (bi(similarity_scale=10), ["triplets"], None, ""),
    (bi(similarity_scale=10, objective="triplet"), ["triplets"], "similarity_scale", "triplet"),
    (bi(similarity_scale=10, objective="cosine"), ["scored-pairs"], "similarity_scale", "cosine"),
    (bi(matryoshka=[16], objective="tsdae"), ["sentences"], "matryoshka", "tsdae"),
    (bi(matryoshka=[16]), ["sentences"], None, ""),
    (cross(orders="given"), ["labelled-pairs"], "orders", "labelled-pairs"),
    (cross(orders="both"), ["scored-pairs"], None, ""),
    (cross(negatives=2), ["ranked-lists"], "negatives", "ranked-lists"),
    (cross(negatives=2), ["positive-pairs"], None, ""),
    (cross(negatives=0), ["labelled-pairs"], None, ""),  # none were asked for
]


@pytest.mark.parametrize(("options", "kinds", "option", "got"), IDLE)
def test_an_option_that_nothing_reads_is_refused(
    options: TrainOptions, kinds: list[str], option: str, got: str
) -> None:
    if option is None:
        check(options, *kinds)
        return
    with pytest.raises(ConfigError, match=f"{option} has no effect") as caught:
        check(options, *kinds)
    assert caught.value.where.startswith(f"stage.m.{option} = ")
    assert caught.value.got == got
    assert caught.value.hint == f"leave out {option}"


def test_one_set_that_reads_an_option_is_enough() -> None:
    options = bi(train=["a", {"data": "b", "objective": "contrastive"}], margin=0.3, similarity_scale=10)
    check(options, "scored-pairs", "scored-pairs")
    with pytest.raises(ConfigError, match="margin has no effect"):
        check(bi(train=["a", "b"], margin=0.3), "scored-pairs", "sentences")


def test_nothing_is_refused_for_rows_that_are_not_known_before_the_run() -> None:
    check(bi(train=["a", "stage:b"], margin=0.3), "scored-pairs", "")


@pytest.mark.parametrize("kind", ["scored-pairs", "labelled-pairs", "triplets", "ranked-lists"])
def test_defaults_are_never_refused(kind: str) -> None:
    check(bi(), kind, start=START["bi"])
    check(cross(), kind, start=START["cross"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"freeze_layers": 2, "word_embeddings": "all"}, "freeze_layers freezes the word embeddings"),
        ({"freeze_layers": 2, "word_embeddings": "used"}, "freeze_layers freezes the word embeddings"),
        ({"lora": {}, "word_embeddings": "used"}, "lora leaves the word embeddings as they are"),
        ({"lora": {}, "freeze_layers": 1}, "lora freezes all layers"),
        ({"batch_size": 32, "batch_tokens": 512}, "batch_size has no effect beside batch_tokens"),
    ],
)
def test_options_that_contradict_each_other_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        bi(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"freeze_layers": 2},
        {"freeze_layers": 2, "word_embeddings": "frozen"},
        {"freeze_layers": 0, "word_embeddings": "all"},
        {"lora": {}, "word_embeddings": "frozen"},
        {"batch_tokens": 512},
    ],
)
def test_options_that_go_together_are_taken(values: dict[str, Any]) -> None:
    check(bi(**values), "scored-pairs", start=START["bi"])


def test_pooling_is_for_a_new_head() -> None:
    check(cross(pooling="cls"), "scored-pairs", start=START["bi"])
    with pytest.raises(ConfigError, match="pooling has no effect") as caught:
        check(cross(pooling="mean"), "scored-pairs", start=START["cross"])
    assert caught.value.where == 'stage.m.pooling = "mean"'


def test_an_objective_of_the_stage_that_no_set_takes() -> None:
    own = {"data": "a", "objective": "cosent"}
    check(bi(train=[own, "b"], objective="cosine"), "scored-pairs", "scored-pairs")
    with pytest.raises(ConfigError, match="objective has no effect"):
        check(bi(train=[own], objective="cosine"), "scored-pairs")


@pytest.mark.parametrize(("layers", "refused"), [(12, False), (13, True)])
def test_no_more_layers_can_be_frozen_than_there_are(layers: int, refused: bool) -> None:
    options = bi(freeze_layers=layers)
    check(options, "scored-pairs", start=Input("bi-encoder"))  # the folder does not say
    if not refused:
        check(options, "scored-pairs", start=START["bi"])
        return
    with pytest.raises(ConfigError, match="fewer layers") as caught:
        check(options, "scored-pairs", start=START["bi"])
    assert (caught.value.where, caught.value.expected) == ("stage.m.freeze_layers = 13", "at most 12")


class _Model:
    """What losses ask of a bi-encoder."""

    device = torch.device("cpu")
    similarity_fct = similarity = None

    @staticmethod
    def get_embedding_dimension() -> int:
        return 8


def _loss(name: str, rows: str, **values: Any) -> float:
    options = bi(objective=name, **values)
    torch.manual_seed(0)
    vectors = torch.randn(6, 3 if rows in ("triplets", "ranked-lists") else 2, 8)
    texts = torch.arange(vectors.shape[0] * vectors.shape[1]).view(vectors.shape[:2])
    targets = {
        "scored-pairs": torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0]),
        "labelled-pairs": torch.tensor([0, 1, 2, 0, 1, 2]),
        "ranked-lists": torch.tensor([[3.0, -1.0]] * 6),
        "triplets": torch.tensor([[1.0, 0.0]] * 6),
    }.get(rows)
    if name in DISTILLING:
        targets, make = torch.randn(6, 8), partial(make_distil, size=8)
    else:
        make = make_loss
    return float(make(name, _Model(), options)(vectors, texts, targets).detach())


@pytest.mark.parametrize(
    ("option", "one", "other"), [("margin", 0.1, 2.0), ("similarity_scale", 1.0, 50.0), ("matryoshka", [], [2, 4])]
)
@pytest.mark.parametrize("name", [name for name in BI_OBJECTIVES if name != "tsdae"])
def test_the_objectives_that_an_option_is_for_are_those_that_read_it(
    name: str, option: str, one: object, other: object
) -> None:
    rows = BI_OBJECTIVES[name].rows[0]
    differ = _loss(name, rows, **{option: one}) != _loss(name, rows, **{option: other})
    assert differ is (name in OPTIONS_OF_OBJECTIVES[option])


def test_options_of_objectives_are_options_of_objectives_that_there_are() -> None:
    assert set(OPTIONS_OF_OBJECTIVES) <= set(TrainBiOptions.model_fields)
    assert {name for names in OPTIONS_OF_OBJECTIVES.values() for name in names} <= set(BI_OBJECTIVES)
