"""An evaluation as a table: labels in rows, sets in columns, estimates and comparisons in cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from munjang.evaluate.measurement import Measurement, Speed, Subject
from munjang.evaluate.statistics import RESAMPLES
from munjang.evaluate.tasks import Metric

#: Chance of calling a tie a difference, over all comparisons of an evaluation.
ALPHA = 0.05


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95% interval, all x 100; all None, with a reason, where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, float | str | None]:
        """The estimate as JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high, "reason": self.reason or None}

    @classmethod
    def of(cls, values: dict[str, Any]) -> Estimate:
        """An estimate back from its JSON values."""
        return cls(values["value"], values["low"], values["high"], values["reason"] or "")


@dataclass(frozen=True)
class Comparison:
    """A model against another on one set, unit by unit."""

    other: str
    metric: str
    difference: Estimate
    """The model's value minus the other's, x 100."""
    p: float | None
    """Two-sided p-value of the paired bootstrap: how often a resample sees no difference or the opposite one
    (Efron and Tibshirani 1993, chapter 15)."""
    p_williams: float | None
    """Of correlations: Williams' test of two dependent ones that share the gold scores (Steiger 1980, equation 7)."""
    p_holm: float | None = None
    """`p` after Holm's correction over all comparisons of the evaluation (Holm 1979)."""
    verdict: str = "tie"
    """`win`, `worse`, or `tie`: not told apart at `ALPHA` after the correction. `undefined` without a p-value."""

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "other": self.other,
            "metric": self.metric,
            "difference": self.difference.as_dict(),
            "p": self.p,
            "p_williams": self.p_williams,
            "p_holm": self.p_holm,
            "verdict": self.verdict,
        }


@dataclass
class Cell:
    """One label on one set: what is printed of its measurements."""

    label: str
    set: str
    measurements: list[Measurement]
    """One, or one a run."""
    estimates: dict[str, Estimate]
    """By metric, the main one first."""
    deviations: dict[str, float | None]
    """Standard deviation over the runs, x 100; None of a single one."""
    against: Comparison | None = None
    """The comparison with the baseline."""

    @property
    def first(self) -> Measurement:
        """The measurement of the first run."""
        return self.measurements[0]

    @property
    def main(self) -> Metric:
        """The metric that verdicts are about."""
        return self.first.main

    @property
    def estimate(self) -> Estimate:
        """Of the main metric."""
        return self.estimates[self.main.name]

    @property
    def contamination(self) -> dict[str, Any] | None:
        """What the run that has seen most of the set has seen of it; None where no run has a record."""
        known = [m.contamination for m in self.measurements if m.contamination is not None]
        return max(known, key=lambda seen: (seen["units"], seen["texts"]), default=None)

    def as_dict(self) -> dict[str, Any]:
        """The cell as JSON values, without its units."""
        first = self.first
        return {
            "model": self.label,
            "set": self.set,
            "task": first.task,
            "main": self.main.name,
            "units": first.units,
            "metrics": {name: estimate.as_dict() for name, estimate in self.estimates.items()},
            "runs": len(self.measurements),
            "deviations": self.deviations,
            "against": self.against.as_dict() if self.against else None,
            "truncated": sum(m.truncated for m in self.measurements),
            "contamination": self.contamination,
            "extra": {name: value for name, value in first.extra.items() if name != "map"},
        }


@dataclass
class Table:
    """An evaluation: labels in rows, sets in columns."""

    cells: list[Cell]
    baseline: str | None = None
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    """(label, set) -> why there is no cell."""

    @property
    def labels(self) -> list[str]:
        """Of the models, in the order in which they were named."""
        return list(dict.fromkeys([*(c.label for c in self.cells), *(label for label, _ in self.reasons)]))

    @property
    def sets(self) -> list[str]:
        """Names of the sets, in the order in which they were named."""
        return list(dict.fromkeys([*(c.set for c in self.cells), *(name for _, name in self.reasons)]))

    def cell(self, label: str, set_name: str) -> Cell | None:
        """The cell of a label and a set, or None where it could not be measured."""
        return next((c for c in self.cells if c.label == label and c.set == set_name), None)

    def subject(self, label: str) -> Subject | None:
        """What a label stands for; of several runs the first."""
        return next((c.first.subject for c in self.cells if c.label == label), None)

    def speed(self, label: str) -> Speed | None:
        """How fast a label is: on the set where it was measured over most units."""
        timed = [c.first for c in self.cells if c.label == label and c.first.speed is not None]
        return max(timed, key=lambda m: m.units).speed if timed else None

    def as_dict(self) -> dict[str, Any]:
        """The table as JSON values."""
        return {
            "baseline": self.baseline,
            "alpha": ALPHA,
            "resamples": RESAMPLES,
            "models": {label: self._model(label) for label in self.labels},
            "sets": {name: self._units(name) for name in self.sets},
            "cells": [cell.as_dict() for cell in self.cells],
            "missing": [{"model": m, "set": s, "reason": reason} for (m, s), reason in self.reasons.items()],
        }

    def _model(self, label: str) -> dict[str, Any]:
        subject, speed = self.subject(label), self.speed(label)
        if subject is None:
            return {}
        return {
            "kind": subject.kind,
            "fingerprint": subject.fingerprint,
            "parameters": subject.parameters,
            "megabytes": subject.megabytes,
            "dimension": subject.dimension,
            "speed": None if speed is None else vars(speed),
        }

    def _units(self, set_name: str) -> int | None:
        return next((c.first.units for c in self.cells if c.set == set_name), None)
