"""The kernels as a backend: texts without padding, in float32 or in eight bits; torch is not loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from munjang.engine.certificate import Certificate
from munjang.engine.native.encoder import Rounding, build_encoder, run_encoder
from munjang.engine.native.kernels import instructions, release, threads
from munjang.engine.native.outline import Outline
from munjang.engine.tokens import Tokens, load_tokenizer
from munjang.models.settings import transformer_folder

#: Tokens a batch. The kernels share one out among the cores by themselves, some hundred tokens at a time.
BUDGET = 16_384


class NativeBackend:
    """A model in the kernels.

    Args:
        folder: of the model, whose tokenizer is read.
        outline: of the model.
        certificate: says how the model reads, and what it was measured to be.
        rounding: see `munjang.engine.native.encoder`; empty for float32.
        budget: tokens a batch; bounds memory only.
    """

    def __init__(
        self,
        folder: Path,
        outline: Outline,
        certificate: Certificate,
        rounding: Rounding | None = None,
        budget: int | None = None,
        digest: str = "",
    ) -> None:
        self.name = f"native-{certificate.precision}"
        self.identity = f"{self.name} {release()} {instructions()} {digest}".rstrip()
        self.note = ""
        self.outputs = certificate.outputs
        self.budget = budget or BUDGET
        self.threads = 1
        self._certificate, self._outline = certificate, outline
        self._tokenizer = load_tokenizer(transformer_folder(folder))
        self._encoder = build_encoder(outline, rounding or {})

    def ready(self) -> NativeBackend:
        """Itself: its weights do not change."""
        return self

    def read(self, inputs: Sequence, prompt: str = "") -> Tokens:
        """Tokenise texts or pairs."""
        return Tokens(self._tokenizer, self._certificate.limit, inputs, prompt)

    def run(self, read: Tokens, positions: Sequence[int]) -> np.ndarray:
        """Vectors or logits, float32 (len(positions), outputs)."""
        types = [read.types[i] for i in positions] if self._certificate.types else None
        return run_encoder(self._encoder, self._outline, [read.ids[i] for i in positions], types, threads())
