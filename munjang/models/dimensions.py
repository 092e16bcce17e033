"""Shorter vectors: a bi-encoder whose vectors are cut to the directions in which those of some texts lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import nn

from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.engine.loading import load_model
from munjang.errors import ConfigError, DataError, Option
from munjang.models.folder import read_settings, require_kind
from munjang.models.settings import SETTINGS, vector_size
from munjang.progress import Progress, silent

#: Pairs of texts on which the change of cosines is measured.
_PAIRS = 10_000
#: Rows of vectors that are multiplied at a time; bounds the memory of double precision.
_ROWS = 8192


@dataclass(frozen=True)
class DimensionsReport:
    """What a cut of the vectors did."""

    before: int
    after: int
    texts: int
    """Distinct texts on whose vectors the directions were fitted."""
    variance: float
    """Share of the vectors' squared length, from the origin, that lies in the directions that stay."""
    cosine_change: float
    """Mean absolute change of the cosine over random pairs of the texts."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """What was kept, for people."""
        return [
            f"{self.before:,} -> {self.after:,} numbers a vector, fitted on {self.texts:,} texts: {self.variance:.1%} of the "
            f"variance stays, cosines of random pairs change by {self.cosine_change:.4f} on average"
        ]


def principal_directions(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The directions in which vectors lie, from the origin and not from their mean, for cosines are taken from there.

    Args:
        vectors: (n, d).

    Returns:
        Directions as columns (d, d) and the sums of squares along them (d,), largest first, in double precision.
    """
    products = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), _ROWS):
        part = vectors[start : start + _ROWS].astype(np.float64)
        products += part.T @ part
    sums, axes = np.linalg.eigh(products)
    return axes[:, ::-1], np.maximum(sums[::-1], 0)


def require_fit(folder: Path, size: int, texts: int) -> None:
    """Refuse a cut that cannot be made, from a model's settings alone.

    Args:
        folder: of the model.
        size: numbers a vector shall have.
        texts: distinct ones to fit on.

    Raises:
        ConfigError: the vectors are no longer than that. DataError: the model is a cross-encoder, or there are too few
            texts.
    """
    require_kind(folder, "bi-encoder")
    own = vector_size(folder)
    if own is not None:
        _require_smaller(size, own)
    if read_settings(folder / SETTINGS).get("truncate_dim") is not None:
        raise DataError(
            "this model cuts its vectors already",
            where=folder / SETTINGS,
            got=f"truncate_dim {own}",
            hint="take truncate_dim out of the settings",
        )
    if texts < size:
        raise DataError(
            "too few texts to fit the directions on",
            where=Option("fit"),
            expected=f"at least {size:,} different ones",
            got=f"{texts:,}",
        )


def _require_smaller(size: int, own: int) -> None:
    if not 1 <= size < own:
        raise ConfigError(
            "the vectors are no longer than that",
            where=Option("dimensions", size),
            expected=f"1 to {own - 1:,}",
            got=f"vectors of {own:,} numbers",
        )


def cut_dimensions(
    folder: Path, out: Path, size: int, texts: Iterable[str], *, device: str = "cpu", progress: Progress = silent
) -> DimensionsReport:
    """Write a bi-encoder with shorter vectors: a Dense module takes the leading principal directions of its vectors.

    Principal component analysis loses little where vectors of a domain lie in few directions (Raunak et al. 2019,
    "Effective Dimensionality Reduction for Word Embeddings"). The directions stand by the variance along them, so that the
    first numbers of a vector serve by themselves, as those of Matryoshka models do. The module stands before a closing
    normalisation, so the vectors of a model that normalises have length 1 again.

    Args:
        folder: of a bi-encoder.
        out: folder to write into; new, or empty but for hidden files.
        size: numbers of a vector.
        texts: on whose vectors, each under the model's default prompt, the directions are fitted; repeated ones count once.
        device: to compute their vectors on.
        progress: called with (texts done, texts in all).

    Raises:
        ConfigError: the vectors are no longer than that. DataError: the model is a cross-encoder, unsafe or damaged, or
            there are too few texts; found before anything is computed.
    """
    distinct = list(dict.fromkeys(texts))
    require_fit(folder, size, len(distinct))
    encoder = Encoder(folder, device, backend="exact", cache=True)
    own = encoder.dimension
    _require_smaller(size, own)
    vectors = encoder.encode(distinct, progress=progress)
    axes, sums = principal_directions(vectors)
    kept = np.ascontiguousarray(_signed(axes[:, :size]).astype(np.float32))
    model = load_model(SentenceTransformer, folder, "cpu")
    _add(model, kept)
    model.save_pretrained(str(out), create_model_card=False)
    share = float(sums[:size].sum() / max(sums.sum(), 1e-300))
    return DimensionsReport(own, size, len(distinct), share, _cosine_change(vectors, vectors @ kept))


def _signed(axes: np.ndarray) -> np.ndarray:
    """Each direction with its largest number positive, so that the same texts give the same module on every machine."""
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return axes * np.where(largest < 0, -1.0, 1.0)


def _add(model: SentenceTransformer, axes: np.ndarray) -> None:
    """Put a Dense module of the directions behind a model, or before the normalisation that ends it."""
    number = next((weight.dtype for weight in model.parameters()), torch.float32)
    weights = torch.from_numpy(axes.T.copy())
    layer = Dense(*axes.shape, bias=False, activation_function=nn.Identity(), init_weight=weights).to(number)
    closing = model.pop(-1) if isinstance(model[-1], Normalize) else None
    model.append(layer)
    if closing is not None:
        model.append(closing)


def _cosine_change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean absolute difference of cosines over random pairs of rows, drawn without a seed of the user's."""
    draw = np.random.default_rng(0)
    left = draw.integers(len(before), size=_PAIRS)
    right = (left + draw.integers(1, len(before), size=_PAIRS)) % len(before) if len(before) > 1 else left
    changes = [cosine_of_rows(some[left], some[right]) for some in (before, after)]
    return float(np.abs(changes[1] - changes[0]).mean())
