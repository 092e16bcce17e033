"""How similar texts are, by a bi-encoder or a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from munjang.engine.encoder import Encoder, cosine_of_rows, normalise
from munjang.engine.scorer import Scorer
from munjang.errors import DataError
from munjang.models.folder import model_kind, require_kind
from munjang.progress import Progress, silent

#: Numbers of a matrix that is held whole: 400 MB.
_MOST = 100_000_000


class Similarity:
    """A model of either kind as a measure: cosines of a bi-encoder, or scores of a cross-encoder in the mean of both orders.

    Args:
        folder: of the model. device, backend: see `munjang.engine.encoder.Encoder`.
        cache: look outputs up in the user's cache and keep them there.

    Raises:
        DataError: the model gives classes, or is of no kind that is known.
    """

    def __init__(self, folder: Path, device: str = "cpu", backend: str = "auto", *, cache: bool = False) -> None:
        require_kind(folder, "bi-encoder", "cross-encoder")
        self.kind = model_kind(folder)
        kind = Encoder if self.kind == "bi-encoder" else Scorer
        self._model: Encoder | Scorer = kind(folder, device, backend=backend, cache=cache)

    @property
    def truncated(self) -> int:
        """Texts, or pairs, so far of which the end was cut off."""
        return self._model.counts.truncated

    def of_pairs(self, pairs: Sequence[tuple[str, str]], progress: Progress = silent) -> np.ndarray:
        """One number a pair, float32 (n,).

        Args:
            pairs: of texts, none blank. progress: told of texts or of pairs.
        """
        if not pairs:
            return np.zeros(0, np.float32)
        if isinstance(self._model, Scorer):
            return self._model.score(pairs, progress)
        vectors = self._model.encode([text for pair in pairs for text in pair], progress=progress)
        return cosine_of_rows(vectors[::2], vectors[1::2]).astype(np.float32)

    def matrix(self, left: Sequence[str], right: Sequence[str], progress: Progress = silent) -> np.ndarray:
        """Every text of one side with every text of the other, float32 (len(left), len(right)).

        Args:
            left, right: texts, none blank. progress: see `of_pairs`.

        Raises:
            DataError: the matrix would hold more than 100 million numbers.
        """
        if len(left) * len(right) > _MOST:
            raise DataError(
                "this matrix is held whole, and too large",
                expected=f"at most {_MOST:,} numbers",
                got=f"{len(left):,} x {len(right):,}",
                hint="munjang paraphrases finds the most similar pairs of any number of texts",
            )
        if isinstance(self._model, Scorer):
            return self.of_pairs([(a, b) for a in left for b in right], progress).reshape(len(left), len(right))
        vectors = normalise(self._model.encode([*left, *right], progress=progress))
        return vectors[: len(left)] @ vectors[len(left) :].T
