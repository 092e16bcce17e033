"""Texts or pairs to token ids by the tokenizers library alone: no torch, no transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from munjang.errors import DataError

#: Inputs a call of the tokenizer; bounds the memory of what it returns.
CHUNK = 4096
#: Characters a token of the limit beyond which a text is not shown to the tokenizer: what lies there is cut anyhow, and a
#: million characters take it seconds.
_CHARACTERS = 64


def tokenise(tokenizer: Any, limit: int | None, inputs: Sequence, prompt: str = "") -> list[Any]:
    """`tokenizers.Encoding` of each text or pair, special tokens included, cut at a maximum length.

    Args:
        tokenizer: a `tokenizers.Tokenizer`; its settings of padding and truncation are changed.
        limit: the longest result in tokens; of a pair the longer side is cut first.
        inputs: texts or pairs.
        prompt: goes before every text.
    """
    tokenizer.no_padding()
    if limit:
        tokenizer.enable_truncation(limit, strategy="longest_first")
    else:
        tokenizer.no_truncation()
    characters = limit * _CHARACTERS if limit else None
    return tokenizer.encode_batch_fast(
        [
            prompt + one[:characters] if isinstance(one, str) else tuple(text[:characters] for text in one)
            for one in inputs
        ]
    )


class Tokens:
    """The token ids of many inputs.

    Args:
        tokenizer: see `tokenise`. limit: see `tokenise`. inputs: see `tokenise`. prompt: see `tokenise`.
    """

    def __init__(self, tokenizer: Any, limit: int | None, inputs: Sequence, prompt: str = "") -> None:
        self.ids: list[np.ndarray] = []
        self.types: list[np.ndarray] = []
        self.truncated = np.zeros(len(inputs), bool)
        for start in range(0, len(inputs), CHUNK):
            encoded = tokenise(tokenizer, limit, inputs[start : start + CHUNK], prompt)
            self.ids.extend(np.asarray(one.ids, np.int64) for one in encoded)
            self.types.extend(np.asarray(one.type_ids, np.int64) for one in encoded)
            self.truncated[start : start + len(encoded)] = [bool(one.overflowing) for one in encoded]
        self.lengths = [len(row) for row in self.ids]

    def padded(self, positions: Sequence[int], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids, mask and types of some inputs, padded on the right to the longest: int64 (len(positions), length) each."""
        shape = (len(positions), max(self.lengths[i] for i in positions))
        ids, mask, types = np.full(shape, pad, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, i in enumerate(positions):
            n = self.lengths[i]
            ids[row, :n], mask[row, :n], types[row, :n] = self.ids[i], 1, self.types[i]
        return ids, mask, types


def load_tokenizer(folder: Path) -> Any:
    """The `tokenizers.Tokenizer` of a model's folder.

    Raises:
        DataError: there is no `tokenizer.json`, or it is damaged.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise DataError("this model has no tokenizer.json", where=folder, hint="save it with save_pretrained() once")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise DataError("this tokenizer cannot be loaded", where=path, got=str(error)[:200]) from error
