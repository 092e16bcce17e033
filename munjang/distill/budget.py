"""A budget of minutes as passes over the data: numbers that stand in the recipe, so that a killed plan goes on with them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from munjang.errors import ConfigError, DataError, Option, Phrase
from munjang.train.options import TrainBiOptions

#: Steps below which a student's score says little of what it can become.
LEAST_STEPS = 20
#: What a step costs in forward passes: its own, and a backward one of twice that.
_STEP = 3
#: Texts that are read to know the speed, and how often: the fastest counts, for the first reading warms up, and what
#: slows a short one down is nearly always another process.
_PROBED, _ROUNDS = 300, 4
_BATCH, _LENGTH = (int(TrainBiOptions.model_fields[name].default) for name in ("batch_size", "max_length"))


class Probe(NamedTuple):
    """What a pass over the data costs."""

    rows: int
    """Examples of a pass."""
    tokens: float
    """Of all their texts."""
    tokens_per_second: float
    """That the whole model reads, forward only, as in a training."""

    def seconds(self, share: float) -> float:
        """An estimate of a training pass of a student whose forward pass costs `share` of the whole model's."""
        return _STEP * self.tokens / self.tokens_per_second * share


def probe(folder: Path, device: str, examples: Sequence[tuple[str, ...]]) -> Probe:
    """Let a bi-encoder read a few hundred of the data's texts, as a training reads them.

    The forward pass for vectors alone is twice as fast as the one that a training can use, so it says little here.

    Args:
        folder: of the model.
        device: such as `cpu`.
        examples: the texts of each example; at least one.
    """
    import torch

    from munjang.engine.batches import token_batches
    from munjang.engine.encoder import Encoder
    from munjang.engine.features import Features

    texts = [text for example in examples for text in example]
    picked = texts[:: max(len(texts) // _PROBED, 1)][:_PROBED]
    encoder = Encoder(folder, device)
    model = encoder.model
    model.max_seq_length = min(model.get_max_seq_length() or _LENGTH, _LENGTH)
    read = Features(model, picked, encoder.prompt())
    mean = sum(read.lengths) / len(picked)
    batches = list(token_batches(read.lengths, round(_BATCH * mean)))
    times = []
    with torch.no_grad():
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            for positions in batches:
                # On the CPU, so that an accelerator is waited for.
                model(read.batch(positions))["sentence_embedding"].cpu()
            times.append(time.perf_counter() - began)
    return Probe(len(examples), mean * len(texts), mean * len(picked) / max(min(times), 1e-9))


def epochs_within(minutes: float, found: Probe, shares: Sequence[float], most: float) -> list[float]:
    """Passes for each student, the budget shared equally.

    Args:
        minutes: for all students together.
        found: what a pass costs.
        shares: of the whole model's forward pass that each student's costs.
        most: passes that none exceeds.

    Raises:
        DataError: `most` passes are fewer than `LEAST_STEPS` steps. ConfigError: the budget is; it says the least one.
    """
    needed = LEAST_STEPS * _BATCH / found.rows
    if needed > most:
        raise DataError(
            f"too few texts to train on: {most:g} passes over them are fewer than {LEAST_STEPS} steps",
            where=Option("data"),
            expected=f"at least {math.ceil(LEAST_STEPS * _BATCH / most):,} rows",
            got=f"{found.rows:,}",
            hint=Phrase("name more texts, or set {}", Option("epochs", math.ceil(needed))),
        )
    each = 60 * minutes / max(len(shares), 1)
    passes = [each / found.seconds(share) for share in shares]
    if any(count < needed for count in passes):
        least = len(shares) * needed * max(map(found.seconds, shares)) / 60
        raise ConfigError(
            f"this budget is too small for {LEAST_STEPS} steps of each student",
            where=Option("budget_minutes", minutes),
            expected=f"at least {_rounded(least, math.ceil):g}",
            got=f"{minutes:g}",
            hint=f"the model reads {found.tokens_per_second:,.0f} tokens a second here; training is three times as slow",
        )
    return [min(_rounded(count, math.floor, 4), most) for count in passes]


def _rounded(value: float, how: type[math.ceil] | type[math.floor], digits: int = 2) -> float:
    """A positive number rounded up or down to so many significant digits."""
    place = digits - 1 - math.floor(math.log10(value))
    # 1.8 may come as 1.8000000000000003, which is no reason to ask for 1.9.
    return round(how(round(value * 10.0**place, 6)) / 10.0**place, max(place, 0))
