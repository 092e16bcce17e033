"""Intervals, paired tests and verdicts over measurements."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from munjang.errors import UsageError
from munjang.evaluate.compare import ALPHA, compare, compare_pair, holm, paired_p, williams
from munjang.evaluate.measurement import Measurement, Subject

RESAMPLES = 2_000


def measured(
    label: str, predicted: np.ndarray, gold: np.ndarray, *, name: str = "set", kind: str = "bi-encoder", seed: int = 0
) -> Measurement:
    subject = Subject(label, kind, f"{label}-{seed}")
    return Measurement(subject, name, f"digest of {name}", "sts", {"predicted": predicted, "gold": gold})


def noisy(gold: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return gold + noise * np.random.default_rng(seed).normal(size=len(gold))


@pytest.fixture
def gold() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 26, 400) / 25


def test_a_value_and_its_interval_are_those_of_scipy(gold: np.ndarray) -> None:
    predicted = noisy(gold, 0.5, 2)
    table = compare([measured("a", predicted, gold)], resamples=RESAMPLES)
    estimate = table.cells[0].estimate
    assert estimate.value == pytest.approx(100 * scipy.stats.spearmanr(predicted, gold).statistic, abs=1e-9)

    def statistic(x: np.ndarray, y: np.ndarray) -> float:
        return scipy.stats.spearmanr(x, y).statistic

    theirs = scipy.stats.bootstrap(
        (predicted, gold), statistic, paired=True, vectorized=False, n_resamples=1_000, method="percentile", rng=3
    ).confidence_interval
    assert estimate.low == pytest.approx(100 * theirs.low, abs=0.8)
    assert estimate.high == pytest.approx(100 * theirs.high, abs=0.8)
    assert list(table.cells[0].estimates) == ["spearman", "pearson"]


def test_a_clearly_better_model_wins_and_a_clearly_worse_one_is_worse(gold: np.ndarray) -> None:
    models = {"base": noisy(gold, 0.5, 2), "better": noisy(gold, 0.2, 3), "worse": noisy(gold, 1.5, 4)}
    table = compare([measured(k, v, gold) for k, v in models.items()], "base", resamples=RESAMPLES)
    found = {c.label: c.against for c in table.cells}
    assert found["base"] is None
    assert found["better"].verdict == "win"
    assert found["worse"].verdict == "worse"
    assert found["better"].difference.low > 0 > found["worse"].difference.high
    assert found["better"].p_williams < ALPHA
    assert found["better"].p <= found["better"].p_holm < ALPHA


def test_equal_models_tie(gold: np.ndarray) -> None:
    predicted = noisy(gold, 0.5, 2)
    table = compare([measured("a", predicted, gold), measured("b", 3 * predicted + 1, gold)], "a", resamples=RESAMPLES)
    against = table.cell("b", "set").against
    assert against.verdict == "tie"
    assert against.difference.value == 0
    assert against.p == 1.0


def test_models_that_are_alike_tie_in_about_19_of_20_cases(gold: np.ndarray) -> None:
    wrong = 0
    for seed in range(60):
        left, right = noisy(gold, 0.5, 2 * seed), noisy(gold, 0.5, 2 * seed + 1)
        table = compare([measured("a", left, gold), measured("b", right, gold)], "a", resamples=400)
        wrong += table.cell("b", "set").against.verdict != "tie"
    # Of 60 draws at 5%, more than 9 would come once in a thousand times.
    assert wrong <= 9


def test_the_verdict_does_not_depend_on_who_is_named_first(gold: np.ndarray) -> None:
    ours, theirs = measured("a", noisy(gold, 0.4, 2), gold), measured("b", noisy(gold, 0.6, 3), gold)
    forth, back = (compare_pair([x], [y], resamples=RESAMPLES) for x, y in ((ours, theirs), (theirs, ours)))
    assert forth.difference.value == pytest.approx(-back.difference.value)
    assert forth.p == pytest.approx(back.p, abs=0.01)
    assert {forth.verdict, back.verdict} in ({"win", "worse"}, {"tie"})


def test_runs_of_one_recipe_count_as_their_mean(gold: np.ndarray) -> None:
    runs = [measured("a", noisy(gold, 0.5, seed), gold, seed=seed) for seed in (1, 2, 3)]
    base = measured("base", noisy(gold, 0.9, 9), gold)
    cell = compare([base, *runs], "base", resamples=RESAMPLES).cell("a", "set")
    singles = [compare([run], resamples=RESAMPLES).cells[0].estimate.value for run in runs]
    assert cell.estimate.value == pytest.approx(np.mean(singles))
    assert cell.deviations["spearman"] == pytest.approx(np.std(singles, ddof=1))
    assert cell.estimate.low < cell.estimate.value < cell.estimate.high
    assert cell.against.p_williams is None
    assert cell.against.difference.value == pytest.approx(cell.estimate.value - compare([base]).cells[0].estimate.value)
    assert cell.as_dict()["runs"] == 3


@pytest.mark.parametrize(
    ("predicted", "reason"),
    [
        (np.zeros(20), "all predicted scores are equal"),
        (np.full(20, np.nan), "a score is not a finite number"),
    ],
)
def test_what_is_undefined_has_a_reason_and_no_number(predicted: np.ndarray, reason: str) -> None:
    gold = np.linspace(0, 1, 20)
    table = compare([measured("a", gold, gold), measured("b", predicted, gold)], "a", resamples=RESAMPLES)
    cell = table.cell("b", "set")
    assert cell.estimate.as_dict() == {"value": None, "low": None, "high": None, "reason": reason}
    assert cell.against.verdict == "undefined"
    assert cell.against.difference.reason == reason
    json.dumps(table.as_dict(), allow_nan=False)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_few_rows_give_no_interval_and_no_verdict(rows: int) -> None:
    gold = np.linspace(0, 1, rows)
    table = compare([measured("a", gold, gold), measured("b", gold[::-1].copy(), gold)], "a", resamples=RESAMPLES)
    cell = table.cell("b", "set")
    assert (cell.estimate.value is None) == (rows == 1)
    assert cell.estimate.low is None
    assert cell.estimate.reason == ("1 row" if rows == 1 else "too few rows for an interval")
    assert cell.against.verdict == "undefined"


def test_measurements_of_other_rows_are_never_paired(gold: np.ndarray) -> None:
    other = measured("b", gold, gold)
    other.set_fingerprint = "the set was changed"
    with pytest.raises(UsageError, match="not of the same rows"):
        compare([measured("a", gold, gold), other], "a")


def test_an_unknown_baseline_is_refused(gold: np.ndarray) -> None:
    with pytest.raises(UsageError, match="the baseline was not measured"):
        compare([measured("a", gold, gold)], "b")


def test_a_cell_that_could_not_be_measured_keeps_its_reason(gold: np.ndarray) -> None:
    table = compare([measured("a", gold, gold)], "a", reasons={("cross", "set"): "needs candidates"}, resamples=200)
    assert table.labels == ["a", "cross"]
    assert table.cell("cross", "set") is None
    assert table.as_dict()["missing"] == [{"model": "cross", "set": "set", "reason": "needs candidates"}]


# -- the tests by themselves


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_the_paper(p_values: list[float]) -> None:
    corrected = holm(p_values)
    m = len(p_values)
    ordered = sorted(p_values)
    for p, found in zip(p_values, corrected, strict=True):
        # The definition: the largest of (m - j + 1) p(j) over all j up to the place of p.
        by_definition = max(min(1.0, (m - j) * q) for j, q in enumerate(ordered) if q <= p)
        assert found == pytest.approx(by_definition)


def test_holm_never_lets_through_what_bonferroni_stops_first() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_williams_agrees_with_simulation() -> None:
    """Under equal correlations, its p-values fall below 5% in about 5% of the cases."""
    draw, below = np.random.default_rng(0), 0
    for _ in range(600):
        truth = draw.normal(size=60)
        a, b = truth + draw.normal(size=60), truth + draw.normal(size=60)
        r = np.corrcoef([truth, a, b])
        below += williams(r[0, 1], r[0, 2], r[1, 2], 60) < 0.05
    assert 0.02 < below / 600 < 0.09


def test_williams_by_hand() -> None:
    # Steiger 1980, equation 7 with r_jk = .50, r_jh = .40, r_kh = .10 and n = 103: |R| = 0.62, t = 0.8946, 100 degrees.
    determinant = 1 - 0.5**2 - 0.4**2 - 0.1**2 + 2 * 0.5 * 0.4 * 0.1
    t = (0.5 - 0.4) * np.sqrt(102 * 1.1 / (2 * 102 / 100 * determinant + 0.45**2 * 0.9**3))
    assert williams(0.5, 0.4, 0.1, 103) == pytest.approx(2 * scipy.stats.t.sf(t, 100))
    assert williams(0.5, 0.5, 0.3, 50) == pytest.approx(1.0)
    assert williams(0.5, 0.5, 1.0, 50) is None
    assert williams(0.9, 0.1, 0.2, 3) is None


def test_the_p_value_counts_the_sample_itself() -> None:
    assert paired_p(np.full(99, 1.0)) == pytest.approx(2 / 100)
    assert paired_p(np.array([1.0, -1.0])) == 1.0
    for shift in itertools.pairwise([0.0, 1.0, 2.0, 3.0]):
        values = np.random.default_rng(0).normal(size=1_000)
        assert paired_p(values + shift[1]) < paired_p(values + shift[0])
