"""What a model makes of all texts or pairs of some sets: each distinct one is run once at most, and the time is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from munjang.engine.encoder import Encoder
from munjang.engine.running import EncodeCounts
from munjang.engine.scorer import Pair, Scorer
from munjang.progress import Progress, silent

#: Single calls of which the median latency is taken, and the seconds after which no further one is begun.
_CALLS, _SECONDS = 32, 1.5
#: Inputs from which the speed is taken at least; where fewer were computed, a sample is computed for it.
_SAMPLE = 256
_Input = TypeVar("_Input")


class Vectors:
    """Vectors of texts, looked up under the use that they were asked for.

    Uses that have the same prompt in this model share their vectors.

    Args:
        encoder: runs over every distinct text once for each prompt.
        wanted: (use, texts), as often as there are sets; see `Encoder.prompt` for uses.
        progress: counts distinct texts over all prompts.

    Raises:
        NonFiniteError: the model made a number that is not finite.
    """

    def __init__(
        self, encoder: Encoder, wanted: Iterable[tuple[str, Sequence[str]]], progress: Progress = silent
    ) -> None:
        self._encoder = encoder
        uses: dict[str, str] = {}
        distinct: dict[str, dict[str, int]] = {}
        for use, texts in wanted:
            uses.setdefault(encoder.prompt(use), use)
            known = distinct.setdefault(encoder.prompt(use), {})
            for text in texts:
                known.setdefault(text, len(known))
        total, done = sum(map(len, distinct.values())), 0
        self._uses, self._position, self._rows, self._cut = uses, distinct, {}, {}
        before = replace(encoder.counts)
        for prompt, known in distinct.items():
            self._rows[prompt] = encoder.encode(list(known), uses[prompt], _shifted(progress, done, total))
            self._cut[prompt] = encoder.cut
            done += len(known)
        #: Texts a second that the model computes; the cache does not count.
        self.per_second = _per_second(encoder.counts, before, self._sampled)

    def _sampled(self) -> EncodeCounts:
        """What a sample of the texts costs without the cache."""
        encoder = self._encoder.uncached()
        for prompt, known in self._position.items():
            encoder.encode(_evenly(list(known), _SAMPLE // len(self._position)), self._uses[prompt])
        return encoder.counts

    def of(self, texts: Sequence[str], use: str = "similarity") -> np.ndarray:
        """Vectors of texts that were asked for: float32 (len(texts), dimension)."""
        prompt = self._encoder.prompt(use)
        position = self._position[prompt]
        return self._rows[prompt][[position[text] for text in texts]]

    def truncated(self, texts: Sequence[str], use: str = "similarity") -> int:
        """How many of some texts were cut at the model's maximum length."""
        cut = self._cut[self._encoder.prompt(use)]
        return sum(text in cut for text in texts) if cut else 0


class PairLogits:
    """What a cross-encoder says of pairs, looked up.

    Args:
        scorer: runs over every distinct pair once.
        pairs: in the orders in which they are asked for.
        progress: counts distinct pairs.

    Raises:
        NonFiniteError: the model made a number that is not finite.
    """

    def __init__(self, scorer: Scorer, pairs: Iterable[Pair], progress: Progress = silent) -> None:
        self._scorer = scorer
        self._position = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        before = replace(scorer.counts)
        self._rows = scorer.logits(list(self._position), progress)
        self._cut = scorer.cut
        #: Pairs a second that the model computes; the cache does not count.
        self.per_second = _per_second(scorer.counts, before, self._sampled)

    def _sampled(self) -> EncodeCounts:
        """What a sample of the pairs costs without the cache."""
        scorer = self._scorer.uncached()
        scorer.logits(_evenly(list(self._position), _SAMPLE))
        return scorer.counts

    def of(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Logits of pairs that were asked for: float32 (len(pairs), outputs)."""
        return self._rows[[self._position[pair] for pair in pairs]]

    def scores(self, pairs: Sequence[Pair], symmetric: bool) -> np.ndarray:
        """What `Scorer.score` gives for pairs: (len(pairs),), the mean over both orders if `symmetric`."""
        orders = [pairs, [(b, a) for a, b in pairs]] if symmetric else [pairs]
        return np.mean([self._scorer.activated(self.of(order))[:, 0] for order in orders], axis=0, dtype=np.float32)

    def truncated(self, pairs: Sequence[Pair]) -> int:
        """How many of some pairs were cut at the model's maximum length."""
        return sum(pair in self._cut for pair in pairs) if self._cut else 0


def median_ms(call: Callable[[_Input], object], inputs: Sequence[_Input]) -> float | None:
    """Median time of single calls in milliseconds; None without inputs.

    Args:
        call: one input at a time; the first call warms up and does not count.
        inputs: a few dozens are picked, evenly over their order.
    """
    picked = _evenly(inputs, _CALLS)
    times: list[float] = []
    for number, one in enumerate([*picked[:1], *picked]):
        began = time.perf_counter()
        call(one)
        if number:
            times.append(1000 * (time.perf_counter() - began))
        if sum(times) > 1000 * _SECONDS:
            break
    return float(np.median(times)) if times else None


def _per_second(counts: EncodeCounts, before: EncodeCounts, sampled: Callable[[], EncodeCounts]) -> float:
    """Inputs a second over what was computed since `before`, or over a sample where that was too little to tell."""
    computed, seconds = counts.computed - before.computed, counts.seconds - before.seconds
    if computed < min(counts.distinct - before.distinct, _SAMPLE):
        taken = sampled()
        computed, seconds = taken.computed, taken.seconds
    return computed / max(seconds, 1e-9)


def _evenly(inputs: Sequence[_Input], count: int) -> list[_Input]:
    """At most so many inputs, evenly over their order."""
    return [inputs[i] for i in np.linspace(0, len(inputs) - 1, min(len(inputs), count)).astype(int)]


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    def shifted(done: int, of: int, note: str = "") -> None:
        del of
        progress(before + done, total, note)

    return shifted
