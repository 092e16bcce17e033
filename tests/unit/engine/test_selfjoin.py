"""Self-joins: what two loops in double precision find, however vectors lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from munjang.engine import selfjoin
from munjang.engine.native import neighbours as native
from munjang.engine.selfjoin import self_join
from munjang.engine.topk import top_k


@pytest.fixture(autouse=True, params=["native", "numpy"], scope="module")
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs with the native kernels, where they are built, and without them."""
    if request.param == "native" and native.module() is None:
        pytest.skip("munjang-native is not built here: pip install ./native")
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "numpy":
            patched.setattr(native, "module", lambda: None)
        patched.setattr(native, "_LEAST_QUERIES", 1)
        patched.setattr(native, "_LEAST_PRODUCTS", 1)
        yield request.param


def normalised(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def cloud(count: int, size: int, seed: int, kind: str) -> np.ndarray:
    """Vectors as models make them, and worse."""
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(count, size))
    if kind == "one direction":  # cosines of 0.7 to 1, as e5 gives them
        vectors = 0.4 * vectors + np.sqrt(size) * np.eye(1, size)
    elif kind == "clusters":
        centres = draw.normal(size=(5, size))
        vectors = centres[draw.integers(0, 5, count)] + 0.001 * vectors
    elif kind == "equal ones":
        vectors = vectors[draw.integers(0, max(count // 4, 1), count)]
    elif kind == "heavy":
        vectors = vectors**5
    elif kind == "zeros":
        vectors[draw.random(count) < 0.2] = 0
    return normalised(vectors)


KINDS = ("random", "one direction", "clusters", "equal ones", "heavy", "zeros")


def by_loops(vectors: np.ndarray, k: int) -> tuple[list[list[int]], list[list[float]]]:
    positions, scores = [], []
    for i, row in enumerate(vectors):
        # The order of a sum decides its last bits, and they decide a tie.
        exact = np.einsum("ij,j->i", vectors.astype(np.float64), row.astype(np.float64)).astype(np.float32)
        best = sorted((j for j in range(len(vectors)) if j != i), key=lambda j: (-exact[j], j))[:k]
        positions.append(best)
        scores.append([float(exact[j]) for j in best])
    return positions, scores


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding for small inputs too, over several tiles."""
    monkeypatch.setattr(selfjoin, "_LEAST_ROWS", 1)
    monkeypatch.setattr(selfjoin, "_ROWS", 24)
    monkeypatch.setattr(selfjoin, "_COLUMNS", 56)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(count=st.integers(2, 260), size=st.sampled_from([3, 8, 20, 64]), k=st.integers(1, 7), seed=st.integers(0, 10**6))
def test_the_result_is_that_of_two_loops(kind: str, count: int, size: int, k: int, seed: int) -> None:
    vectors = cloud(count, size, seed, kind)
    found = self_join(vectors, k)
    positions, scores = by_loops(vectors, k)
    assert found.positions.tolist() == positions
    assert found.scores.tolist() == scores


@pytest.mark.parametrize("kind", ["random", "one direction", "heavy"])
def test_rounding_is_used_and_gives_what_no_rounding_gives(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = cloud(6_000, 96, 3, kind)
    rounded = selfjoin._rounded(vectors)
    assert rounded is not None
    found = self_join(vectors, 5)
    given_up = [
        block
        for block in (0, 256)
        if selfjoin._by_rounding(vectors, rounded, np.arange(block, block + 256), np.arange(4_096), 5) is None
    ]
    assert given_up == []
    monkeypatch.setattr(selfjoin, "_LEAST_ROWS", 10**9)
    plain = self_join(vectors, 5)
    assert np.array_equal(found.positions, plain.positions)
    assert np.array_equal(found.scores, plain.scores)


def test_many_equal_vectors_are_looked_at_without_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfjoin, "_MOST_SURVIVORS", 100)
    vectors = cloud(4_200, 16, 1, "random")
    vectors[1_000:3_000] = vectors[0]
    rounded = selfjoin._rounded(vectors)
    assert selfjoin._by_rounding(vectors, rounded, np.arange(1_000, 1_256), np.arange(4_096), 3) is None
    found = self_join(vectors, 3)
    assert found.positions[0].tolist() == [1_000, 1_001, 1_002]
    assert found.positions[1_001].tolist() == [0, 1_000, 1_002]


@given(units=st.lists(st.integers(-127 * 127 * 15, 127 * 127 * 15), min_size=1, max_size=20))
def test_digits_are_the_number(units: list[int]) -> None:
    digits = selfjoin._digits(np.array(units)).astype(np.int64)
    assert (np.abs(digits) <= 127).all()
    assert (127 * digits[:, :-1].sum(axis=1) + digits[:, -1]).tolist() == units


@pytest.mark.parametrize(("count", "k"), [(0, 3), (1, 3), (2, 0), (3, 9)])
def test_few_vectors(count: int, k: int) -> None:
    found = self_join(cloud(count, 4, 1, "random"), k)
    assert found.positions.shape == found.scores.shape == (count, min(k, max(count - 1, 0)))


def test_progress_counts_rows(way: str) -> None:
    told: list[tuple[int, int]] = []
    self_join(cloud(600, 8, 1, "random"), 2, lambda done, total, note="": told.append((done, total)))
    every = [(128, 600), (256, 600), (384, 600), (512, 600), (600, 600)]
    assert told == (every if way == "numpy" else [(600, 600)])


def test_equal_scores_of_another_row_are_those_of_top_k() -> None:
    vectors = cloud(50, 8, 2, "equal ones")
    whole = top_k(vectors, vectors, 50)
    for i, (positions, everything) in enumerate(zip(self_join(vectors, 9).positions, whole.positions, strict=True)):
        assert positions.tolist() == [j for j in everything if j != i][:9]
