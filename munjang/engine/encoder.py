"""Bi-encoders: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from munjang.engine.running import EncodeCounts, run_inputs
from munjang.errors import DataError
from munjang.progress import Progress, silent
from munjang.text import is_blank, readable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from munjang.engine.backend import Backend

#: Names under which a model keeps the prompt for texts that are to be found; as in sentence-transformers.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class Encoder:
    """Runs a bi-encoder over many texts.

    Each distinct text is encoded once, in batches of similar length. Vectors are those of
    `SentenceTransformer.encode` with the same prompt, up to the rounding of another batch (1e-6). A text is made NFC
    first, a lone surrogate becomes U+FFFD; both are counted.

    Args:
        folder: a sentence-transformers folder; its safetensors only are read.
        device: such as `cpu` or `cuda`.
        budget: padded tokens a batch; by default 512 on a CPU and 16,384 elsewhere.

    Raises:
        DataError: the folder holds a cross-encoder.
    """

    def __init__(self, folder: Path | str, device: str = "cpu", budget: int | None = None) -> None:
        from sentence_transformers import SentenceTransformer

        from munjang.engine.loading import load_model

        self._take(load_model(SentenceTransformer, Path(folder), device), device, budget)
        self._backend = self._torch_backend()

    @classmethod
    def of(cls, model: SentenceTransformer, device: str = "cpu", budget: int | None = None) -> Encoder:
        """An encoder over a bi-encoder that is already in memory, whose weights may change between calls."""
        encoder = cls.__new__(cls)
        encoder._take(model, device, budget)
        encoder._backend = None
        return encoder

    def _take(self, model: SentenceTransformer, device: str, budget: int | None) -> None:
        self.model = model
        self.model.eval()
        self._device, self._budget = device, budget
        self._backend: Backend | None
        self.counts = EncodeCounts()
        #: Distinct texts of the latest `encode` of which the end was cut off.
        self.cut: set[str] = set()

    def _torch_backend(self) -> Backend:
        from munjang.engine.torch_backend import TorchBackend

        return TorchBackend(self.model, self._device, self._budget)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.model.get_embedding_dimension() or 0)

    def prompt(self, use: str = "similarity") -> str:
        """The model's own prompt for a use.

        Args:
            use: `similarity` (the model's default prompt), `query`, or `document`.
        """
        prompts = {k: v for k, v in self.model.prompts.items() if v}
        default = prompts.get(self.model.default_prompt_name or "", "")
        if use == "similarity":
            return default
        names = ("query",) if use == "query" else _DOCUMENT_PROMPTS
        return next((prompts[n] for n in names if n in prompts), default)

    def encode(self, texts: Sequence[str], use: str = "similarity", progress: Progress = silent) -> np.ndarray:
        """Encode texts.

        Args:
            texts: none of them blank.
            use: which of the model's prompts goes before each text; see `prompt`.
            progress: called with (texts done, texts in all) after each batch.

        Returns:
            float32 of shape (len(texts), dimension), in the order of `texts`.

        Raises:
            DataError: a text is blank. NonFiniteError: the model made a number that is not finite.
        """
        blank = next((i for i, text in enumerate(texts) if is_blank(text)), None)
        if blank is not None:
            raise DataError("a blank text has no vector", where=f"texts[{blank}]")
        position: dict[str, int] = {}
        rows = [position.setdefault(text, len(position)) for text in texts]
        shown = [readable(text) for text in position]
        ran = run_inputs(self._backend or self._torch_backend(), shown, self.prompt(use), progress)
        self.cut = {text for text, cut in zip(position, ran.truncated, strict=True) if cut}
        self.counts.inputs += len(texts)
        self.counts.distinct += len(position)
        self.counts.tokens += ran.tokens
        self.counts.truncated += int(ran.truncated[rows].sum()) if len(rows) else 0
        self.counts.repaired += sum(text != seen for text, seen in zip(position, shown, strict=True))
        return ran.outputs[rows] if len(position) < len(texts) else ran.outputs


def cosine_of_rows(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of each row of one matrix with the same row of another: shape (n,), in -1..1."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / np.maximum(norms, 1e-12)


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length, so that a dot product is a cosine."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
