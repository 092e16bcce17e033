"""Cross-encoders: pairs in, scores out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from munjang.engine.cache import ModelCache, run_cached
from munjang.engine.choosing import open_backend
from munjang.engine.running import EncodeCounts
from munjang.errors import DataError
from munjang.models.settings import head_of
from munjang.progress import Progress, silent
from munjang.text import readable

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from munjang.engine.backend import Backend

Pair = tuple[str, str]
_CLASSES = "this cross-encoder gives classes, not scores"


class Scorer:
    """Runs a cross-encoder over many pairs.

    Each distinct pair is scored once, in batches of similar length. With `symmetric` a score is the mean over
    both orders of the pair: the order alone moves a published model from 0.585 to 0.903 on one pair
    (sentence-transformers issue 799).

    Args:
        folder: a CrossEncoder folder with one output; its safetensors only are read.
        device: such as `cpu` or `cuda`.
        symmetric: score both orders and take the mean; right for similarity, wrong for question and answer.
        budget: padded tokens a batch; by default 512 on a CPU and 16,384 elsewhere.
        backend: `torch`, the name of an export, or `auto`; see `munjang.engine.encoder.Encoder`.
        classes: take a model of several outputs as well, for its `logits`.
        cache: look logits up in the user's cache of outputs and keep there what is computed; off by default, as for
            `munjang.engine.encoder.Encoder`.

    Raises:
        DataError: the model has more than one output, so it gives classes and not scores; or it is a bi-encoder.
    """

    def __init__(
        self,
        folder: Path | str,
        device: str = "cpu",
        symmetric: bool = True,
        budget: int | None = None,
        *,
        backend: str = "torch",
        classes: bool = False,
        cache: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.backend: Backend = open_backend(self.folder, "cross-encoder", device, budget, backend)
        if self.backend.outputs != 1 and not classes:
            raise DataError(_CLASSES, where=folder, expected="1 output", got=f"{self.backend.outputs}")
        self._cache = ModelCache(self.folder, self.backend.identity, "logits", self.backend.outputs) if cache else None
        head = head_of(self.folder)
        self._take(symmetric, head.activation if head else None)

    @classmethod
    def of(cls, model: CrossEncoder, device: str = "cpu", symmetric: bool = True, budget: int | None = None) -> Scorer:
        """A scorer over a cross-encoder that is already in memory, whose weights may change between calls: no cache."""
        from munjang.engine.torch_backend import TorchBackend

        scorer = cls.__new__(cls)
        scorer.backend, scorer._cache = TorchBackend.over(model, device, budget), None
        scorer._take(symmetric, None)
        return scorer

    def _take(self, symmetric: bool, activation: str | None) -> None:
        self.symmetric, self._activation = symmetric, activation
        self.counts = EncodeCounts()
        #: Distinct pairs of the latest call of which the end was cut off.
        self.cut: set[Pair] = set()

    @property
    def model(self) -> CrossEncoder:
        """The model in memory; only torch has one. It may be changed from here on, so nothing is cached from here on."""
        self._cache = None
        return self.backend.model

    def uncached(self) -> Scorer:
        """The same scorer without the cache and with counts of its own, for times of computing."""
        other = copy.copy(self)
        other._cache, other.counts, other.cut = None, EncodeCounts(), set()
        return other

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> np.ndarray:
        """Score pairs.

        Args:
            pairs: sentences two by two.
            progress: called with (pairs done, pairs in all) after each batch; with `symmetric` both orders count.

        Returns:
            float32 of shape (len(pairs),), in the order of `pairs`; on 0..1 for a model with a sigmoid.

        Raises:
            NonFiniteError: the model made a number that is not finite.
        """
        if self.backend.outputs != 1:
            raise DataError(_CLASSES, got=f"{self.backend.outputs} outputs")
        wanted = [(str(a), str(b)) for a, b in pairs]
        orders = [wanted, [(b, a) for a, b in wanted]] if self.symmetric else [wanted]
        logits = self._run([pair for order in orders for pair in order], len(wanted), progress)
        scores = self.activated(logits).reshape(len(orders), len(wanted))
        return scores.mean(axis=0, dtype=np.float32)

    def logits(self, pairs: Sequence[Pair], progress: Progress = silent) -> np.ndarray:
        """What the head says before any activation, each pair in its given order.

        Args:
            pairs: sentences two by two.
            progress: see `score`.

        Returns:
            float32 of shape (len(pairs), outputs).

        Raises:
            NonFiniteError: the model made a number that is not finite.
        """
        return self._run([(str(a), str(b)) for a, b in pairs], len(pairs), progress)

    def activated(self, logits: np.ndarray) -> np.ndarray:
        """What `score` makes of logits of one order: the model's activation, float32 of the same shape."""
        logits = np.asarray(logits, np.float32)
        if hasattr(self.backend, "model"):
            import torch

            return self.backend.model.activation_fn(torch.from_numpy(logits)).numpy()
        return expit(logits) if self._activation == "Sigmoid" else logits

    def _run(self, shown: list[Pair], asked: int, progress: Progress) -> np.ndarray:
        """Logits of pairs (n, outputs), each distinct pair computed once; the first `asked` are counted."""
        position: dict[Pair, int] = {}
        rows = [position.setdefault(pair, len(position)) for pair in shown]
        seen = [(readable(a), readable(b)) for a, b in position]
        ran = run_cached(self._cache, self.backend.ready, seen, progress=progress)
        self.cut = {pair for pair, cut in zip(position, ran.truncated, strict=True) if cut}
        self.counts.add(ran, asked)
        self.counts.truncated += int(ran.truncated[rows[:asked]].sum()) if asked else 0
        self.counts.repaired += sum(pair != was for pair, was in zip(position, seen, strict=True))
        return ran.outputs[rows]
