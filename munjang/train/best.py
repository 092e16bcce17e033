"""What a training reports, and the weights that were best on dev."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from munjang.errors import DataError
from munjang.train.examples import TrainRows, rows_unused
from munjang.train.team import Team


@dataclass
class TrainReport:
    """What a training did; written beside the model."""

    rows: int
    """Distinct training rows."""
    unused: int = 0
    """Rows among them that the objective has no use for, such as neutral ones where NLI becomes triplets."""
    excluded: int = 0
    """Rows left out because they share a sentence with a set held out."""
    objectives: dict[str, str] = field(default_factory=dict)
    """The objective of each data set."""
    head: str = ""
    """Of a cross-encoder: where its head came from."""
    seed: int | None = None
    steps: int = 0
    truncated: int = 0
    reads_whole: bool = False
    """True where the model has no limit on the length of a text."""
    dev_metric: str = "Spearman x 100"
    dev_before: float | None = None
    """Dev score of the start; of a new head it says nothing, so that it is no candidate for the best then."""
    dev_best: float | None = None
    dev_parts_before: dict[str, float | None] = field(default_factory=dict)
    """What else dev measured of the start, such as each of several sets, and how near it is to its teacher."""
    dev_parts: dict[str, float | None] = field(default_factory=dict)
    """The same of the best weights."""
    best_step: int = 0
    regressed: bool = False
    """True if nothing beat the start on dev, so that its weights were kept."""
    curve: list[dict[str, float | None]] = field(default_factory=list)
    """Dev score by step; None where it was undefined."""
    losses: list[dict[str, float]] = field(default_factory=list)
    """Mean loss by step, about 40 times a training."""
    tokens: int = 0
    """Tokens that the steps have read, padding not counted."""
    padding: float = 0.0
    """Share of the computed tokens that was padding."""
    spread: list[dict[str, float]] = field(default_factory=list)
    """Spread (and for vectors uniformity) of some outputs by step; see `munjang.train.guards`."""
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, sets: Sequence[TrainRows]) -> TrainReport:
        """An empty report of a training on some sets."""
        names = [one.name for one in sets]
        told = [n if names.count(n) == 1 else f"{n} (set {i})" for i, n in enumerate(names, 1)]
        return cls(
            rows=sum(len(set(one.rows)) for one in sets),
            unused=sum(map(rows_unused, sets)),
            objectives={name: one.objective.name for name, one in zip(told, sets, strict=True)},
        )

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return dict(self.__dict__)


class BestWeights:
    """Scores dev, keeps the best weights and an average of them, and reports.

    Memory is one copy of the weights that are trained, two with an average.

    Args:
        model: the module under training.
        score: returns dev's score of the model as it is, higher is better, or None where it is undefined.
        report: filled as training goes.
        ema: decay of an exponential moving average of the weights; if not 0, that average is what dev scores.
        team: the first process scores, and tells the others.
        parts: what the last score was made of.
    """

    def __init__(
        self,
        model: nn.Module,
        score: Callable[[], float | None],
        report: TrainReport,
        *,
        ema: float = 0.0,
        team: Team | None = None,
        parts: Callable[[], dict[str, float | None]] = dict,
    ) -> None:
        self.model, self.report, self.ema, self.parts = model, report, ema, parts
        self.team = team or Team()
        self.score = lambda: self.team.agree(score() if self.team.leads else None)
        self.average: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}

    def begin(self, *, keep: bool) -> None:
        """Score the weights that the training starts from; keep them unless a head starts from random numbers."""
        self.report.dev_before = self.score()
        self.report.dev_parts_before = self.parts()
        if keep:
            self._offer(self.report.dev_before, 0)

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights that are trained, by name."""
        return ((name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad)

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the weights after a step; in the first steps it is their plain mean."""
        if not self.ema:
            return
        share = 1 - min(self.ema, (step - 1) / step)
        for name, parameter in self.trained():
            if name in self.average:
                self.average[name].lerp_(parameter.detach(), share)
            else:
                self.average[name] = parameter.detach().clone()

    def evaluate(self, step: int) -> None:
        """Score dev and keep the weights if nothing was better before."""
        with self._averaged():
            value = self.score()
            self.report.curve.append({"step": step, "dev": value})
            self._offer(value, step)

    def _offer(self, value: float | None, step: int) -> None:
        if value is None or (self.report.dev_best is not None and value <= self.report.dev_best):
            return
        self.report.dev_best, self.report.best_step = value, step
        self.report.dev_parts = self.parts()
        self.best = {name: parameter.detach().to("cpu", copy=True) for name, parameter in self.trained()}

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with its averaged weights, for as long as it is scored."""
        own = {name: parameter.data for name, parameter in self.trained()} if self.ema else {}
        for name, parameter in self.trained():
            parameter.data = self.average.get(name, parameter.data)
        try:
            yield
        finally:
            for name, parameter in self.trained():
                parameter.data = own.get(name, parameter.data)

    def restore(self) -> None:
        """Put the best weights back into the model.

        Raises:
            DataError: dev could never be scored, so that there is no best.
        """
        if not self.best:
            raise DataError(
                "dev could not be scored: its scores, or the model's, are all equal",
                hint="use a dev set with different scores",
            )
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self.best:
                    parameter.copy_(self.best[name])
