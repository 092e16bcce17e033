"""Cross-encoders: pairs in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from munjang.engine.batches import CPU_BUDGET, GPU_BUDGET, token_batches
from munjang.engine.encoder import EncodeCounts, NonFiniteError, count_tokens
from munjang.engine.loading import load_model
from munjang.errors import DataError
from munjang.progress import Progress, silent

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
        model = load_model(CrossEncoder, Path(folder), device)
        if model.num_labels != 1:
            raise DataError(
                "this cross-encoder gives classes, not scores",
                where=folder,
                expected="1 output",
                got=f"{model.num_labels}",
            )
        self._take(model, device, symmetric, budget)

    @classmethod
    def of(cls, model: CrossEncoder, device: str = "cpu", symmetric: bool = True, budget: int | None = None) -> Scorer:
        """A scorer over a cross-encoder that is already in memory."""
        scorer = cls.__new__(cls)
        scorer._take(model, device, symmetric, budget)
        return scorer

    def _take(self, model: CrossEncoder, device: str, symmetric: bool, budget: int | None) -> None:
        self.model = model
        self.model.eval()
        self.symmetric = symmetric
        self.budget = budget or (CPU_BUDGET if device == "cpu" else GPU_BUDGET)
        self.counts = EncodeCounts()
        #: Distinct pairs of the latest call of which the end was cut off.
        self.cut: set[Pair] = set()

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
        wanted = [tuple(pair) for pair in pairs]
        orders = [wanted, [(b, a) for a, b in wanted]] if self.symmetric else [wanted]
        scores = self._run([pair for order in orders for pair in order], len(wanted), True, progress)[:, 0]
        return scores.reshape(len(orders), len(wanted)).mean(axis=0, dtype=np.float32)

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
        return self._run([tuple(pair) for pair in pairs], len(pairs), False, progress)

    def activated(self, logits: np.ndarray) -> np.ndarray:
        """What `score` makes of logits of one order: the model's activation, float32 of the same shape."""
        return self.model.activation_fn(torch.from_numpy(np.asarray(logits, np.float32))).numpy()

    def _run(self, shown: list[Pair], asked: int, activated: bool, progress: Progress) -> np.ndarray:
        """The outputs of pairs (n, outputs), each distinct pair computed once; the first `asked` are counted."""
        distinct = list(dict.fromkeys(shown))
        lengths = count_tokens(self.model, distinct)
        limit = self.model.get_max_seq_length() or max(lengths, default=0)
        outputs = np.empty((len(distinct), self.model.num_labels), np.float32)
        done = 0
        for batch in token_batches([min(n, limit) for n in lengths], self.budget):
            outputs[batch] = self._forward([distinct[i] for i in batch], activated)
            done += len(batch)
            progress(done, len(distinct))
        if not np.isfinite(outputs).all():
            raise NonFiniteError("the model made scores that are not finite")
        over = self.cut = {pair for pair, n in zip(distinct, lengths, strict=True) if n > limit}
        self.counts.inputs += asked
        self.counts.distinct += len(distinct)
        self.counts.tokens += sum(min(n, limit) for n in lengths)
        self.counts.truncated += sum(pair in over for pair in shown[:asked])
        position = {pair: i for i, pair in enumerate(distinct)}
        return outputs[[position[pair] for pair in shown]]

    @torch.inference_mode()
    def _forward(self, pairs: list[Pair], activated: bool) -> np.ndarray:
        features = self.model.preprocess([list(pair) for pair in pairs])
        features = {k: v.to(self.model.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        outputs = self.model(features)["scores"].float()
        outputs = self.model.activation_fn(outputs) if activated else outputs
        return outputs.reshape(len(pairs), -1).cpu().numpy()
