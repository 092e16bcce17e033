"""Texts or pairs as a model reads them: tokenised once, in parallel, and put together a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import Tensor

from munjang.engine.tokens import CHUNK, tokenise

#: What the short way to the tokenizer must read as the model's own way does, before it is taken.
_PROBES = (
    "환불은 언제 되나요?",
    "  두  칸\t띄고\n줄도 바꾼 글  ",
    "Straße, ÉCOLE & naïve café: 3,5 ㎏!",
    "긴 글은 잘린다. A long text is cut. " * 400,
)
_proven: WeakKeyDictionary[Any, dict[tuple, bool]] = WeakKeyDictionary()


class Features:
    """The token ids of many inputs, and batches of them.

    Prompts, lower-casing, the order of special tokens and the cut at the maximum length are those of the model's own
    `preprocess`. Where the model's tokenizer alone does the same, which is tried once a model on texts that are made to
    tell, it is called directly.

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
        """Of each kind of number a token has, such as `input_ids`, one array int32 an input."""
        self.extra: dict[str, Any] = {}
        """What belongs to a whole batch, such as the length of the prompt."""
        self.truncated = np.zeros(len(inputs), bool)
        """True for each input of which the end was cut off."""
        paired = bool(inputs) and not isinstance(inputs[0], str)
        direct = bool(inputs) and _direct_is_proven(model, paired, prompt)
        for start in range(0, len(inputs), CHUNK if direct else CHUNK // 8):
            part = list(inputs[start : start + (CHUNK if direct else CHUNK // 8)])
            cut = self._take_directly(part, prompt) if direct else self._take(part, prompt)
            self.truncated[start : start + len(part)] = cut
        if direct:
            self.extra = _extra(model, inputs[0], prompt)
        self.lengths = [len(row) for row in self.columns.get("input_ids", [])]

    @classmethod
    def of_ids(cls, model: SentenceTransformer | CrossEncoder, rows: Sequence[np.ndarray]) -> Features:
        """Inputs that are token ids already, int32, special tokens included; none of them is too long.

        Args:
            model: reads them. rows: of each input.
        """
        found = cls(model, [])
        found.columns = {"input_ids": list(rows)}
        if "token_type_ids" in model.tokenizer.model_input_names:
            found.columns["token_type_ids"] = [np.zeros_like(row) for row in rows]
        found.extra = _extra(model, "a", "")
        found.truncated = np.zeros(len(rows), bool)
        found.lengths = [len(row) for row in rows]
        return found

    @property
    def used(self) -> np.ndarray:
        """Ids of all tokens that occur, the padding's included."""
        return np.unique(np.concatenate([*self.columns.get("input_ids", []), np.asarray([self.pad])]))

    def _take(self, part: list, prompt: str) -> np.ndarray:
        """Through the model's own `preprocess`; its padded rows lose their padding again."""
        features = self.model.preprocess(part, prompt=prompt) if prompt else self.model.preprocess(part)
        mask = features["attention_mask"].bool().numpy()
        for name, value in features.items():
            if not isinstance(value, Tensor):
                self.extra[name] = value
            elif value.shape == mask.shape and name != "attention_mask":
                rows = value.numpy().astype(np.int32)
                self.columns.setdefault(name, []).extend(row[keep] for row, keep in zip(rows, mask, strict=True))
        limit = self.model.get_max_seq_length()
        reached = np.flatnonzero(mask.sum(axis=1) >= limit) if limit else np.empty(0, np.int64)
        cut = np.zeros(len(part), bool)
        if len(reached):
            whole = [prompt + part[i] if prompt else part[i] for i in reached]
            cut[reached] = np.asarray(count_tokens(self.model, whole)) > limit
        return cut

    def _take_directly(self, part: list, prompt: str) -> np.ndarray:
        types = "token_type_ids" in self.model.tokenizer.model_input_names
        encoded = _tokenised(self.model, part, prompt)
        self.columns.setdefault("input_ids", []).extend(np.asarray(one.ids, np.int32) for one in encoded)
        if types:
            self.columns.setdefault("token_type_ids", []).extend(np.asarray(one.type_ids, np.int32) for one in encoded)
        return np.fromiter((bool(one.overflowing) for one in encoded), bool, len(encoded))

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


def count_tokens(model: torch.nn.Module, inputs: list) -> list[int]:
    """Tokens of each text or pair before any truncation, special tokens included."""
    if not inputs:
        return []
    columns = [list(column) for column in zip(*inputs, strict=True)] if not isinstance(inputs[0], str) else [inputs]
    encoded = model.tokenizer(
        *columns,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [len(ids) for ids in encoded["input_ids"]]


def _tokenised(model: Any, part: list, prompt: str) -> list[Any]:
    return tokenise(model.tokenizer.backend_tokenizer, model.get_max_seq_length(), part, prompt)


def _extra(model: Any, first: Any, prompt: str) -> dict[str, Any]:
    """What `preprocess` says of a whole batch; the same for every batch with this prompt."""
    short = first[:8] if isinstance(first, str) else [text[:8] for text in first]
    features = model.preprocess([short], prompt=prompt) if prompt else model.preprocess([short])
    return {name: value for name, value in features.items() if not isinstance(value, Tensor)}


def _direct_is_proven(model: Any, paired: bool, prompt: str) -> bool:
    """True if the tokenizer by itself reads the probes as the model's `preprocess` does."""
    if getattr(model.tokenizer, "backend_tokenizer", None) is None or model.tokenizer.padding_side != "right":
        return False
    known = _proven.setdefault(model, {})
    key = (paired, prompt, model.get_max_seq_length())
    if key not in known:
        known[key] = _reads_alike(model, paired, prompt)
    return known[key]


def _reads_alike(model: Any, paired: bool, prompt: str) -> bool:
    probes = [[a, b] for a, b in zip(_PROBES, _PROBES[::-1], strict=True)] if paired else list(_PROBES)
    features = model.preprocess(probes, prompt=prompt) if prompt else model.preprocess(probes)
    mask = features["attention_mask"].bool()
    rows = {n: v for n, v in features.items() if isinstance(v, Tensor) and v.shape == mask.shape} | {"": mask}
    if not set(rows) <= {"", "attention_mask", "input_ids", "token_type_ids"}:
        return False
    found = _tokenised(model, probes, prompt)
    types = "token_type_ids" in model.tokenizer.model_input_names
    if types != ("token_type_ids" in rows):
        return False
    return all(
        rows["input_ids"][i][mask[i]].tolist() == one.ids
        and (not types or rows["token_type_ids"][i][mask[i]].tolist() == one.type_ids)
        for i, one in enumerate(found)
    )
