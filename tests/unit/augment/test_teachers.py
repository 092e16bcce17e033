"""Teachers: both orders, calibration, ensembles, and no pair scored twice after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import munjang.augment.teachers as teachers
from munjang.augment.teachers import Teacher, calibrate, combine, score_resumably
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.engine.scorer import Scorer
from munjang.errors import DataError

PAIRS = [(f"환불은 {n}일 걸리나요", f"배송은 {n * 7 % 5}일 걸려요") for n in range(23)]


class Counting(Teacher):
    """A teacher without a model that counts what it is asked."""

    def __init__(self, name: str = "counting", orders: int = 2) -> None:
        self.name, self.fingerprint, self.orders, self.asked = name, "f" * 32, orders, []

    def scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.asked += pairs
        first = np.array([(hash_of(a) + 2 * hash_of(b)) % 100 / 100 for a, b in pairs])
        return np.stack([first, first / 2][: self.orders], axis=1)


def hash_of(text: str) -> int:
    return sum(map(ord, text))


# -- models


def test_a_cross_encoder_scores_both_orders(tiny_cross: Path) -> None:
    scorer = Scorer(tiny_cross, symmetric=False)
    found = Teacher("cross", tiny_cross, "cpu").scores(PAIRS)
    assert np.allclose(found[:, 0], scorer.score(PAIRS), atol=1e-6)
    assert np.allclose(found[:, 1], scorer.score([(b, a) for a, b in PAIRS]), atol=1e-6)
    assert Teacher("cross", tiny_cross, "cpu", symmetric=False).scores(PAIRS).shape == (23, 1)


def test_a_bi_encoder_scores_by_its_cosine(tiny_bi: Path) -> None:
    encoder = Encoder(tiny_bi)
    expected = cosine_of_rows(encoder.encode([a for a, _ in PAIRS]), encoder.encode([b for _, b in PAIRS]))
    assert np.allclose(Teacher("bi", tiny_bi, "cpu").scores(PAIRS)[:, 0], expected, atol=1e-6)


def test_classes_are_refused_where_scores_are_asked_for_and_the_other_way_round(
    tiny_cross: Path, tiny_nli: Path
) -> None:
    with pytest.raises(DataError, match="classes, not scores"):
        Teacher("nli", tiny_nli, "cpu").scores(PAIRS)
    with pytest.raises(DataError, match=r"expected 3 outputs; got 1 output;"):
        Teacher("cross", tiny_cross, "cpu", classes=True).scores(PAIRS)
    found = Teacher("nli", tiny_nli, "cpu", classes=True).scores(PAIRS)
    assert found.shape == (23, 3)
    assert np.allclose(found.sum(axis=1), 1)


# -- going on after a kill


@pytest.mark.parametrize("killed_after", range(7))
def test_no_committed_pair_is_scored_again(killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "_PART", 4)
    expected = score_resumably(Counting(), PAIRS, None, "x")

    class Dying(Counting):
        def scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
            if len(self.asked) >= 4 * killed_after:
                raise KeyboardInterrupt
            return super().scores(pairs)

    first = Dying()
    if killed_after < 6:
        with pytest.raises(KeyboardInterrupt):
            score_resumably(first, PAIRS, tmp_path, "x")
    else:
        score_resumably(first, PAIRS, tmp_path, "x")
    second = Counting()
    assert np.array_equal(score_resumably(second, PAIRS, tmp_path, "x"), expected)
    assert sorted(first.asked + second.asked) == sorted(PAIRS)


def test_parts_of_other_work_and_damaged_ones_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "_PART", 8)
    expected = score_resumably(Counting(), PAIRS, tmp_path, "x")
    other = Counting()
    assert np.array_equal(score_resumably(other, PAIRS, tmp_path, "y"), expected)
    assert len(other.asked) == len(PAIRS)
    victim = next(tmp_path.glob("scores-*-8")) / "scores.npy"
    victim.write_bytes(victim.read_bytes()[:-3])
    again = Counting()
    assert np.array_equal(score_resumably(again, PAIRS, tmp_path, "y"), expected)
    assert len(again.asked) == 8


@given(st.lists(st.tuples(st.text("ab가나", max_size=9), st.text("ab", max_size=9)), max_size=30))
def test_scores_come_in_the_order_of_the_pairs(pairs: list[tuple[str, str]]) -> None:
    found = score_resumably(Counting(), pairs, None, "x")
    assert np.array_equal(found, Counting().scores(pairs) if pairs else np.empty((0, 2)))


# -- gold's scale


def test_a_calibration_brings_a_teacher_to_golds_scale_and_keeps_its_order() -> None:
    draw = np.random.default_rng(1)
    gold = draw.random(400)
    raw = 0.7 + 0.2 * gold**2 + draw.normal(0, 0.01, 400)
    fitted = calibrate(raw, gold)
    assert fitted.error_before > 0.2
    assert fitted.error_after < 0.1
    at = np.linspace(0.6, 1, 50)
    assert (np.diff(fitted(at)) >= 0).all()
    inside = np.linspace(fitted.raw[0], fitted.raw[-1], 50)
    assert (np.diff(fitted(inside)) > 0).all()


def test_the_error_of_a_calibration_is_of_pairs_that_it_has_not_seen() -> None:
    draw = np.random.default_rng(2)
    noise, gold = draw.random(60), draw.random(60)
    assert calibrate(noise, gold).error_after > 0.2  # in-sample it would come out well below


def test_a_calibration_needs_some_pairs() -> None:
    with pytest.raises(DataError, match="at least 10 pairs; got 9"):
        calibrate(np.arange(9.0), np.arange(9.0))


# -- several teachers


def test_labels_are_the_mean_and_the_disagreement_is_kept() -> None:
    one, other = Counting("one"), Counting("other", orders=1)
    found = [np.array([[0.2, 0.4], [1.0, 1.0]]), np.array([[0.5], [1.0]])]
    labels = combine([one, other], found, [None, None])
    assert labels.scores == pytest.approx([0.4, 1.0])
    assert labels.disagreement == pytest.approx([0.1, 0.0])
    assert labels.orders.tolist() == found[0].tolist()
    alone = combine([other], found[1:], [None])
    assert alone.orders.shape == (2, 0)
    assert alone.disagreement.tolist() == [0, 0]
