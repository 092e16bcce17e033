"""Batches: every text once, longest first, never more padded tokens than the budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.engine.batches import CPU_BUDGET, GPU_BUDGET, token_batches

LENGTHS = st.lists(st.integers(0, 600), max_size=120)


@given(lengths=LENGTHS, budget=st.integers(1, 5000))
def test_batches_hold_every_position_once(lengths: list[int], budget: int) -> None:
    batches = list(token_batches(lengths, budget))
    assert all(len(batch) for batch in batches)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))


@given(lengths=LENGTHS, budget=st.integers(1, 5000))
def test_padded_tokens_stay_within_the_budget(lengths: list[int], budget: int) -> None:
    for batch in token_batches(lengths, budget):
        longest = max(lengths[i] for i in batch)
        assert len(batch) * longest <= budget or len(batch) == 1


@given(lengths=LENGTHS, budget=st.integers(1, 5000))
def test_no_batch_could_take_the_next_text_as_well(lengths: list[int], budget: int) -> None:
    batches = list(token_batches(lengths, budget))
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(max(lengths[i] for i in batch), 1) > budget


@given(lengths=LENGTHS, budget=st.integers(1, 5000))
def test_texts_come_longest_first_and_equal_ones_in_order(lengths: list[int], budget: int) -> None:
    order = [int(i) for batch in token_batches(lengths, budget) for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def test_batches_by_hand() -> None:
    batches = [batch.tolist() for batch in token_batches([3, 9, 4, 4, 1, 2], 10)]
    assert batches == [[1], [2, 3], [0, 5, 4]]


def test_no_texts_make_no_batch() -> None:
    assert list(token_batches([], 10)) == []
    assert list(token_batches(np.array([], np.int64), 10)) == []


def test_padding_is_a_small_part_of_real_lengths() -> None:
    lengths = np.random.default_rng(0).lognormal(3, 0.6, 5000).astype(int) + 2
    padded = sum(len(batch) * lengths[batch].max() for batch in token_batches(lengths, CPU_BUDGET))
    assert padded / lengths.sum() < 1.05
    in_order = sum(32 * lengths[start : start + 32].max() for start in range(0, 5000, 32))
    assert padded < 0.6 * in_order


@pytest.mark.parametrize("budget", [CPU_BUDGET, GPU_BUDGET])
def test_the_budgets_hold_a_text_of_the_longest_model(budget: int) -> None:
    assert budget >= 512
