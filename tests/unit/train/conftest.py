"""Options and rows for trainings of a few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import ScoredPair
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions

_FEW_STEPS = {
    "name": "m",
    "model": "m",
    "train": ["t"],
    "dev": "d",
    "batch_size": 8,
    "evaluations": 2,
    "max_length": 64,
    "word_embeddings": "frozen",
}


@pytest.fixture(scope="session")
def make_options() -> Callable[..., TrainOptions]:
    """Options of a training of a few steps, of a bi-encoder unless told otherwise."""

    def make(kind: type[TrainOptions] = TrainBiOptions, **values: Any) -> TrainOptions:
        orders = {"orders": "given"} if kind is TrainCrossOptions else {}
        return kind(**{**_FEW_STEPS, "learning_rate": 1e-3, **orders, **values})

    return make


@pytest.fixture(scope="session")
def rows() -> list[ScoredPair]:
    """32 pairs of the sample: five steps."""
    return load_rows(DataSpec(source="support:train"), ("scored-pairs",), Path()).rows[:32]


@pytest.fixture(scope="session")
def dev() -> list[ScoredPair]:
    """30 other pairs."""
    return load_rows(DataSpec(source="support:dev"), ("scored-pairs",), Path()).rows[:30]
