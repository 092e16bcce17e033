"""A student without a transformer: one vector for each piece of the vocabulary, and of a text their weighted mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer

from munjang.engine.features import Features
from munjang.engine.loading import load_model
from munjang.engine.running import run_inputs
from munjang.engine.tokens import CHUNK
from munjang.engine.torch_backend import TorchBackend
from munjang.errors import ConfigError, DataError, Option
from munjang.models.dimensions import principal_directions
from munjang.models.options import STATIC_DIMENSIONS
from munjang.models.weights import model_size
from munjang.progress import Progress, silent

#: The a of a / (a + p), the weight of a piece of the probability p (Arora, Liang and Ma 2017).
SIF = 1e-3
#: Pieces that stand for nothing.
_UNUSED = re.compile(r"\[unused\d+\]|<unused_?\d+>")


@dataclass(frozen=True)
class StaticReport:
    """What became of a model."""

    pieces: int
    """Of the vocabulary that have a vector."""
    without: int
    """Special and unused pieces, whose vectors are 0."""
    dimensions: int
    variance: float
    """Share of the variance of the pieces' vectors that lies in these dimensions."""
    texts: int
    """On which the frequencies of pieces were counted; 0 where they are taken from the order of the vocabulary."""
    seen: int
    """Pieces that occur in these texts."""
    parameters_before: int
    parameters_after: int
    dropped: tuple[str, ...]
    """Parts of the source that the target does not have."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "dropped": list(self.dropped)}

    def sentences(self) -> list[str]:
        """What was made, for people."""
        before, after = (count / 1e6 for count in (self.parameters_before, self.parameters_after))
        counted = (
            f"counts over {self.texts:,} texts ({self.seen:,} of the pieces occur)" if self.texts else "their order"
        )
        return [
            f"{self.pieces:,} pieces have a vector of {self.dimensions:,} numbers, {self.variance:.1%} of their variance; "
            f"{before:,.1f} -> {after:,.1f} million parameters",
            f"pieces are weighted by {counted}; {self.without:,} special and unused pieces count nothing",
            f"dropped: {', '.join(self.dropped)}",
        ]


class _Pieces(TorchBackend):
    """Runs a bi-encoder over inputs that are ids already."""

    def read(self, inputs: Sequence, prompt: str = "") -> Features:
        """Arrays of ids, or texts."""
        if not len(inputs) or isinstance(inputs[0], str):
            return super().read(inputs, prompt)
        return Features.of_ids(self.model, inputs)


def to_static(
    folder: Path,
    out: Path,
    size: int | None = None,
    texts: Iterable[str] = (),
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> StaticReport:
    """Write a student of token vectors, after Tulkens and van Dongen 2024, "Model2Vec".

    Each piece of the vocabulary goes through the model alone, in its frame of special tokens and without a prompt: the same
    words before every piece would only be a share that all vectors have in common. The vectors are cut to their principal
    directions, from their mean, and weighted by a / (a + p) (smooth inverse frequency; Arora, Liang and Ma 2017, "A Simple
    but Tough-to-Beat Baseline for Sentence Embeddings"), so that frequent pieces count less. Special and unused pieces get
    vectors of 0. A text is the mean of its pieces, normalised: word order is lost, and so is the limit on its length.

    Args:
        folder: of a bi-encoder with a transformer.
        out: folder to write into; new, or empty but for hidden files.
        size: numbers of a vector; by default 256, or the model's own where that is less.
        texts: over which pieces are counted for p; those that never occur have p = 0. Without texts p falls with a piece's
            place in the vocabulary as Zipf's law says, which fits vocabularies that stand by frequency, as most do.
        device: to run the model on.
        progress: called with (pieces done, pieces in all).

    Raises:
        ConfigError: the model's vectors are shorter than `size`. DataError: the model is a cross-encoder, unsafe or
            damaged, has no transformer, no fast tokenizer or too few pieces.
    """
    model = load_model(SentenceTransformer, folder, device).float()
    tokenizer = _tokenizer(model, folder)
    own = int(model.get_embedding_dimension() or 0)
    size = min(STATIC_DIMENSIONS, own) if size is None else size
    _require_no_longer(size, own)
    ids, rows = _ids(model, tokenizer)
    if len(ids) < size:
        raise DataError("this vocabulary is too small", where=folder, expected=f"{size:,} pieces", got=f"{len(ids):,}")
    vectors = _through(model, tokenizer, ids, device, progress)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    axes, sums = principal_directions(centred)
    counts, read = _counts(tokenizer, texts, rows)
    chances = counts[ids] / max(int(counts.sum()), 1) if read else _zipf(len(ids))
    table = np.zeros((rows, size), np.float32)
    table[ids] = (centred @ axes[:, :size].astype(np.float32)) * (SIF / (SIF + chances))[:, None].astype(np.float32)
    student = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=torch.from_numpy(table)), Normalize()], device="cpu"
    )
    student.save_pretrained(str(out), create_model_card=False)
    return StaticReport(
        pieces=len(ids),
        without=rows - len(ids),
        dimensions=size,
        variance=float(sums[:size].sum() / max(sums.sum(), 1e-300)),
        texts=read,
        seen=int((counts[ids] > 0).sum()),
        parameters_before=model_size(folder).parameters,
        parameters_after=table.size,
        dropped=_dropped(model),
    )


def _require_no_longer(size: int, own: int) -> None:
    if size > own:
        raise ConfigError(
            "the vectors are shorter than that",
            where=Option("dimensions", size),
            expected=f"at most {own:,}",
            got=f"vectors of {own:,} numbers",
        )


def _dropped(model: SentenceTransformer) -> tuple[str, ...]:
    prompts = ("prompts",) if any(model.prompts.values()) else ()
    return (*(type(module).__name__ for module in model if not isinstance(module, Normalize)), *prompts)


def _tokenizer(model: SentenceTransformer, folder: Path) -> Tokenizer:
    """A copy of the model's tokenizer as it is set up in it, without the limit on length."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if not isinstance(model[0], Transformer) or backend is None:
        got = type(model.tokenizer if isinstance(model[0], Transformer) else model[0]).__name__
        raise DataError(
            "this model has no transformer with a fast tokenizer",
            where=folder,
            got=got,
            hint="name a model with a transformer body",
        )
    copied = Tokenizer.from_str(backend.to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied


def _ids(model: SentenceTransformer, tokenizer: Tokenizer) -> tuple[np.ndarray, int]:
    """The pieces that get a vector, int64 in order, and how many rows there are."""
    names = {i: piece for piece, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    embedded = model.transformers_model.get_input_embeddings().num_embeddings
    special = {int(i) for i in model.tokenizer.all_special_ids}
    special |= {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    kept = [i for i in sorted(names) if i not in special and i < embedded and not _UNUSED.fullmatch(names[i])]
    return np.asarray(kept, np.int64), max(names) + 1


def _through(
    model: SentenceTransformer, tokenizer: Tokenizer, ids: np.ndarray, device: str, progress: Progress
) -> np.ndarray:
    """The model's vector of each piece alone: float32 (pieces, d)."""
    framed = tokenizer.encode("a")
    own = np.flatnonzero(np.asarray(framed.special_tokens_mask) == 0)
    start, end = framed.ids[: own[0]], framed.ids[own[-1] + 1 :]
    inputs = [np.asarray([*start, i, *end], np.int32) for i in ids.tolist()]
    return run_inputs(_Pieces(model, device), inputs, progress=progress).outputs


def _counts(tokenizer: Tokenizer, texts: Iterable[str], rows: int) -> tuple[np.ndarray, int]:
    """How often each piece occurs in distinct texts, int64 (rows,), and how many texts there are."""
    distinct = list(dict.fromkeys(texts))
    counts = np.zeros(rows, np.int64)
    for start in range(0, len(distinct), CHUNK):
        for encoding in tokenizer.encode_batch_fast(distinct[start : start + CHUNK], add_special_tokens=False):
            np.add.at(counts, encoding.ids, 1)
    return counts, len(distinct)


def _zipf(pieces: int) -> np.ndarray:
    """Probabilities that fall with the rank, float64 (pieces,)."""
    shares = 1 / np.arange(2, pieces + 2)
    return shares / shares.sum()
