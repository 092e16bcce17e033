"""What the loop asks of a training's subject: a model, its rows, and their loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from munjang.train.batches import RowSet
from munjang.train.guards import CollapseGuard
from munjang.train.team import Team


class StepLoss(NamedTuple):
    """The loss of one batch."""

    loss: Tensor
    tokens: int
    """Of the whole batch."""
    computed: int
    """With padding; over a team, estimated from this process's share."""
    partial: bool = False
    """True where the loss is that of this process's share, to be added up over the team."""


class Task(Protocol):
    """What is trained."""

    model: nn.Module
    trainable: nn.Module
    """The model, and the heads that are trained along and thrown away."""
    sets: list[RowSet]
    used_tokens: Sequence[int]
    """Ids of all tokens of the training rows."""
    whole_gradients: set[int]
    """Ids of parameters whose gradient each process of a team computes as a whole."""
    team: Team

    def loss(self, number: int, rows: list[int]) -> StepLoss:
        """The loss of some rows of a set."""

    def guard(self, seed: int) -> CollapseGuard:
        """What is watched for a collapse."""

    def describe(self, number: int, row: int) -> str:
        """A row for an error message."""
