"""The sampler: every row once an epoch, within the budget, and the same order from the same seed."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from munjang.train.batches import RowSet, epoch_batches, token_budget

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=300)


@given(st.lists(lengths, min_size=1, max_size=3), st.integers(16, 4000), st.integers(0, 9), st.integers(0, 5))
def test_every_row_occurs_once_and_batches_fit(sets: list[list[int]], budget: int, seed: int, epoch: int) -> None:
    given_sets = [RowSet(one, texts=2) for one in sets]
    batches = epoch_batches(given_sets, budget, seed=seed, epoch=epoch)
    seen = [(number, row) for number, rows in batches for row in rows]
    assert sorted(seen) == [(number, row) for number, one in enumerate(sets) for row in range(len(one))]
    for number, rows in batches:
        cost = max(sets[number][row] for row in rows) * 2 * len(rows)
        # Two rows are the fewest that can be compared, and a single one that is left over joins two at most.
        assert cost <= budget or len(rows) <= 3
        assert len(rows) >= 2 or len(sets[number]) == 1


@given(lengths, st.integers(0, 99), st.integers(0, 9))
def test_the_order_is_a_function_of_seed_and_epoch(one: list[int], seed: int, epoch: int) -> None:
    sets = [RowSet(one, texts=2)]
    np.random.seed(epoch)  # what was drawn elsewhere does not count
    assert epoch_batches(sets, 500, seed=seed, epoch=epoch) == epoch_batches(sets, 500, seed=seed, epoch=epoch)


def test_other_seeds_and_epochs_give_other_orders() -> None:
    sets = [RowSet(list(range(1, 101)), texts=2)]
    orders = [str(epoch_batches(sets, 500, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


def test_a_single_row_after_whole_groups_joins_a_batch() -> None:
    for count in range(1, 200):
        batches = epoch_batches([RowSet([4] * count, texts=2)], 16, seed=0, epoch=0)
        assert min(len(rows) for _, rows in batches) >= min(2, count)


def test_similar_lengths_come_together() -> None:
    draw = np.random.default_rng(1)
    one = np.clip(draw.lognormal(3, 0.6, 4000), 3, 128).astype(int).tolist()
    budget = token_budget([RowSet(one, texts=2)], 32)
    batches = epoch_batches([RowSet(one, texts=2)], budget, seed=1, epoch=0)
    computed = sum(max(one[row] for row in rows) * len(rows) for _, rows in batches)
    assert sum(one) / computed > 0.9
    order = draw.permutation(4000)
    unsorted = sum(max(one[row] for row in order[i : i + 32]) * 32 for i in range(0, 4000, 32))
    assert sum(one) / unsorted < 0.5


def test_the_budget_holds_the_rows_that_were_asked_for() -> None:
    one = RowSet([10] * 640, texts=2)
    assert token_budget([one], 32) == 640
    assert {len(rows) for _, rows in epoch_batches([one], 640, seed=1, epoch=0)} == {32}


@given(lengths, st.integers(16, 400), st.integers(2, 9), st.integers(0, 9))
@example([1] * 13, 20, 8, 0)  # ten and three: the ten can spare two, which is not enough
def test_no_batch_is_smaller_than_asked_for(one: list[int], budget: int, smallest: int, seed: int) -> None:
    batches = epoch_batches([RowSet(one, texts=2)], budget, seed=seed, epoch=0, smallest=smallest)
    assert sorted(row for _, rows in batches for row in rows) == list(range(len(one)))
    assert min(len(rows) for _, rows in batches) >= min(smallest, len(one))
