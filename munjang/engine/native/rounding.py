"""Which products of a model are computed in eight bits, and how its activations are smoothed for that.

An activation is rounded by the largest number of its token, so a channel that is a hundred times as large as the others, which
transformers have, takes their bits away. Dividing each channel and multiplying its weights moves the range into the weights,
which are rounded column by column (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438). How much of it is moved is chosen by what
comes out on the user's texts, and products that cost too much stay in float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from munjang.engine.native.encoder import Rounding, build_encoder, run_encoder
from munjang.engine.native.kernels import threads
from munjang.engine.native.outline import LINEAR, Outline
from munjang.errors import DataError
from munjang.files import read_json, write_json

FILE, FACTORS = "rounding.json", "factors.npz"
#: Shares of a channel's range that are moved into the weights, of which one is chosen.
_STRENGTHS = (0.5, 0.65, 0.8)
#: Squared distance between unit vectors whose cosine is 0.99: no text's vector may be farther off.
_FAR = 0.02
#: Mean squared error of scores as a share of their variance: a correlation of 0.995.
_NOISE = 0.01
#: Of all products, how many may stay in float32; with more, eight bits are not worth it.
_FLOATS = 1 / 3
#: Inputs on which single products are tried in float32.
_TRIED = 64


class Inputs(NamedTuple):
    """Tokenised inputs of a calibration."""

    ids: list[np.ndarray]
    types: list[np.ndarray] | None

    def first(self, count: int) -> Inputs:
        """The first inputs."""
        return Inputs(self.ids[:count], None if self.types is None else self.types[:count])


def choose_rounding(outline: Outline, inputs: Inputs, vectors: bool, say: Callable[[str], None]) -> Rounding:
    """Calibrate on some inputs.

    Args:
        outline: of the model.
        inputs: of the user's own; at least 2.
        vectors: True for a bi-encoder, whose vectors' directions count; else outputs are scores.
        say: prints a line.
    """
    plain = build_encoder(outline, {})
    wanted = run_encoder(plain, outline, *inputs, threads(), note=True)
    reach = [dict(zip(LINEAR, map(np.asarray, layer), strict=True)) for layer in plain.reached()]
    judge = _Judge(outline, inputs, wanted, vectors)
    tried = {strength: _smoothed(outline, reach, strength) for strength in _STRENGTHS}
    strength = min(tried, key=lambda one: judge.errors(tried[one]).mean())
    rounding = dict(tried[strength])
    say(f"smoothing {strength:g} is the best of {', '.join(f'{one:g}' for one in _STRENGTHS)}")
    if not judge.holds(rounding):
        _release(rounding, judge)
    floats = len(outline.layers) * len(LINEAR) - len(rounding)
    if floats:
        say(f"{floats} of {len(outline.layers) * len(LINEAR)} products stay in float32")
    return rounding


def _smoothed(
    outline: Outline, reach: list[dict[str, np.ndarray]], strength: float
) -> dict[tuple[int, str], np.ndarray]:
    factors = {}
    for number, layer in enumerate(outline.layers):
        for name in LINEAR:
            seen = np.maximum(reach[number][name], 1e-5)
            weights = np.maximum(np.abs(layer[name][0]).max(axis=0), 1e-5)
            logs = (1 - strength) * np.log(weights) - strength * np.log(seen)
            factors[number, name] = np.exp(logs - logs.mean()).astype(np.float32)
    return factors


class _Judge:
    """How far outputs in eight bits are from those in float32."""

    def __init__(self, outline: Outline, inputs: Inputs, wanted: np.ndarray, vectors: bool) -> None:
        self.outline, self._inputs, self._wanted, self._vectors = outline, inputs, wanted, vectors

    def errors(self, rounding: Rounding, count: int | None = None) -> np.ndarray:
        """Squared error of each input: between unit vectors, or as a share of the scores' variance."""
        inputs = self._inputs.first(count or len(self._inputs.ids))
        found = run_encoder(build_encoder(self.outline, rounding), self.outline, *inputs, threads())
        wanted = self._wanted[: len(found)]
        if self._vectors:
            found, wanted = (
                one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in (found, wanted)
            )
            return ((found - wanted) ** 2).sum(axis=1)
        spread = ((self._wanted - self._wanted.mean(axis=0)) ** 2).sum(axis=1).mean()
        return ((found - wanted) ** 2).sum(axis=1) / max(float(spread), 1e-12)

    def holds(self, rounding: Rounding) -> bool:
        """True if no vector is too far off, or the scores are exact enough."""
        errors = self.errors(rounding)
        return bool(errors.max() <= _FAR if self._vectors else errors.mean() <= _NOISE)


def _release(rounding: dict[tuple[int, str], np.ndarray], judge: _Judge) -> None:
    """Take products out of the rounding, those first that alone mend the most, until it holds or too many are out."""
    alone = {}
    for place in rounding:
        without = {key: one for key, one in rounding.items() if key != place}
        alone[place] = judge.errors(without, _TRIED).mean()
    for place in sorted(alone, key=lambda one: alone[one])[: int(len(alone) * _FLOATS)]:
        del rounding[place]
        if judge.holds(rounding):
            return


def write_rounding(place: Path, rounding: Rounding) -> None:
    """Write a rounding into an export."""
    write_json(place / FILE, {"format": 1, "rounded": [list(key) for key in rounding]})
    np.savez(place / FACTORS, **{f"{number}-{name}": factors for (number, name), factors in rounding.items()})


def read_rounding(place: Path) -> dict[tuple[int, str], np.ndarray]:
    """The rounding of an export.

    Raises:
        DataError: a file is damaged.
    """
    try:
        listed = read_json(place / FILE)["rounded"]
        with np.load(place / FACTORS, allow_pickle=False) as factors:
            return {(int(number), str(name)): factors[f"{number}-{name}"] for number, name in listed}
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError("this export is damaged", where=place, got=str(error)[:200], hint="export it again") from error
