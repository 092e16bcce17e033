"""Batches for training: rows of similar length, as many as fit a budget of tokens, in an order that is derived.

The order is a pure function of (seed, epoch), so a training that was killed goes on with the very batches that an
unbroken one would have seen, and no state of a sampler has to be saved. Padding short sentences to the longest of
32 random ones wastes a third to a half of a step; sentence-transformers sorts by characters at most, and declined
batches by tokens (its pull requests 2571 and 3859).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Batches that are sorted by length together. Fewer leave more padding, more make a batch's rows more alike.
GROUP = 24


@dataclass(frozen=True)
class RowSet:
    """One data set as the sampler sees it.

    Args:
        lengths: tokens of the longest text of each row.
        texts: texts that a row shows to the model at once (2 for a pair, 3 for a triplet, 1 for a cross-encoder).
    """

    lengths: Sequence[int]
    texts: int


def token_budget(sets: Sequence[RowSet], rows_a_step: int) -> int:
    """The budget under which a batch holds `rows_a_step` rows of average length.

    Args:
        sets: all data sets of a training.
        rows_a_step: the batch size that a user thinks in.
    """
    tokens = sum(sum(map(int, one.lengths)) * one.texts for one in sets)
    rows = sum(len(one.lengths) for one in sets)
    return max(round(rows_a_step * tokens / max(rows, 1)), 1)


def epoch_batches(
    sets: Sequence[RowSet], budget: int, *, seed: int, epoch: int, smallest: int = 2
) -> list[tuple[int, list[int]]]:
    """All batches of one pass, in order.

    Rows are permuted, sorted by length within groups of some batches, cut where rows x longest x texts would exceed
    the budget, and the batches of all sets are shuffled together. A batch holds rows of one set only.

    Args:
        sets: data sets.
        budget: padded tokens a batch; a batch of `smallest` rows may exceed it.
        seed: of the training.
        epoch: from 0.
        smallest: rows that a batch needs at least; a rest of fewer takes some from the batch before it, or joins it.

    Returns:
        Pairs of (number of the set, positions of its rows). Every row occurs exactly once.
    """
    batches: list[tuple[int, list[int]]] = []
    for number, one in enumerate(sets):
        draw = np.random.default_rng([seed, epoch, number])
        batches += [(number, rows) for rows in _batches_of(one, budget, draw, smallest)]
    order = np.random.default_rng([seed, epoch, len(sets)]).permutation(len(batches))
    return [batches[i] for i in order]


def _batches_of(one: RowSet, budget: int, draw: np.random.Generator, smallest: int) -> list[list[int]]:
    lengths = np.maximum(np.asarray(one.lengths, np.int64), 1)
    order = draw.permutation(len(lengths))
    average = max(int(budget / max(lengths.mean() * one.texts, 1)), smallest) if len(lengths) else smallest
    batches: list[list[int]] = []
    for start in range(0, len(order), average * GROUP):
        group = order[start : start + average * GROUP]
        # Stable, so that rows of one length keep the drawn order.
        group = group[np.argsort(lengths[group], kind="stable")]
        batches += _cut(group.tolist(), lengths, one, budget, smallest)
        if len(batches) > 1 and len(batches[-1]) < smallest:
            # The longest of the batch before it, so that no short row is padded to the length of a long one.
            needed = smallest - len(batches[-1])
            if len(batches[-2]) - needed >= smallest:
                batches[-1] = batches[-2][-needed:] + batches[-1]
                batches[-2] = batches[-2][:-needed]
            else:
                rest = batches.pop()
                batches[-1] += rest
    return batches


def _cut(group: list[int], lengths: np.ndarray, one: RowSet, budget: int, smallest: int) -> list[list[int]]:
    """Cut rows that are sorted by length into batches."""
    batches: list[list[int]] = [[]]
    for row in group:
        batch = batches[-1]
        if len(batch) >= smallest and (len(batch) + 1) * int(lengths[row]) * one.texts > budget:
            batches.append([row])
        else:
            batch.append(row)
    return batches
