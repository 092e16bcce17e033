"""A measurement: what one model did on one set, unit by unit, so that any later comparison is paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from munjang.evaluate.tasks import TASKS, Metric


@dataclass(frozen=True)
class Subject:
    """A model that is measured, and what is said of it beside its figures."""

    label: str
    kind: str
    """`bi-encoder`, `cross-encoder`, or `retrieve+rerank`."""
    fingerprint: str
    """Digest of the folder, or of both."""
    parameters: int | None = None
    megabytes: float | None = None
    """Of the weights on disk."""
    dimension: int | None = None
    """Length of a vector; None of a cross-encoder."""


@dataclass(frozen=True)
class Speed:
    """How fast a model was, measured while it did the work."""

    per_second: float
    """Texts of a bi-encoder, pairs of a cross-encoder, queries of both together."""
    p50_ms: float | None
    """Median time for a single text or pair, in milliseconds."""
    unit: str


@dataclass
class Measurement:
    """One model on one set."""

    subject: Subject
    set: str
    """The set's name, as it was asked for."""
    set_fingerprint: str
    task: str
    columns: dict[str, np.ndarray]
    """What the task's metrics take: (units,) each."""
    texts: Sequence[tuple[str, ...]] = ()
    """What each unit is about, for people: the pair, the query, the text."""
    metrics: tuple[Metric, ...] = ()
    """In order, the main one first."""
    truncated: int = 0
    """Inputs that were cut at the model's maximum length."""
    speed: Speed | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Further facts of the task as JSON values, such as the threshold of the best F1."""
    contamination: dict[str, Any] | None = None
    """Units whose texts the model was trained on, by its own record; None where it has none."""

    def __post_init__(self) -> None:
        if not self.metrics:
            self.metrics = TASKS[self.task].metrics(self.subject.kind)

    @property
    def main(self) -> Metric:
        """The metric that verdicts are about."""
        return self.metrics[0]

    @property
    def units(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class Unmeasured:
    """One model on one set, and why there is no measurement."""

    subject: Subject
    set: str
    task: str
    reason: str
    """Such as that a cross-encoder has no vectors to cluster."""
