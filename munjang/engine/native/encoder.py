"""Outlines to encoders of the kernels: in float32, or with some products in eight bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from munjang.engine.native.kernels import instructions, module
from munjang.engine.native.outline import LINEAR, Outline
from munjang.engine.running import NonFiniteError
from munjang.errors import DataError

#: What is rounded: factors of each input channel, by (layer, part); a product that is not named stays in float32.
Rounding = Mapping[tuple[int, str], np.ndarray]


def build_encoder(outline: Outline, rounding: Rounding) -> Any:
    """An encoder of the kernels.

    Args:
        outline: of a model.
        rounding: which products are computed in eight bits, and what their inputs are multiplied with before.

    Raises:
        NonFiniteError: a weight is not finite.
    """
    parts = outline.embeddings
    order = ("words", "positions", "types", "gain", "bias")
    try:
        encoder = module().Encoder(
            *(parts[name] for name in order),
            heads=outline.heads,
            inner=outline.inner,
            position_offset=outline.position_offset,
            epsilon=outline.epsilon,
            kernels=instructions(),
        )
        for number, layer in enumerate(outline.layers):
            factors = [rounding.get((number, name)) for name in LINEAR]
            encoder.add_layer(
                [layer[name][0] for name in LINEAR],
                [layer[name][1] for name in LINEAR],
                [one for name in ("norm1", "norm2") for one in layer[name]],
                [[] if one is None else one.tolist() for one in factors],
                [one is not None for one in factors],
            )
    except ValueError as error:
        if "not finite" in str(error):
            raise NonFiniteError("the model holds weights that are not finite") from error
        raise
    return encoder


def run_encoder(
    encoder: Any,
    outline: Outline,
    ids: Sequence[np.ndarray],
    types: Sequence[np.ndarray] | None,
    threads: int,
    note: bool = False,
) -> np.ndarray:
    """Outputs of a model, float32 (texts, outputs).

    Args:
        encoder: see `build_encoder`. outline: what it was built from.
        ids: of each text. types: token types, as `ids`; None for all 0.
        threads: how many compute. note: keep what the inputs of products reach.

    Raises:
        DataError: a token that the model has no vector or no position for.
    """
    starts = np.zeros(len(ids) + 1, np.int64)
    np.cumsum([len(one) for one in ids], out=starts[1:])
    joined = np.concatenate(ids).astype(np.int32)
    # A model with one row of types has nothing to tell apart.
    told = types is not None and len(outline.embeddings["types"]) > 1
    kinds = np.concatenate(types).astype(np.int32) if told else np.zeros(0, np.int32)
    try:
        found = encoder.run(joined, kinds, starts, outline.pool, threads, note)
    except ValueError as error:
        raise DataError("the tokenizer does not belong to this model", got=str(error)) from error
    for step in outline.steps:
        found = step(found)
    return np.ascontiguousarray(found, np.float32)
