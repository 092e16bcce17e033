"""Collapse, caught early: a training in which all texts come to look alike is stopped within its first 200 steps.

A multilingual distillation that was looked at after 12 hours gave every pair a similarity of 1.0 (sentence-transformers
issue 1164). The loss does not show it; the spread of some vectors does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from munjang.errors import DataError, Option, Phrase

#: Texts or pairs that are looked at, and after which steps.
PROBES = 64
EARLY_STEPS = (25, 50, 100, 150, 200)
#: A collapse: the spread is below this share of that at the start, and below a value that no working model has.
_SHARE, _LEAST = 0.1, 1e-3


def spread_of_vectors(vectors: Tensor) -> float:
    """Mean of 1 - cosine over all pairs of different rows: about 1 for random directions, 0 after a collapse.

    Args:
        vectors: (n, d).
    """
    units = nn.functional.normalize(vectors.double(), dim=1)
    n = len(units)
    return float(1 - (units.sum(0).square().sum() - n) / (n * (n - 1)))


def uniformity(vectors: Tensor) -> float:
    """Log of the mean Gaussian potential over pairs (Wang and Isola 2020, arXiv 2005.10242): lower is more uniform, 0 is
    one point.

    Args:
        vectors: (n, d).
    """
    units = nn.functional.normalize(vectors.double(), dim=1)
    return float(torch.pdist(units).square().mul(-2).exp().mean().log())


def spread_of_scores(scores: Tensor) -> float:
    """Standard deviation of logits (n, outputs), mean over the outputs."""
    return float(scores.double().std(dim=0).mean())


def probe_positions(count: int, seed: int) -> list[int]:
    """Which of `count` inputs are looked at: up to `PROBES`, drawn once."""
    return sorted(np.random.default_rng([seed, 1]).permutation(count)[:PROBES].tolist())


class CollapseGuard:
    """Watches the spread of some outputs of the model under training.

    Args:
        outputs: the model's outputs for the probes, in evaluation mode: (n, d).
        spread: of them.
        shown: the probes' texts, for the error.
    """

    def __init__(
        self, outputs: Callable[[], Tensor], spread: Callable[[Tensor], float], shown: Sequence[str] = ()
    ) -> None:
        self.outputs, self.spread, self.shown = outputs, spread, shown
        self.history: list[dict[str, float]] = []

    def look(self, step: int) -> None:
        """Measure, and stop the training if its outputs have collapsed.

        Raises:
            DataError: they have.
        """
        with torch.inference_mode():
            outputs = self.outputs()
        if len(outputs) < 2:  # one input has nothing to differ from
            return
        value = self.spread(outputs)
        entry = {"step": step, "spread": value}
        if self.spread is spread_of_vectors:
            entry["uniformity"] = uniformity(outputs)
        self.history.append(entry)
        start = self.history[0]["spread"]
        if step > 0 and value < _LEAST and value < _SHARE * start:
            raise DataError(
                "the training has collapsed: different inputs get the same output",
                where=f"step {step}",
                expected=f"a spread near the {start:.3g} of the start",
                got=f"{value:.2g} over {len(outputs)} inputs, such as {' | '.join(self.shown[:2])}",
                hint=Phrase(
                    "lower {}, and look at the data: does every row ask for the same?", Option("learning_rate")
                ),
            )
