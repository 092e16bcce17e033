"""Weighted statistics equal scipy's and scikit-learn's on the resample that the weights describe, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from munjang.evaluate import statistics

#: Few distinct values, so that ties are the rule.
COARSE = st.sampled_from([-1.5, 0.0, 0.25, 0.5, 1.0, 3.0])
FINE = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
COUNTS = st.integers(0, 3)


@st.composite
def columns(draw: st.DrawFn, *cells: st.SearchStrategy) -> tuple[np.ndarray, ...]:
    """Columns of some length, and weights of four resamples that each draw something."""
    size = draw(st.integers(1, 12))
    drawn = [np.array(draw(st.lists(cell, min_size=size, max_size=size))) for cell in cells]
    row = st.lists(COUNTS, min_size=size, max_size=size).filter(any)
    weights = draw(st.lists(row, min_size=4, max_size=4))
    return (*drawn, np.array([[1] * size, *weights], np.float64))


def resamples(weights: np.ndarray) -> list[np.ndarray]:
    """The units of each resample, as often as they are drawn."""
    return [np.repeat(np.arange(weights.shape[1]), row.astype(int)) for row in weights]


def equal_row_by_row(
    found: np.ndarray, weights: np.ndarray, expected: Callable[[np.ndarray], float], tolerance: float = 1e-9
) -> None:
    """Check every resample; NaN on both sides is equal."""
    assert found.shape == (len(weights),)
    for value, units in zip(found, resamples(weights), strict=True):
        wanted = expected(units)
        assert math.isnan(value) if math.isnan(wanted) else value == pytest.approx(wanted, abs=tolerance)


def correlation_of_scipy(one: Callable, x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 2 or len(set(x)) == 1 or len(set(y)) == 1:
        return math.nan
    return float(one(x, y).statistic)


@given(columns(COARSE, COARSE))
def test_spearman_is_scipys_with_ties(case: tuple[np.ndarray, ...]) -> None:
    x, y, weights = case
    expected = lambda i: correlation_of_scipy(scipy.stats.spearmanr, x[i], y[i])  # noqa: E731
    equal_row_by_row(statistics.spearman(x, y, weights), weights, expected)


@given(columns(FINE, FINE))
def test_pearson_is_scipys(case: tuple[np.ndarray, ...]) -> None:
    x, y, weights = case
    expected = lambda i: correlation_of_scipy(scipy.stats.pearsonr, x[i], y[i])  # noqa: E731
    # Near-constant resamples of large numbers lose digits in any formula.
    equal_row_by_row(statistics.pearson(x, y, weights), weights, expected, 1e-4)


def test_pearson_keeps_its_digits_far_from_zero() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=50), draw.normal(size=50)
    found = statistics.pearson(x + 1e6, y, np.ones((1, 50)))
    assert found[0] == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-8)


@pytest.mark.parametrize("one", [statistics.pearson, statistics.spearman])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-7, 12345.678])
def test_a_constant_resample_has_no_correlation(one: Callable, value: float) -> None:
    x, y = np.array([value, value, value, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert math.isnan(one(x, y, np.array([[5.0, 3.0, 2.0, 0.0]]))[0])
    assert math.isfinite(one(x, y, np.array([[5.0, 3.0, 2.0, 1.0]]))[0])


@given(columns(COARSE, st.integers(0, 1)))
def test_average_precision_is_that_of_scikit_learn(case: tuple[np.ndarray, ...]) -> None:
    predicted, gold, weights = case

    def expected(i: np.ndarray) -> float:
        return metrics.average_precision_score(gold[i], predicted[i]) if gold[i].any() else math.nan

    equal_row_by_row(statistics.average_precision(predicted, gold, weights), weights, expected)


@given(columns(COARSE, st.integers(0, 1)))
def test_best_f1_and_accuracy_are_the_best_over_all_thresholds(case: tuple[np.ndarray, ...]) -> None:
    predicted, gold, weights = case
    thresholds = [*np.unique(predicted), np.inf]

    def best_f1(i: np.ndarray) -> float:
        if not gold[i].any():
            return math.nan
        return max(metrics.f1_score(gold[i], predicted[i] >= t, zero_division=0) for t in thresholds)

    def best_accuracy(i: np.ndarray) -> float:
        return max(metrics.accuracy_score(gold[i], predicted[i] >= t) for t in thresholds)

    equal_row_by_row(statistics.best_f1(predicted, gold, weights), weights, best_f1)
    equal_row_by_row(statistics.best_accuracy(predicted, gold, weights), weights, best_accuracy)


@given(columns(COARSE, st.integers(0, 1)))
def test_the_threshold_reaches_the_best_f1(case: tuple[np.ndarray, ...]) -> None:
    predicted, gold, weights = case
    if gold.any():
        threshold = statistics.f1_threshold(predicted, gold)
        reached = metrics.f1_score(gold, predicted >= threshold)
        assert reached == pytest.approx(statistics.best_f1(predicted, gold, weights[:1])[0], abs=1e-12)


@given(columns(st.integers(0, 3), st.integers(0, 3)))
def test_macro_f1_is_that_of_scikit_learn(case: tuple[np.ndarray, ...]) -> None:
    predicted, gold, weights = case
    expected = lambda i: metrics.f1_score(gold[i], predicted[i], average="macro", zero_division=0)  # noqa: E731
    equal_row_by_row(statistics.macro_f1(predicted, gold, weights), weights, expected)


@given(columns(st.integers(0, 3), st.integers(0, 3)))
def test_v_measure_is_that_of_scikit_learn(case: tuple[np.ndarray, ...]) -> None:
    predicted, gold, weights = case
    expected = lambda i: metrics.v_measure_score(gold[i], predicted[i])  # noqa: E731
    equal_row_by_row(statistics.v_measure(predicted, gold, weights), weights, expected)


@given(columns(st.sampled_from([math.nan, 0.0, 0.5, 1.0])))
def test_the_mean_leaves_out_units_without_a_value(case: tuple[np.ndarray, ...]) -> None:
    values, weights = case

    def expected(i: np.ndarray) -> float:
        known = values[i][np.isfinite(values[i])]
        return float(known.mean()) if len(known) else math.nan

    equal_row_by_row(statistics.mean(values, weights), weights, expected)


@pytest.mark.parametrize("units", [1, 7, 1500])
def test_resamples_draw_as_many_units_as_there_are_the_same_ones_each_time(units: int) -> None:
    blocks = list(statistics.resampled_weights(units, seed=3, resamples=2000))
    weights = np.concatenate(blocks)
    assert weights.shape == (2000, units)
    assert (weights.sum(axis=1) == units).all()
    assert (weights == np.concatenate(list(statistics.resampled_weights(units, seed=3, resamples=2000)))).all()
    if units > 1:
        assert (weights != np.concatenate(list(statistics.resampled_weights(units, 4, 2000)))).any()
        # Each unit is drawn once on average, and not at all with probability (1 - 1/n)^n.
        assert weights.mean(axis=0) == pytest.approx(np.ones(units), abs=0.15)
        assert (weights == 0).mean() == pytest.approx((1 - 1 / units) ** units, abs=0.01)


def test_the_spread_of_resampled_means_is_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=400)
    drawn = np.concatenate([statistics.mean(values, w) for w in statistics.resampled_weights(400, 0, 4000)])
    assert drawn.std() == pytest.approx(values.std() / 20, rel=0.05)
