"""Minutes become passes over the data, the same for every student's share of the time."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.distill.budget import LEAST_STEPS, Probe, epochs_within, probe
from munjang.errors import ConfigError, DataError

#: 3,200 rows are 100 steps; a pass of the whole model takes 3 x 60,000 / 1,000 = 180 seconds.
COST = Probe(3_200, 60_000, 1_000)
SHARES = [1.0, 0.5, 0.25]


def test_the_budget_is_shared_equally_and_a_step_is_three_forward_passes() -> None:
    assert COST.seconds(0.5) == 90
    # Three minutes for each: a pass of the whole, two of the half; the quarter would get four.
    assert epochs_within(9, COST, SHARES, 3.0) == [1.0, 2.0, 3.0]
    assert epochs_within(9, COST, SHARES, 10.0) == [1.0, 2.0, 4.0]


def test_a_budget_that_is_too_small_names_the_least_which_suffices() -> None:
    with pytest.raises(ConfigError, match="too small for 20 steps") as raised:
        epochs_within(1, COST, SHARES, 3.0)
    # A fifth of a pass of the whole takes 36 seconds, for each of the three.
    assert (raised.value.expected, raised.value.got) == ("at least 1.8", "1")
    assert "budget_minutes = 1" in str(raised.value)
    assert min(epochs_within(1.8, COST, SHARES, 3.0)) == LEAST_STEPS / 100


def test_too_few_rows_are_no_matter_of_the_budget() -> None:
    with pytest.raises(DataError, match="2 passes over them are fewer than 20 steps") as raised:
        epochs_within(1e6, Probe(300, 6_000, 1_000), SHARES, 2.0)
    assert (raised.value.expected, raised.value.got) == ("at least 320 rows", "300")
    assert "epochs = 3" in str(raised.value.hint)


@given(
    st.integers(640, 10**6),
    st.floats(10, 1e7),
    st.floats(1, 1e6),
    st.lists(st.floats(0.05, 1), min_size=1, max_size=6),
    st.floats(0.01, 1e4),
    st.floats(1, 10),
)
def test_no_student_costs_more_than_its_share_or_gets_too_few_steps(
    rows: int, tokens: float, speed: float, shares: list[float], minutes: float, most: float
) -> None:
    cost = Probe(rows, tokens, speed)
    try:
        found = epochs_within(minutes, cost, shares, most)
    except ConfigError as error:
        least = float(str(error.expected).removeprefix("at least "))
        assert least > minutes * 0.999
        found, minutes = epochs_within(least, cost, shares, most), least
    for epochs, share in zip(found, shares, strict=True):
        assert 0 < epochs <= most
        assert epochs * cost.seconds(share) <= 60 * minutes / len(shares) * 1.0001
        assert math.ceil(round(epochs * rows / 32 * 1.001, 6)) >= LEAST_STEPS
    by_share = sorted(zip(shares, found, strict=True))
    assert all(one[1] >= other[1] for one, other in pairwise(by_share))


def test_the_probe_counts_every_text_of_a_pass(tiny_bi: Path) -> None:
    examples = [("환불은 언제 되나요?", "배송이 늦어요"), ("결제가 안 돼요", "쿠폰을 쓰고 싶어요")] * 200
    found = probe(tiny_bi, "cpu", examples)
    assert found.rows == 400
    assert found.tokens_per_second > 0
    # The prompt, the frame and each letter: between 10 and 30 tokens for each of 800 texts.
    assert 8_000 < found.tokens < 24_000
