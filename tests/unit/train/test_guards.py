"""A collapse is seen in the spread of vectors or scores, and stops the training."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from munjang.errors import DataError
from munjang.train.guards import CollapseGuard, probe_positions, spread_of_scores, spread_of_vectors, uniformity


def directions(n: int = 64, noise: float = 1.0) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.ones(32) + noise * torch.randn(n, 32)


@given(st.integers(2, 40), st.floats(0.01, 10))
def test_spread_is_the_mean_of_1_minus_cosine_over_pairs(n: int, noise: float) -> None:
    vectors = directions(n, noise)
    units = torch.nn.functional.normalize(vectors.double(), dim=1)
    cosines = (units @ units.T)[~torch.eye(n, dtype=torch.bool)]
    assert spread_of_vectors(vectors) == pytest.approx(1 - cosines.mean().item(), abs=1e-9)


def test_uniformity_is_0_for_one_point_and_lower_for_more() -> None:
    assert uniformity(torch.ones(5, 4)) == pytest.approx(0)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(opposite) == pytest.approx(-8)
    assert uniformity(directions(noise=5.0)) < uniformity(directions(noise=0.1)) < 0


def test_spread_of_scores_is_their_deviation() -> None:
    assert spread_of_scores(torch.tensor([[0.0], [2.0]])) == pytest.approx(math.sqrt(2))
    assert spread_of_scores(torch.zeros(9, 3)) == 0


def test_a_collapse_stops_the_training_and_says_what_was_seen() -> None:
    now = [directions()]
    guard = CollapseGuard(lambda: now[0], spread_of_vectors, ["가", "나"])
    guard.look(0)
    now[0] = directions(noise=0.3)
    guard.look(25)
    now[0] = directions(noise=0.01)
    with pytest.raises(DataError, match="collapsed") as caught:
        guard.look(50)
    assert caught.value.where == "step 50"
    assert "가 | 나" in caught.value.got
    assert "learning_rate" in caught.value.hint
    assert [entry["step"] for entry in guard.history] == [0, 25, 50]
    assert all(entry["uniformity"] < 0 for entry in guard.history)


def test_a_model_that_starts_narrow_is_no_collapse() -> None:
    guard = CollapseGuard(lambda: directions(noise=0.02), spread_of_vectors)
    for step in (0, 25, 50):
        guard.look(step)
    assert guard.history[0]["spread"] < 1e-3


@given(st.integers(1, 500), st.integers(0, 2**32 - 1))
def test_probes_are_different_inputs_and_always_the_same(count: int, seed: int) -> None:
    found = probe_positions(count, seed)
    assert found == sorted(set(found)) == probe_positions(count, seed)
    assert len(found) == min(count, 64)
    assert set(found) <= set(range(count))
