"""Cross-encoders: pairs in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from munjang.engine.running import EncodeCounts, run_inputs
from munjang.errors import DataError
from munjang.progress import Progress, silent
from munjang.text import readable

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from munjang.engine.backend import Backend

Pair = tuple[str, str]


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

    Raises:
        DataError: the model has more than one output, so it gives classes and not scores; or it is a bi-encoder.
    """

    def __init__(
        self, folder: Path | str, device: str = "cpu", symmetric: bool = True, budget: int | None = None
    ) -> None:
        from sentence_transformers import CrossEncoder

        from munjang.engine.loading import load_model

        model = load_model(CrossEncoder, Path(folder), device)
        if model.num_labels != 1:
            raise DataError(
                "this cross-encoder gives classes, not scores",
                where=folder,
                expected="1 output",
                got=f"{model.num_labels}",
            )
        self._take(model, device, symmetric, budget)
        self._backend = self._torch_backend()

    @classmethod
    def of(cls, model: CrossEncoder, device: str = "cpu", symmetric: bool = True, budget: int | None = None) -> Scorer:
        """A scorer over a cross-encoder that is already in memory, whose weights may change between calls."""
        scorer = cls.__new__(cls)
        scorer._take(model, device, symmetric, budget)
        scorer._backend = None
        return scorer

    def _take(self, model: CrossEncoder, device: str, symmetric: bool, budget: int | None) -> None:
        self.model = model
        self.model.eval()
        self.symmetric = symmetric
        self._device, self._budget = device, budget
        self._backend: Backend | None
        self.counts = EncodeCounts()
        #: Distinct pairs of the latest call of which the end was cut off.
        self.cut: set[Pair] = set()

    def _torch_backend(self) -> Backend:
        from munjang.engine.torch_backend import TorchBackend

        return TorchBackend(self.model, self._device, self._budget)

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
        if self.model.num_labels != 1:
            raise DataError("this cross-encoder gives classes, not scores", got=f"{self.model.num_labels} outputs")
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
        import torch

        return self.model.activation_fn(torch.from_numpy(np.asarray(logits, np.float32))).numpy()

    def _run(self, shown: list[Pair], asked: int, progress: Progress) -> np.ndarray:
        """Logits of pairs (n, outputs), each distinct pair computed once; the first `asked` are counted."""
        position: dict[Pair, int] = {}
        rows = [position.setdefault(pair, len(position)) for pair in shown]
        seen = [(readable(a), readable(b)) for a, b in position]
        ran = run_inputs(self._backend or self._torch_backend(), seen, progress=progress)
        self.cut = {pair for pair, cut in zip(position, ran.truncated, strict=True) if cut}
        self.counts.inputs += asked
        self.counts.distinct += len(position)
        self.counts.tokens += ran.tokens
        self.counts.truncated += int(ran.truncated[rows[:asked]].sum()) if asked else 0
        self.counts.repaired += sum(pair != was for pair, was in zip(position, seen, strict=True))
        return ran.outputs[rows]
