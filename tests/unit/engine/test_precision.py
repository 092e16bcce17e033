"""Vectors in fewer bytes: the error is the stated one, and what cannot be stored is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from munjang.engine.precision import PRECISIONS, restore, store
from munjang.errors import DataError

SHAPES = st.tuples(st.integers(0, 5), st.integers(1, 20))
VECTORS = SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(-1000, 1000, width=32)))


@given(VECTORS, st.sampled_from(list(PRECISIONS)))
def test_what_is_restored_is_within_the_stated_error(vectors: np.ndarray, precision: str) -> None:
    stored = store(vectors, precision)
    found = restore(stored, precision, vectors.shape[1])
    assert found.shape == vectors.shape
    assert found.dtype == np.float32
    if precision == "binary":
        np.testing.assert_array_equal(found > 0, vectors > 0)
    elif precision == "int8":
        assert (np.abs(found - vectors) <= stored.scale * 0.5001 + 1e-30).all()
    else:
        relative = 2**-11 if precision == "float16" else 0
        assert (np.abs(found - vectors) <= np.abs(vectors) * relative + 2**-25 * (relative > 0)).all()


@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_a_row_takes_the_stated_bytes(precision: str) -> None:
    vectors = np.ones((3, 64), np.float32)
    assert store(vectors, precision).values.nbytes == 3 * 64 * PRECISIONS[precision]


def test_a_dimension_of_zeros_stays_zero() -> None:
    vectors = np.array([[0.0, 1.0], [0.0, -2.0]], np.float32)
    stored = store(vectors, "int8")
    assert stored.values.tolist() == [[0, 64], [0, -127]]
    assert restore(stored, "int8", 2)[:, 0].tolist() == [0, 0]


def test_what_half_precision_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match="do not fit into float16"):
        store(np.array([[1.0, 70_000.0]], np.float32), "float16")
