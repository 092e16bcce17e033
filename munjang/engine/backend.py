"""What runs a model: a backend reads inputs into tokens and computes batches of them. Everything else is the same for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Tokenised(Protocol):
    """Inputs as a backend has read them."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each input, special ones included, after the cut at the maximum length."""

    @property
    def truncated(self) -> np.ndarray:
        """bool (inputs,): True where the end was cut off."""


class Backend(Protocol):
    """Runs one model. Calls of `run` may come from several threads at a time.

    A backend neither sorts, nor caches, nor takes inputs apart: `munjang.engine.running` does that for all of them.
    """

    name: str
    """Such as `torch`."""
    identity: str
    """What runs the model, as far as outputs depend on it beyond the rounding of another batch: such as `torch-float32`, or
    `torch-float32-cuda`. Outputs are kept under it."""
    note: str
    """What a user should know of this choice, such as why nothing faster runs the model; mostly empty."""
    outputs: int
    """Numbers an input: the dimension of a bi-encoder's vectors, a cross-encoder's classes."""
    threads: int
    """How many batches to compute at a time."""
    budget: int
    """Tokens a batch, padding included."""

    def ready(self) -> Backend:
        """What to run a call with: itself, or a backend over the weights as they are now."""

    def read(self, inputs: Sequence, prompt: str) -> Tokenised:
        """Tokenise texts, each after the prompt, or pairs."""

    def run(self, read: Tokenised, positions: Sequence[int]) -> np.ndarray:
        """Compute some of the inputs.

        Args:
            read: what `read` gave.
            positions: into the inputs.

        Returns:
            float32 (len(positions), outputs): vectors, or logits before any activation.
        """
