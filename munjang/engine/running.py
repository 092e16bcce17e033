"""Many inputs through a backend: in parts of bounded memory, by length, with a budget of tokens, on all cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from munjang.engine.backend import Backend, Tokenised
from munjang.engine.batches import token_batches
from munjang.engine.workers import run_batches
from munjang.errors import DataError, UnavailableError
from munjang.progress import Progress, silent

#: Inputs that are tokenised and sorted together: enough that batches are of one length, few enough for any memory.
_PART = 32_768
#: Seconds after which what is computed is handed on, so that a kill costs no more where a part takes longer.
_KEEP_AFTER = 60.0
#: What torch says where the memory of a CPU does not suffice; it has no exception of its own for that.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


class NonFiniteError(DataError):
    """A model made vectors or scores that are not finite; there is nothing to be done with it."""


@dataclass
class EncodeCounts:
    """What an encoder or a scorer has done so far."""

    inputs: int = 0
    distinct: int = 0
    cached: int = 0
    """Distinct inputs of which the output was known."""
    tokens: int = 0
    """Of the inputs that were computed."""
    seconds: float = 0.0
    """Reading and computing them, without the cache."""
    truncated: int = 0
    """Inputs of which the end was cut off because they exceed the model's maximum length."""
    repaired: int = 0
    """Inputs that were not NFC, held a lone surrogate, or exceeded the characters that are read at all."""

    @property
    def computed(self) -> int:
        """Distinct inputs that went through the model."""
        return self.distinct - self.cached

    def add(self, ran: Ran, inputs: int) -> None:
        """Count a call: what became of its distinct inputs, and how many inputs there were."""
        self.inputs += inputs
        self.distinct += len(ran.outputs)
        self.cached += ran.cached
        self.tokens += ran.tokens
        self.seconds += ran.seconds


class Ran(NamedTuple):
    """What became of some inputs."""

    outputs: np.ndarray
    """float32 (inputs, outputs)."""
    truncated: np.ndarray
    """bool (inputs,)."""
    tokens: int
    """Of the inputs that were computed."""
    seconds: float
    """Reading and computing them."""
    cached: int = 0
    """Inputs that were not computed."""
    lengths: np.ndarray | None = None
    """Tokens of each input, int64 (inputs,); None where some were not read because their output was known."""


#: Takes what is new: positions int64 (n,), outputs float32 (n, outputs), and whether the end was cut off, bool (n,).
Keep = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


def run_inputs(
    backend: Backend, inputs: Sequence, prompt: str = "", progress: Progress = silent, keep: Keep | None = None
) -> Ran:
    """Compute inputs, in their order.

    A batch for which memory does not suffice is halved until it fits.

    Args:
        backend: runs the model.
        inputs: texts or pairs; best each one once.
        prompt: goes before every text.
        progress: called with (inputs done, inputs in all, tokens a second) after each batch.
        keep: called after each part, and every minute within one; its time does not count.

    Raises:
        NonFiniteError: the model made a number that is not finite.
        UnavailableError: memory does not suffice for a single input.
    """
    outputs = np.empty((len(inputs), backend.outputs), np.float32)
    truncated, lengths = np.zeros(len(inputs), bool), np.zeros(len(inputs), np.int64)
    done = tokens = 0
    keeping = 0.0
    began = handed = time.perf_counter()
    for start in range(0, len(inputs), _PART):
        part = inputs[start : start + _PART]
        read = backend.read(part, prompt)
        truncated[start : start + len(part)], lengths[start : start + len(part)] = read.truncated, read.lengths
        batches = list(token_batches(read.lengths, backend.budget))
        work = lambda positions, read=read: _within_memory(backend, read, positions)  # noqa: E731
        fresh: list[np.ndarray] = []
        for number, (positions, found) in enumerate(run_batches(batches, work, backend.threads), 1):
            if not np.isfinite(found).all():
                raise NonFiniteError("the model made numbers that are not finite")
            outputs[start + positions] = found
            done += len(positions)
            tokens += sum(read.lengths[i] for i in positions)
            now = time.perf_counter()
            progress(done, len(inputs), f"{tokens / max(now - began - keeping, 1e-9):,.0f} tokens/s")
            fresh.append(start + positions)
            if keep is not None and (number == len(batches) or now - handed > _KEEP_AFTER):
                new = np.concatenate(fresh)
                keep(new, outputs[new], truncated[new])
                fresh, handed = [], time.perf_counter()
                keeping += handed - now
    return Ran(outputs, truncated, tokens, time.perf_counter() - began - keeping, lengths=lengths)


def _within_memory(backend: Backend, read: Tokenised, positions: np.ndarray) -> np.ndarray:
    try:
        return backend.run(read, positions)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(said in str(error).lower() for said in _NO_MEMORY):
            raise
        if len(positions) == 1:
            raise UnavailableError(
                "memory does not suffice for a single input",
                got=f"{read.lengths[int(positions[0])]:,} tokens",
                hint="choose a smaller maximum length, or a smaller model",
            ) from error
    # Outside of the handler, so that what the failed batch held is free.
    middle = len(positions) // 2
    return np.concatenate([_within_memory(backend, read, half) for half in (positions[:middle], positions[middle:])])
