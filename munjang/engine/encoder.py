"""Bi-encoders: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from munjang.engine.batches import CPU_BUDGET, GPU_BUDGET, token_batches
from munjang.engine.loading import load_model
from munjang.errors import DataError
from munjang.progress import Progress, silent
from munjang.text import is_blank

#: Names under which a model keeps the prompt for texts that are to be found; as in sentence-transformers.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class NonFiniteError(DataError):
    """A model made vectors or scores that are not finite; there is nothing to be done with it."""


@dataclass
class EncodeCounts:
    """What an encoder or a scorer has done so far."""

    inputs: int = 0
    distinct: int = 0
    tokens: int = 0
    truncated: int = 0
    """Inputs of which the end was cut off because they exceed the model's maximum length."""


class Encoder:
    """Runs a bi-encoder over many texts.

    Each distinct text is encoded once, in batches of similar length. Vectors are those of
    `SentenceTransformer.encode` with the same prompt, up to the rounding of another batch (1e-6).

    Args:
        folder: a sentence-transformers folder; its safetensors only are read.
        device: such as `cpu` or `cuda`.
        budget: padded tokens a batch; by default 512 on a CPU and 16,384 elsewhere.

    Raises:
        DataError: the folder holds a cross-encoder.
    """

    def __init__(self, folder: Path | str, device: str = "cpu", budget: int | None = None) -> None:
        self._take(load_model(SentenceTransformer, Path(folder), device), device, budget)

    @classmethod
    def of(cls, model: SentenceTransformer, device: str = "cpu", budget: int | None = None) -> Encoder:
        """An encoder over a bi-encoder that is already in memory."""
        encoder = cls.__new__(cls)
        encoder._take(model, device, budget)
        return encoder

    def _take(self, model: SentenceTransformer, device: str, budget: int | None) -> None:
        self.model = model
        self.model.eval()
        self.budget = budget or (CPU_BUDGET if device == "cpu" else GPU_BUDGET)
        self.counts = EncodeCounts()
        #: Distinct texts of the latest `encode` of which the end was cut off.
        self.cut: set[str] = set()

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
        distinct = list(dict.fromkeys(texts))
        blank = next((i for i, text in enumerate(texts) if is_blank(text)), None)
        if blank is not None:
            raise DataError("a blank text has no vector", where=f"texts[{blank}]")
        prompt = self.prompt(use)
        lengths = count_tokens(self.model, [prompt + text for text in distinct])
        limit = self.model.get_max_seq_length() or max(lengths, default=0)
        vectors = np.empty((len(distinct), self.dimension), np.float32)
        done = 0
        for batch in token_batches([min(n, limit) for n in lengths], self.budget):
            vectors[batch] = self._forward([distinct[i] for i in batch], prompt)
            done += len(batch)
            progress(done, len(distinct))
        if not np.isfinite(vectors).all():
            raise NonFiniteError("the model made vectors with numbers that are not finite")
        self._count(texts, distinct, lengths, limit)
        position = {text: i for i, text in enumerate(distinct)}
        return vectors[[position[text] for text in texts]] if len(distinct) < len(texts) else vectors

    @torch.inference_mode()
    def _forward(self, texts: list[str], prompt: str) -> np.ndarray:
        features = self.model.preprocess(texts, prompt=prompt or None)
        features = {k: v.to(self.model.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        return self.model(features)["sentence_embedding"].float().cpu().numpy()

    def _count(self, texts: Sequence[str], distinct: list[str], lengths: list[int], limit: int) -> None:
        over = self.cut = {text for text, n in zip(distinct, lengths, strict=True) if n > limit}
        self.counts.inputs += len(texts)
        self.counts.distinct += len(distinct)
        self.counts.tokens += sum(min(n, limit) for n in lengths)
        self.counts.truncated += sum(text in over for text in texts) if over else 0


def count_tokens(model: torch.nn.Module, texts: list) -> list[int]:
    """Tokens of each text or pair before any truncation, special tokens included."""
    if not texts:
        return []
    columns = [list(column) for column in zip(*texts, strict=True)] if not isinstance(texts[0], str) else [texts]
    encoded = model.tokenizer(
        *columns,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [len(ids) for ids in encoded["input_ids"]]


def cosine_of_rows(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of each row of one matrix with the same row of another: shape (n,), in -1..1."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ij,ij->i", left, right) / np.maximum(norms, 1e-12)


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length, so that a dot product is a cosine."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
