"""A model whose vectors are digests of its texts: as fast as reading, the same in every process, and no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from munjang.engine.running import EncodeCounts
from munjang.progress import silent

DIMENSION = 16


def vector(text: str) -> list[float]:
    """The vector of one text: numbers in -1..1."""
    return [(byte - 127.5) / 127.5 for byte in hashlib.blake2b(text.encode(), digest_size=DIMENSION).digest()]


class StubModel:
    """Stands for `munjang.engine.encoder.Encoder`; a text of more than 1,000 characters counts as truncated."""

    dimension = DIMENSION
    backend = SimpleNamespace(name="stub", note="")

    def __init__(self) -> None:
        self.counts = EncodeCounts()
        self.texts: list[str] = []

    def encode(self, texts: Sequence[Any], use: str = "similarity", progress: Any = silent) -> np.ndarray:
        self.texts += texts
        self.counts.inputs += len(texts)
        self.counts.tokens += sum(map(len, texts))
        self.counts.truncated += sum(len(text) > 1000 for text in texts)
        progress(len(texts), len(texts), "9 tokens/s")
        return np.array([vector(text) for text in texts], np.float32)

    def prompt(self, use: str) -> str:
        return f"{use}: "
