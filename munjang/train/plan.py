"""All batches of a training in order, as its seed decides them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from munjang.files import canonical_json, digest_bytes
from munjang.train.batches import RowSet, epoch_batches, token_budget
from munjang.train.options import TrainOptions


@dataclass(frozen=True)
class Plan:
    """Batches, as (number of the set, positions of its rows), and how many of them make a step."""

    batches: list[tuple[int, list[int]]]
    accumulate: int

    @property
    def steps(self) -> int:
        """Updates of the weights."""
        return math.ceil(len(self.batches) / self.accumulate)

    def of_step(self, step: int) -> list[tuple[int, list[int]]]:
        """The batches of a step, counted from 0."""
        return self.batches[step * self.accumulate : (step + 1) * self.accumulate]

    def digest(self) -> str:
        """Of all batches, so that a checkpoint is not taken for one of another order."""
        return digest_bytes(canonical_json([self.batches, self.accumulate]).encode())

    def evaluated_at(self, evaluations: int) -> set[int]:
        """After which steps dev is scored: evenly, and after the last."""
        return {max(round(self.steps * i / evaluations), 1) for i in range(1, evaluations + 1)}


def make_plan(sets: Sequence[RowSet], options: TrainOptions, seed: int, smallest: int = 2) -> Plan:
    """Derive every batch from the rows' lengths, the options and the seed.

    A fraction of an epoch is that share of its batches.

    Args:
        sets: the data sets of the training.
        options: epochs, batch size or budget, accumulation.
        seed: of the order.
        smallest: rows that a batch needs at least.
    """
    budget = options.batch_tokens or token_budget(sets, options.batch_size)
    batches: list[tuple[int, list[int]]] = []
    for epoch in range(math.ceil(options.epochs)):
        once = epoch_batches(sets, budget, seed=seed, epoch=epoch, smallest=smallest)
        share = min(options.epochs - epoch, 1)
        batches += once[: max(math.ceil(round(len(once) * share, 6)), 1)]
    return Plan(batches, options.accumulate)
