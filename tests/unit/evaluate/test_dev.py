"""What chooses weights, for each kind of rows; numbers against ones counted by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from munjang.data.rows import LabelledPair, ParallelPair, RankedList, ScoredPair, Triplet
from munjang.errors import DataError
from munjang.evaluate.dev import dev_metric, dev_of_encoder, dev_of_scorer, mean_ndcg, triplets_of_nli

#: Texts are points on a circle, named by their angle in degrees.


def encoder():
    def encode(texts, **_):
        angles = np.deg2rad([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    return SimpleNamespace(encode=encode)


def scorer(outputs):
    def logits(pairs):
        return np.array([outputs(*pair) for pair in pairs], np.float32)

    return SimpleNamespace(logits=logits, score=lambda pairs: logits(pairs)[:, 0])


def near(a, b):
    return [math.cos(math.radians(float(a) - float(b)))]


PAIRS = [ScoredPair("0", "10", 1.0), ScoredPair("0", "50", 0.5), ScoredPair("0", "90", 0.0), ScoredPair("5", "60", 0.4)]
TRIPLETS = [Triplet("0", "10", "90"), Triplet("0", "90", "10"), Triplet("30", "40", "80"), Triplet("1", "2", "3")]


def test_scored_pairs_give_spearman() -> None:
    assert dev_of_encoder(encoder(), "scored-pairs", PAIRS) == pytest.approx(100)
    assert dev_of_scorer(scorer(lambda a, b: [-near(a, b)[0]]), "scored-pairs", PAIRS) == pytest.approx(-100)


def test_triplets_give_the_share_in_the_right_order() -> None:
    assert dev_of_encoder(encoder(), "triplets", TRIPLETS) == 75
    assert dev_of_scorer(scorer(near), "triplets", TRIPLETS) == 75


def test_nli_gives_triplets_to_a_bi_encoder_and_classes_to_a_cross_encoder() -> None:
    rows = [
        LabelledPair("0", "90", "contradiction"),
        LabelledPair("0", "10", "entailment"),
        LabelledPair("0", "45", "neutral"),
        LabelledPair("7", "8", "entailment"),
    ]
    assert triplets_of_nli(rows) == [Triplet("0", "10", "90")]
    assert dev_of_encoder(encoder(), "labelled-pairs", rows) == 100

    def classes(a, b):
        return [1.0, 0.0, 0.0] if float(b) < 50 else [0.0, 0.0, 1.0]

    assert dev_of_scorer(scorer(classes), "labelled-pairs", rows) == 75


def test_pairs_give_the_share_that_find_each_other_in_both_directions() -> None:
    rows = [ParallelPair("0", "1"), ParallelPair("90", "91"), ParallelPair("180", "89")]
    # Forth: 0 -> 1, 90 -> 91 or 89 at the same distance, the first of them; 180 -> 91. Back: 1 -> 0, 91 -> 90, 89 -> 90.
    assert dev_of_encoder(encoder(), "parallel-pairs", rows) == pytest.approx(100 * (2 / 3 + 2 / 3) / 2)


def test_lists_give_ndcg_with_their_own_scores_as_gains() -> None:
    rows = [RankedList("0", ("80", "10", "40"), (1.0, 3.0, 2.0))]
    assert dev_of_encoder(encoder(), "ranked-lists", rows) == pytest.approx(100)
    backwards = dev_of_scorer(scorer(lambda a, b: [-near(a, b)[0]]), "ranked-lists", rows)
    expected = (0 + 1 / math.log2(3) + 2 / 2) / (2 + 1 / math.log2(3))
    assert backwards == pytest.approx(100 * expected)


def test_equal_judgements_are_perfect_and_negative_ones_are_moved() -> None:
    assert mean_ndcg([RankedList("q", ("a", "b"), (2.0, 2.0))], [np.array([0, 1])]) == 1
    assert mean_ndcg([RankedList("q", ("a", "b"), (-5.0, -9.0))], [np.array([0, 1])]) == pytest.approx(1 / math.log2(3))


def test_a_model_that_scores_all_alike_gains_nothing() -> None:
    row = RankedList("q", ("a", "b", "c"), (1.0, 0.0, 0.0))
    assert mean_ndcg([row], [np.zeros(3)]) == pytest.approx(1 / math.log2(4))


@pytest.mark.parametrize(
    ("kind", "rows", "cross", "what"),
    [
        ("ranked-lists", [RankedList("q", ("a", "b"), (1.0, 1.0))], True, "judged alike"),
        ("parallel-pairs", [ParallelPair("가", "a")], False, "always finds itself"),
        ("scored-pairs", [ScoredPair("가", "나", 0.5)] * 3, False, "all of its scores are equal"),
        ("scored-pairs", [], False, "no row is left"),
        ("labelled-pairs", [LabelledPair("가", "나", "neutral")] * 3, True, "one class"),
        (
            "labelled-pairs",
            [LabelledPair("가", "나", "neutral"), LabelledPair("가", "다", "entailment")],
            False,
            "no premise has both",
        ),
    ],
)
def test_a_dev_set_that_cannot_choose_is_refused(kind: str, rows: list, cross: bool, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        dev_metric(kind, rows, cross, "my-dev")
    assert caught.value.where == "my-dev"


def test_the_metric_has_a_name() -> None:
    assert dev_metric("scored-pairs", PAIRS, True, "d") == "Spearman x 100"
    assert dev_metric("triplets", TRIPLETS, False, "d") == "triplet accuracy x 100"
