"""How vectors are stored: exactly, in half precision, as bytes with a scale for each dimension, or as signs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from munjang.errors import DataError

#: Precision -> bytes a dimension.
PRECISIONS = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "binary": 0.125}
_LEVELS = 127


class Stored(NamedTuple):
    """Vectors in a precision."""

    values: np.ndarray
    """float32, float16 or int8 of shape (n, dimension), or uint8 of shape (n, ceil(dimension / 8))."""
    scale: np.ndarray | None
    """float32 (dimension,): what int8 is multiplied with; None for the others."""


def store(vectors: np.ndarray, precision: str) -> Stored:
    """Vectors in a precision.

    float16 is off by at most 2^-11 of a number (2^-25 near zero), int8 by half a step of its dimension's scale, which
    is the largest number of that dimension here / 127, so that nothing is clipped. binary keeps the signs alone, eight
    to a byte, the first dimension in the highest bit; zero counts as negative.

    Args:
        vectors: float32 (n, dimension), finite.
        precision: a key of `PRECISIONS`.

    Raises:
        DataError: a number is too large for float16.
    """
    if precision == "float32":
        return Stored(vectors.astype(np.float32, copy=False), None)
    if precision == "float16":
        largest = float(np.abs(vectors).max(initial=0))
        if largest > float(np.finfo(np.float16).max):
            raise DataError("these vectors do not fit into float16", expected="at most 65,504", got=f"{largest:,.0f}")
        return Stored(vectors.astype(np.float16), None)
    if precision == "int8":
        scale = np.abs(vectors).max(axis=0, initial=0).astype(np.float32) / np.float32(_LEVELS)
        steps = vectors / np.where(scale > 0, scale, np.float32(1))
        return Stored(np.clip(np.rint(steps), -_LEVELS, _LEVELS).astype(np.int8), scale)
    return Stored(np.packbits(vectors > 0, axis=1), None)


def restore(stored: Stored, precision: str, dimension: int) -> np.ndarray:
    """Vectors as float32 (n, dimension); of signs, vectors of length 1.

    Args:
        stored: what `store` gave.
        precision: in which.
        dimension: of the vectors; bytes of signs do not say where they end.
    """
    if precision == "int8" and stored.scale is not None:
        return stored.values.astype(np.float32) * stored.scale
    if precision == "binary":
        signs = np.unpackbits(stored.values, axis=1, count=dimension).astype(np.float32)
        return (2 * signs - 1) / np.float32(np.sqrt(dimension))
    return stored.values.astype(np.float32)
