"""From measurements to a table: intervals, paired tests against a baseline, verdicts.

All models of a set see the same resamples of its units, so a difference between two is paired. Where a label stands for
several runs of one recipe (seeds), its value is their mean and their deviation is shown; a resample draws units, not runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import scipy.stats

from munjang.errors import UsageError
from munjang.evaluate import statistics
from munjang.evaluate.measurement import Measurement
from munjang.evaluate.statistics import RESAMPLES, resampled_weights
from munjang.evaluate.table import ALPHA, Cell, Comparison, Estimate, Table
from munjang.evaluate.tasks import Metric

#: Fewer units give no interval: resamples of a handful repeat the same few values and say nothing of others.
LEAST_UNITS = 10
#: Fewer resamples in which the metric is defined give no interval.
_LEAST_RESAMPLES = 100


def compare(
    measurements: Iterable[Measurement],
    baseline: str | None = None,
    *,
    reasons: dict[tuple[str, str], str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Table:
    """Estimate every metric with its interval, and compare each label with the baseline.

    Args:
        measurements: of any models and sets; those with the same label and set are runs of one recipe.
        baseline: a label; without one nothing is compared.
        reasons: why some (label, set) could not be measured.
        seed: of the resampling.
        resamples: how many.

    Raises:
        UsageError: there is no measurement of the baseline.
    """
    cells: dict[tuple[str, str], list[Measurement]] = {}
    for measurement in measurements:
        cells.setdefault((measurement.subject.label, measurement.set), []).append(measurement)
    labels = list(dict.fromkeys(label for label, _ in cells))
    if baseline is not None and baseline not in {*labels, *(label for label, _ in reasons or {})}:
        raise UsageError("the baseline was not measured", got=baseline, expected=" or ".join(labels))
    table = Table([], baseline, dict(reasons or {}))
    for name in dict.fromkeys(name for _, name in cells):
        of_set = {label: cells[label, name] for label in labels if (label, name) in cells}
        table.cells += _cells_of_set(name, of_set, baseline, seed, resamples)
    table.cells.sort(key=lambda cell: labels.index(cell.label))
    _correct(table.cells)
    return table


def compare_pair(
    ours: Sequence[Measurement], theirs: Sequence[Measurement], seed: int = 0, resamples: int = RESAMPLES
) -> Comparison:
    """The runs of one label against those of another on the same rows, by the main metric; p is not corrected.

    Raises:
        UsageError: they are not of the same rows.
    """
    require_alike([*ours, *theirs])
    metric = ours[0].main
    drawn = _resampled({"ours": list(ours), "theirs": list(theirs)}, seed, resamples)
    found = _comparison(ours, theirs, metric, drawn["ours"][metric.name], drawn["theirs"][metric.name])
    return _verdict(found)


def require_alike(measurements: Sequence[Measurement]) -> None:
    """Refuse to pair measurements of different rows.

    Raises:
        UsageError: they are of another content or task.
    """
    first = measurements[0]
    for other in measurements[1:]:
        if (other.set_fingerprint, other.task, other.units) != (first.set_fingerprint, first.task, first.units):
            raise UsageError(
                "these measurements are not of the same rows",
                where=first.set,
                expected=f"{first.units:,} {first.task} units",
                got=f"{other.units:,} {other.task} units by {other.subject.label}",
                hint="measure both again on the set as it is now",
            )


def _cells_of_set(
    name: str, of_set: dict[str, list[Measurement]], baseline: str | None, seed: int, resamples: int
) -> list[Cell]:
    require_alike([m for runs in of_set.values() for m in runs])
    drawn = _resampled(of_set, seed, resamples)
    cells = []
    for label, runs in of_set.items():
        values = {m.name: [_value(run, m) for run in runs] for m in runs[0].metrics}
        estimates = {m.name: _estimate(runs, m, values[m.name], drawn[label][m.name]) for m in runs[0].metrics}
        deviations = {n: _deviation(v) for n, v in values.items()}
        cell = Cell(label, name, runs, estimates, deviations)
        if baseline in of_set and label != baseline:
            theirs, metric = of_set[baseline], cell.main
            if metric.name in drawn[baseline]:
                cell.against = _comparison(
                    runs, theirs, metric, drawn[label][metric.name], drawn[baseline][metric.name]
                )
        cells.append(cell)
    return cells


def _resampled(of_set: dict[str, list[Measurement]], seed: int, resamples: int) -> dict[str, dict[str, np.ndarray]]:
    """Every label's metrics under every resample, mean over its runs: label -> metric -> (resamples,)."""
    units = next(iter(of_set.values()))[0].units
    blocks: dict[str, dict[str, list[np.ndarray]]] = {
        label: {m.name: [] for m in runs[0].metrics} for label, runs in of_set.items()
    }
    wanted = {
        label: [m for m in runs[0].metrics if not any(m.undefined(run.columns) for run in runs)]
        for label, runs in of_set.items()
    }
    if units >= LEAST_UNITS:
        for weights in resampled_weights(units, seed, resamples):
            for label, runs in of_set.items():
                for metric in wanted[label]:
                    values = [metric.values(run.columns, weights) for run in runs]
                    blocks[label][metric.name].append(np.mean(values, axis=0))
    nothing = np.empty(0)
    return {
        label: {name: np.concatenate(parts) if parts else nothing for name, parts in metrics.items()}
        for label, metrics in blocks.items()
    }


def _value(measurement: Measurement, metric: Metric) -> float | None:
    if metric.undefined(measurement.columns):
        return None
    value = float(metric.values(measurement.columns, np.ones((1, measurement.units)))[0])
    return value if math.isfinite(value) else None


