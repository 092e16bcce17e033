"""Texts as a model of token vectors reads them: ids one after the other, without special tokens, padding or a limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from munjang.engine.features import Features
from munjang.engine.tokens import CHUNK


def is_bag(model: Any) -> bool:
    """True for a bi-encoder that averages vectors of tokens and has no transformer."""
    return isinstance(next(iter(model.children()), None), StaticEmbedding)


class Bags:
    """The token ids of many texts; stands where `munjang.engine.features.Features` does.

    Args:
        model: see `is_bag`.
        inputs: texts.
        prompt: goes before every text.
    """

    def __init__(self, model: SentenceTransformer, inputs: Sequence[str], prompt: str = "") -> None:
        self.model = model
        self.ids: list[np.ndarray] = []
        """Of each text, int64; a text of which the tokenizer leaves nothing has none, and its vector is 0."""
        self.truncated = np.zeros(len(inputs), bool)
        """True where the tokenizer's own settings cut the end off."""
        tokenizer = model.tokenizer
        tokenizer.no_padding()
        for start in range(0, len(inputs), CHUNK):
            part = [prompt + text for text in inputs[start : start + CHUNK]]
            encoded = tokenizer.encode_batch_fast(part, add_special_tokens=False)
            self.ids.extend(np.asarray(one.ids, np.int64) for one in encoded)
            self.truncated[start : start + len(part)] = [bool(one.overflowing) for one in encoded]
        self.lengths = [len(row) for row in self.ids]

    @property
    def used(self) -> np.ndarray:
        """Ids of all tokens that occur."""
        return np.unique(np.concatenate([*self.ids, np.empty(0, np.int64)]))

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, positions: Sequence[int]) -> dict[str, Any]:
        """Ids of some texts in one row, and where each text begins in it, on the model's device."""
        rows = [self.ids[i] for i in positions]
        offsets = np.cumsum([0, *map(len, rows[:-1])]) if rows else np.empty(0, np.int64)
        joined = {"input_ids": np.concatenate([*rows, np.empty(0, np.int64)]), "offsets": offsets}
        return {name: torch.from_numpy(value).to(self.model.device) for name, value in joined.items()}


def read_features(model: Any, inputs: Sequence, prompt: str = "") -> Features | Bags:
    """The inputs of a model, tokenised once, in the form that it reads.

    Args:
        model: a bi-encoder for texts, a cross-encoder for pairs.
        inputs: texts, or pairs of texts.
        prompt: goes before every text; for bi-encoders only.
    """
    return Bags(model, inputs, prompt) if is_bag(model) else Features(model, inputs, prompt)
