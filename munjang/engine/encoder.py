"""Bi-encoders: texts in, vectors out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from munjang.engine.cache import ModelCache, run_cached
from munjang.engine.choosing import open_backend
from munjang.engine.running import EncodeCounts
from munjang.errors import ConfigError, DataError
from munjang.models.settings import default_prompt, prompts_of
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
        backend: `torch`, the reference; the name of an export that lies beside the model, such as `openvino-int8`; or
            `auto`, the fastest export whose certificate holds, else torch. See `munjang.engine.choosing`.
        dimension: of the vectors, if they are to be cut as Matryoshka models allow; what is left has length 1 again
            where the model's own vectors have it.
        cache: look vectors up in the user's cache of outputs and keep there what is computed; see
            `munjang.engine.cache`. Off by default: what is computed for a library's caller or for a query of a search
            leaves nothing on the disk, and a measured time is one of computing. Verbs over many texts turn it on.

    Raises:
        DataError: the folder holds a cross-encoder. ConfigError: `dimension` exceeds the model's.
        MissingInputError: there is no such export. UnavailableError: its library is not installed.
    """

    def __init__(
        self,
        folder: Path | str,
        device: str = "cpu",
        budget: int | None = None,
        *,
        backend: str = "torch",
        dimension: int | None = None,
        cache: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.backend: Backend = open_backend(self.folder, "bi-encoder", device, budget, backend)
        self._cache = ModelCache(self.folder, self.backend.identity, "vectors", self.backend.outputs) if cache else None
        self._take(prompts_of(self.folder), default_prompt(self.folder), dimension)

    @classmethod
    def of(cls, model: SentenceTransformer, device: str = "cpu", budget: int | None = None) -> Encoder:
        """An encoder over a bi-encoder that is already in memory, whose weights may change between calls: no cache."""
        from munjang.engine.torch_backend import TorchBackend

        encoder = cls.__new__(cls)
        encoder.backend, encoder._cache = TorchBackend.over(model, device, budget), None
        prompts = {name: prompt for name, prompt in model.prompts.items() if prompt}
        encoder._take(prompts, prompts.get(model.default_prompt_name or "", ""), None)
        return encoder

    def _take(self, prompts: dict[str, str], default: str, dimension: int | None) -> None:
        self._prompts, self._default, self._cut = prompts, default, dimension
        whole = self.backend.outputs
        if dimension is not None and not 1 <= dimension <= whole:
            raise ConfigError(
                "the vectors have fewer dimensions", where="dimension", expected=f"1 to {whole}", got=str(dimension)
            )
        self.counts = EncodeCounts()
        #: Distinct texts of the latest `encode` of which the end was cut off.
        self.cut: set[str] = set()

    @property
    def model(self) -> SentenceTransformer:
        """The model in memory; only torch has one. It may be changed from here on, so nothing is cached from here on."""
        self._cache = None
        return self.backend.model

    def uncached(self) -> Encoder:
        """The same encoder without the cache and with counts of its own, for times of computing."""
        other = copy.copy(self)
        other._cache, other.counts, other.cut = None, EncodeCounts(), set()
        return other

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._cut or self.backend.outputs

    def prompt(self, use: str = "similarity") -> str:
        """The model's own prompt for a use.

        Args:
            use: `similarity` (the model's default prompt), `query`, or `document`.
        """
        if use == "similarity":
            return self._default
        names = ("query",) if use == "query" else _DOCUMENT_PROMPTS
        return next((self._prompts[n] for n in names if n in self._prompts), self._default)

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
        ran = run_cached(self._cache, self.backend.ready, shown, self.prompt(use), progress)
        self.cut = {text for text, cut in zip(position, ran.truncated, strict=True) if cut}
        self.counts.add(ran, len(texts))
        self.counts.truncated += int(ran.truncated[rows].sum()) if len(rows) else 0
        self.counts.repaired += sum(text != seen for text, seen in zip(position, shown, strict=True))
        vectors = shortened(ran.outputs, self.dimension)
        return vectors[rows] if len(position) < len(texts) else vectors


def shortened(vectors: np.ndarray, dimension: int) -> np.ndarray:
    """The first numbers of each vector, as Matryoshka models allow; of length 1 where the whole vectors are.

    Args:
        vectors: float32 (n, d).
        dimension: at most d.

    Returns:
        float32 (n, dimension).
    """
    if dimension == vectors.shape[1]:
        return vectors
    of_one = len(vectors) > 0 and bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3))
    kept = np.ascontiguousarray(vectors[:, :dimension])
    return normalise(kept) if of_one else kept


def cosine_of_rows(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of each row of one matrix with the same row of another: shape (n,), in -1..1."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / np.maximum(norms, 1e-12)


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length, so that a dot product is a cosine."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
