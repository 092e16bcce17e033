"""Texts or pairs as a model reads them: tokenised once, padded a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import Tensor

#: Inputs a call of the tokenizer; bounds the memory of its padded output.
_CHUNK = 512


class Features:
    """The token ids of many inputs, and batches of them.

    Everything goes through the model's own `preprocess`, so prompts, lower-casing, the order of special tokens and the
    cut at the maximum length are those of every later use.

    Args:
        model: a bi-encoder for texts, a cross-encoder for pairs.
        inputs: texts, or pairs of texts.
        prompt: goes before every text; for bi-encoders only.
    """

    def __init__(
        self,
        model: SentenceTransformer | CrossEncoder,
        inputs: Sequence[str] | Sequence[Sequence[str]],
        prompt: str = "",
    ) -> None:
        self.model = model
        self.pad = int(model.tokenizer.pad_token_id or 0)
        self.side = model.tokenizer.padding_side
        self.columns: dict[str, list[np.ndarray]] = {}
        self.extra: dict[str, Any] = {}
        """What belongs to a whole batch, such as the length of the prompt."""
        for start in range(0, len(inputs), _CHUNK):
            part = list(inputs[start : start + _CHUNK])
            self._take(model.preprocess(part, prompt=prompt) if prompt else model.preprocess(part))
        ids = self.columns.get("input_ids", [])
        self.lengths = [len(row) for row in ids]
        self.used = np.unique(np.concatenate([*ids, np.asarray([self.pad])])) if ids else np.asarray([self.pad])
        """Ids of all tokens that occur, the padding's included."""

    def _take(self, features: dict[str, Any]) -> None:
        mask = features["attention_mask"].bool().numpy()
        for name, value in features.items():
            if not isinstance(value, Tensor):
                self.extra[name] = value
            elif value.shape == mask.shape and name != "attention_mask":
                rows = value.numpy().astype(np.int32)
                self.columns.setdefault(name, []).extend(row[keep] for row, keep in zip(rows, mask, strict=True))

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, positions: Sequence[int]) -> dict[str, Any]:
        """Some inputs, padded to the longest of them, on the model's device."""
        longest = max(self.lengths[i] for i in positions)
        device = self.model.device
        mask = np.zeros((len(positions), longest), np.int64)
        out = {name: np.full_like(mask, self.pad if name == "input_ids" else 0) for name in self.columns}
        for row, i in enumerate(positions):
            n = self.lengths[i]
            where = slice(longest - n, longest) if self.side == "left" else slice(0, n)
            mask[row, where] = 1
            for name, column in self.columns.items():
                out[name][row, where] = column[i]
        tensors = {name: torch.from_numpy(value).to(device) for name, value in out.items()}
        return {**tensors, "attention_mask": torch.from_numpy(mask).to(device), **self.extra}