def _estimate(runs: list[Measurement], metric: Metric, values: list[float | None], drawn: np.ndarray) -> Estimate:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        reasons = (metric.undefined(run.columns) for run in runs)
        return Estimate(None, reason=next((reason for reason in reasons if reason), "undefined"))
    return _interval(float(np.mean(known)), drawn if _told(runs, metric) else np.empty(0))


def _told(runs: Sequence[Measurement], metric: Metric) -> bool:
    """True if enough units have a value for an interval; queries without a relevant text, for example, have none."""
    columns = [np.asarray(run.columns[name], np.float64) for run in runs for name in metric.columns]
    return int(np.isfinite(np.array(columns)).all(axis=0).sum()) >= LEAST_UNITS


def _interval(value: float, drawn: np.ndarray) -> Estimate:
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < _LEAST_RESAMPLES:
        return Estimate(100 * value, reason="too few rows for an interval")
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(100 * value, 100 * float(low), 100 * float(high))


def mean_estimate(values: Sequence[float | None], seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Mean x 100 over the units that have a value, with its interval.

    Args:
        values: one a unit, such as a query's nDCG or the difference of two; None where it has none.
        seed: of the resampling. resamples: how many.
    """
    defined = np.array([value for value in values if value is not None], np.float64)
    if not len(defined):
        return Estimate(None, reason="no query has a relevant document")
    if len(defined) < LEAST_UNITS:
        return _interval(float(defined.mean()), np.empty(0))
    drawn = [statistics.mean(defined, weights) for weights in resampled_weights(len(defined), seed, resamples)]
    return _interval(float(defined.mean()), np.concatenate(drawn))


def _deviation(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return 100 * float(np.std(known, ddof=1)) if len(known) > 1 else None


def _comparison(
    ours: Sequence[Measurement], theirs: Sequence[Measurement], metric: Metric, drawn: np.ndarray, other: np.ndarray
) -> Comparison:
    label = theirs[0].subject.label
    mine, yours = ([_value(run, metric) for run in runs] for runs in (ours, theirs))
    if None in mine or None in yours:
        reasons = (metric.undefined(run.columns) for run in (*ours, *theirs))
        reason = next((reason for reason in reasons if reason), "undefined")
        return Comparison(label, metric.name, Estimate(None, reason=reason), None, None, verdict="undefined")
    differences = drawn - other if _told([*ours, *theirs], metric) else np.empty(0)
    estimate = _interval(float(np.mean(mine)) - float(np.mean(yours)), differences)
    p = None if estimate.low is None else paired_p(differences)
    # Williams' test knows one correlation a side.
    single = len(ours) == len(theirs) == 1
    return Comparison(label, metric.name, estimate, p, _williams_of(ours[0], theirs[0], metric) if single else None)


def paired_p(differences: np.ndarray) -> float:
    """Two-sided p-value of a paired bootstrap: twice the smaller share of resamples on either side of zero.

    Args:
        differences: (resamples,). The observed sample counts as one resample more, so that p is never 0.
    """
    differences = differences[np.isfinite(differences)]
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(differences) + 1))


def williams(gold_a: float, gold_b: float, a_b: float, n: int) -> float | None:
    """Two-sided p-value that two correlations with the same variable are equal; None where it is undefined.

    Williams' t with n - 3 degrees of freedom (Williams 1959; recommended by Steiger 1980, equation 7).

    Args:
        gold_a: correlation of the gold scores with one model's. gold_b: with the other's. a_b: between the models.
        n: rows.
    """
    determinant = 1 - gold_a**2 - gold_b**2 - a_b**2 + 2 * gold_a * gold_b * a_b
    if n <= 3:
        return None
    under = 2 * (n - 1) / (n - 3) * determinant + ((gold_a + gold_b) / 2) ** 2 * (1 - a_b) ** 3
    if under <= 1e-15:
        return None  # the models order all rows alike
    t = (gold_a - gold_b) * math.sqrt((n - 1) * (1 + a_b) / under)
    return float(2 * scipy.stats.t.sf(abs(t), n - 3))


def _williams_of(ours: Measurement, theirs: Measurement, metric: Metric) -> float | None:
    if metric.statistic not in (statistics.spearman, statistics.pearson):
        return None
    a, gold = (ours.columns[name] for name in metric.columns)
    b = theirs.columns[theirs.main.columns[0]]
    one = np.ones((1, len(gold)))
    correlations = [float(metric.statistic(x, y, one)[0]) for x, y in ((a, gold), (b, gold), (a, b))]
    return williams(*correlations, len(gold)) if all(map(math.isfinite, correlations)) else None


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order (Holm 1979): each may be read against `ALPHA` as it is."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def _correct(cells: list[Cell]) -> None:
    """Holm's correction over all comparisons of a table, then the verdicts."""
    compared = [cell for cell in cells if cell.against is not None and cell.against.p is not None]
    corrected = holm([cell.against.p for cell in compared])
    for cell, p in zip(compared, corrected, strict=True):
        cell.against = _verdict(replace(cell.against, p_holm=p))
    for cell in cells:
        if cell.against is not None and cell.against.p is None:
            cell.against = replace(cell.against, verdict="undefined")


def _verdict(comparison: Comparison) -> Comparison:
    p = comparison.p if comparison.p_holm is None else comparison.p_holm
    value = comparison.difference.value
    if p is None or value is None:
        return replace(comparison, verdict="undefined")
    if p >= ALPHA:
        return replace(comparison, verdict="tie")
    return replace(comparison, verdict="win" if value > 0 else "worse")
