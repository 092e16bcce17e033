"""The gate: what silver labels must be, with figures and advice."""

from __future__ import annotations

import numpy as np
import pytest

from munjang.augment.gate import Gate, GateError, silver_checks, teacher_check
from munjang.errors import Option

DRAW = np.random.default_rng(1)
GOLD = DRAW.random(200)
FORCE = Option("force", True, "stage.silver")


def noisy(deviation: float) -> np.ndarray:
    return np.clip(GOLD + DRAW.normal(0, deviation, len(GOLD)), 0, 1)


def failed(checks: list) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_a_teacher_must_beat_the_student_on_dev() -> None:
    check, difference = teacher_check(noisy(0.05), noisy(0.3), GOLD)
    assert check.passed
    assert difference[1] < difference[0] < difference[2]
    assert difference[1] > 0
    check, difference = teacher_check(noisy(0.3), noisy(0.05), GOLD)
    assert not check.passed
    assert difference[2] < 0
    with pytest.raises(GateError) as caught:
        Gate((check,)).require(FORCE)
    assert "the teachers reach" in caught.value.got
    assert "several seeds" in caught.value.hint
    assert "force" in caught.value.hint
    assert (caught.value.exit_status, caught.value.code) == (4, "gate")
    Gate((check,), forced=True).require(FORCE)


def test_a_dev_set_with_equal_scores_lets_nothing_through() -> None:
    check, difference = teacher_check(noisy(0.1), noisy(0.2), np.full(200, 0.5))
    assert not check.passed
    assert difference is None


def test_sound_labels_pass() -> None:
    scores = noisy(0.1)
    checks = silver_checks(scores, np.stack([scores, noisy(0.1)], axis=1), [scores, noisy(0.1)], noisy(0.2))
    assert [check.name for check in checks] == ["spread", "extremes", "orders", "members", "agreement"]
    assert failed(checks) == []


def test_labels_that_teach_nothing_fail() -> None:
    none = np.empty((200, 0))
    assert failed(silver_checks(0.5 + 0.01 * GOLD, none, [], None)) == ["spread"]
    assert failed(silver_checks(np.round(GOLD), none, [], None)) == ["extremes"]
    turned = np.stack([GOLD, 1 - GOLD], axis=1)
    assert failed(silver_checks(GOLD, turned, [GOLD, DRAW.random(200)], 1 - GOLD)) == ["orders", "members", "agreement"]
    assert failed(silver_checks(np.full(200, 0.3), none, [], GOLD)) == ["spread", "agreement"]
