"""Correlations equal scipy's, intervals mean what they say, and what is undefined is None with a reason."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, example, given
from hypothesis import strategies as st

from munjang.evaluate import metrics
from munjang.evaluate.metrics import (
    RESAMPLES,
    Estimate,
    bootstrap_rows,
    correlations,
    paired_difference,
    pearson,
    spearman,
    why_undefined,
)

SCORES = st.floats(-1e3, 1e3, allow_nan=False, width=32)
#: Few distinct values, as people's scores have: nearly every row is tied.
TIED = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])
Rows = list[tuple[float, float]]


def model_scores(gold: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return gold + noise * np.random.default_rng(seed).normal(size=len(gold))


@pytest.fixture
def gold() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 26, 400) / 25


# -- single values


@given(st.lists(st.tuples(SCORES | TIED, TIED | SCORES), min_size=2, max_size=80))
def test_correlations_equal_those_of_scipy(rows: Rows) -> None:
    x, y = np.array(rows).T
    assume(np.std(x) > 1e-6)
    assume(np.std(y) > 1e-6)
    assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-9)
    assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)


def test_ties_take_their_mean_rank() -> None:
    x, y = np.array([1.0, 2, 2, 3, 3, 3]), np.array([0.0, 0, 1, 1, 1, 2])
    by_hand = scipy.stats.pearsonr([1, 2.5, 2.5, 5, 5, 5], [1.5, 1.5, 4, 4, 4, 6]).statistic
    assert spearman(x, y) == pytest.approx(by_hand, abs=1e-12)


@given(st.lists(st.tuples(TIED, SCORES), min_size=2, max_size=40))
def test_spearman_is_symmetric_and_blind_to_the_scale(rows: Rows) -> None:
    x, y = np.array(rows).T
    value = spearman(x, y)
    assert spearman(y, x) == value
    assert spearman(5 * x + 3, y) == value
    if value is not None:
        assert spearman(-x, y) == pytest.approx(-value, abs=1e-12)
        assert -1 <= value <= 1


@pytest.mark.parametrize("scale", [1e-30, 1e-5, 1e30])
def test_pearson_does_not_depend_on_the_unit(scale: float) -> None:
    x, y = np.array([1.0, 2, 3, 5]), np.array([1.0, 3, 2, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pearson(x * scale, y) == pytest.approx(pearson(x, y), abs=1e-9)


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_rows_are_undefined(size: int) -> None:
    x = np.arange(size, dtype=float)
    assert pearson(x, x) is spearman(x, x) is None
    assert correlations(x, x)["spearman"] == Estimate(None, None, None, f"{size} row")
    assert paired_difference(x, x, x).value is None


def test_constant_sides_are_undefined_with_the_side_named() -> None:
    same, other = np.full(10, 0.3), np.linspace(0, 1, 10)
    assert pearson(same, other) is spearman(other, same) is None
    for name in ("spearman", "pearson"):
        assert correlations(other, same)[name] == Estimate(None, None, None, "all gold scores are equal")
        assert correlations(same, other)[name] == Estimate(None, None, None, "all predicted scores are equal")
    assert paired_difference(other, same, other).reason == "all predicted scores are equal"
    assert paired_difference(same, other, other).reason == "all predicted scores are equal"
    assert paired_difference(other, other, same).reason == "all gold scores are equal"
    assert why_undefined(other, other) == ""


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_never_become_a_metric(bad: float) -> None:
    good, planted = np.linspace(0, 1, 10), np.linspace(0, 1, 10)
    planted[3] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pearson(planted, good) is None
        assert pearson(good, planted) is None
        # Ranks of infinite numbers are numbers; those of NaN are not.
        assert spearman(planted, good) is None or math.isinf(bad)
        for estimate in (*correlations(planted, good).values(), paired_difference(good, planted, good)):
            assert all(number is None or math.isfinite(number) for number in estimate[:3])
            assert estimate.value is not None or estimate.reason


def test_float32_scores_lose_nothing() -> None:
    x = np.linspace(0, 1, 100, dtype=np.float32) + np.float32(1000)
    y = np.sqrt(np.arange(100))
    assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x.astype(np.float64), y).statistic, abs=1e-9)


# -- intervals


def test_an_estimate_is_the_correlation_times_100_within_its_interval(gold: np.ndarray) -> None:
    for noise in (0.05, 0.3, 2.0):
        predicted = model_scores(gold, noise, 2)
        found = correlations(predicted, gold)
        assert found["spearman"].value == pytest.approx(
            100 * scipy.stats.spearmanr(predicted, gold).statistic, abs=1e-9
        )
        assert found["pearson"].value == pytest.approx(100 * scipy.stats.pearsonr(predicted, gold).statistic, abs=1e-9)
        for estimate in found.values():
            assert estimate.low < estimate.value < estimate.high
            assert estimate.reason == ""


def test_an_interval_is_that_of_a_loop_over_resamples(gold: np.ndarray) -> None:
    gold, predicted = gold[:60], model_scores(gold, 0.3, 3)[:60]
    rows = bootstrap_rows(60, seed=5, resamples=150)
    for name, one in (("spearman", scipy.stats.spearmanr), ("pearson", scipy.stats.pearsonr)):
        values = [100 * one(predicted[r], gold[r]).statistic for r in rows]
        estimate = correlations(predicted, gold, seed=5, resamples=150)[name]
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-9)


def test_resamples_are_decided_by_the_seed_alone(gold: np.ndarray) -> None:
    predicted = model_scores(gold, 0.5, 4)
    assert correlations(predicted, gold, seed=7) == correlations(predicted, gold, seed=7)
    assert correlations(predicted, gold, seed=7) != correlations(predicted, gold, seed=8)
    rows = bootstrap_rows(50)
    assert rows.shape == (RESAMPLES, 50)
    assert (rows.min(), rows.max()) == (0, 49)
    assert np.array_equal(rows, bootstrap_rows(50))


def test_more_rows_make_a_narrower_interval(gold: np.ndarray) -> None:
    predicted = model_scores(gold, 0.5, 4)
    few, many = (correlations(predicted[:n], gold[:n])["spearman"] for n in (50, 400))
    assert many.high - many.low < 0.6 * (few.high - few.low)


def test_a_perfect_model_has_no_doubt(gold: np.ndarray) -> None:
    assert correlations(3 * gold, gold)["spearman"] == Estimate(100.0, 100.0, 100.0)
    linear = correlations(2 * gold + 0.3, gold)["pearson"]
    assert linear[:3] == pytest.approx((100, 100, 100), abs=1e-9)


@example([(0.0, 0.2), (0.0, 0.2), (5.0, 0.0)])
@given(st.lists(st.tuples(SCORES, TIED), min_size=2, max_size=12))
def test_intervals_are_finite_ordered_and_within_the_scale(rows: Rows) -> None:
    predicted, gold = np.array(rows).T
    for estimate in correlations(predicted, gold, resamples=200).values():
        if estimate.value is None:
            assert estimate.low is estimate.high is None
            assert estimate.reason
        elif estimate.low is None:
            assert estimate.high is None
            assert "too few" in estimate.reason
        else:
            assert -100 <= estimate.low <= estimate.high <= 100


@pytest.mark.parametrize("rows", [[0.38] * 6 + [0.62] * 6, [0.2, 0.37, 0.94] * 4, [0.7] * 11 + [0.1]])
def test_resamples_of_equal_rows_are_left_out(rows: list[float]) -> None:
    # They have no correlation, and what rounding leaves of their variance must not pass for one.
    found = correlations(np.array(rows), 5 * np.array(rows))
    for estimate in found.values():
        assert estimate[:3] == pytest.approx((100, 100, 100), abs=1e-9)


def test_a_handful_of_rows_has_no_interval() -> None:
    gold = np.array([0.1, 0.5, 0.9])
    for estimate in (*correlations(gold, gold).values(), paired_difference(gold, -gold, gold)):
        assert estimate.value is not None
        assert (estimate.low, estimate.high) == (None, None)
        assert "too few rows" in estimate.reason


def test_blocks_of_resamples_are_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, predicted = np.random.default_rng(3).normal(size=(2, 40))
    whole = correlations(predicted, gold, resamples=300)
    monkeypatch.setattr(metrics, "_BLOCK_CELLS", 40 * 7)
    assert correlations(predicted, gold, resamples=300) == whole


def test_95_percent_intervals_hold_the_truth_about_95_times_in_100() -> None:
    correlation, draws, held = 0.7, 200, 0
    truth = 100 * 6 / math.pi * math.asin(correlation / 2)  # Spearman of two normals with this Pearson correlation
    random = np.random.default_rng(11)
    for _ in range(draws):
        x, noise = random.normal(size=(2, 120))
        estimate = correlations(x, correlation * x + math.sqrt(1 - correlation**2) * noise, resamples=300)["spearman"]
        held += estimate.low <= truth <= estimate.high
    assert 0.88 <= held / draws <= 0.99


# -- differences


def test_a_difference_is_that_of_the_two_values_and_its_interval_that_of_a_loop(gold: np.ndarray) -> None:
    gold = gold[:80]
    ours, theirs = model_scores(gold, 0.2, 1), model_scores(gold, 0.5, 2)
    found = paired_difference(ours, theirs, gold, seed=3, resamples=120)
    values = []
    for rows in [np.arange(80), *bootstrap_rows(80, 3, 120)]:
        one, other = (100 * scipy.stats.spearmanr(m[rows], gold[rows]).statistic for m in (ours, theirs))
        values.append(one - other)
    low, high = np.percentile(values[1:], [2.5, 97.5])
    assert found[:3] == pytest.approx((values[0], low, high), abs=1e-9)
    assert found.low < found.value < found.high


def test_a_difference_turns_its_sign_with_the_models(gold: np.ndarray) -> None:
    ours, theirs = model_scores(gold, 0.3, 1), model_scores(gold, 0.32, 2)
    there, back = paired_difference(ours, theirs, gold), paired_difference(theirs, ours, gold)
    assert back[:3] == pytest.approx((-there.value, -there.high, -there.low), abs=1e-9)


def test_a_model_does_not_differ_from_itself(gold: np.ndarray) -> None:
    predicted = model_scores(gold, 0.3, 1)
    assert paired_difference(predicted, predicted, gold)[:3] == (0, 0, 0)
    assert paired_difference(predicted, 7 * predicted + 1, gold)[:3] == (0, 0, 0)


def test_pairing_sees_what_single_intervals_do_not(gold: np.ndarray) -> None:
    theirs = model_scores(gold, 0.5, 2)
    ours = theirs + 0.15 * (gold - theirs)
    single = [correlations(m, gold)["spearman"] for m in (ours, theirs)]
    assert single[0].low < single[1].high
    assert paired_difference(ours, theirs, gold).low > 0


# -- JSON


@pytest.mark.parametrize(
    "estimate",
    [Estimate(81.25, 79.0, 83.5), Estimate(None, None, None, "1 row"), Estimate(5.0, None, None, "one query")],
)
def test_an_estimate_comes_back_from_its_json(estimate: Estimate) -> None:
    assert Estimate.of(json.loads(json.dumps(estimate.as_dict(), allow_nan=False))) == estimate
