"""Tensors in a model's safetensors: where they lie, what they are called, whether two are the same bits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from munjang.models.folder import read_modules
from munjang.models.settings import transformer_folder


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a model's transformer, one or several shards, in order."""
    return sorted(transformer_folder(folder).glob("*.safetensors"))


def plain_name(key: str, prefix: str) -> str:
    """A tensor's name without the body's prefix, under today's names of layer norm."""
    key = key.removeprefix(f"{prefix}.")
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def stored_tensors(folder: Path, prefix: str) -> dict[str, tuple[Path, str]]:
    """Plain name -> (file, name in it) of every tensor of a model's transformer.

    Args:
        folder: of the model.
        prefix: of the body's tensors inside a larger model, such as `bert`; see `plain_name`.
    """
    found = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as tensors:
            found |= {plain_name(key, prefix): (path, key) for key in tensors.keys()}  # noqa: SIM118
    return found


def read_tensor(place: tuple[Path, str]) -> Tensor:
    """One tensor out of a file, without the others."""
    path, key = place
    with safe_open(path, framework="pt") as tensors:
        return tensors.get_tensor(key)


def same_bits(first: Tensor, second: Tensor) -> bool:
    """True if two tensors have one type, one shape and the same bits; a NaN equals itself here."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    one, other = (tensor.contiguous().flatten().view(torch.uint8) for tensor in (first, second))
    return torch.equal(one, other)


class Size(NamedTuple):
    """How large a model is."""

    parameters: int
    megabytes: float
    """Of the weights on disk; 1 MB is a million bytes."""


def model_size(folder: Path) -> Size:
    """The parameters and the weights of all modules of a model, from the headers of its safetensors alone."""
    parts = dict.fromkeys(folder / str(module.get("path", "")) for module in read_modules(folder)) or [folder]
    parameters = size = 0
    for path in (path for part in parts for path in sorted(part.glob("*.safetensors"))):
        size += path.stat().st_size
        with safe_open(path, framework="pt") as tensors:
            slices = [tensors.get_slice(key) for key in tensors.keys()]  # noqa: SIM118
            # Old files hold the positions 0, 1, 2, ... as a tensor of whole numbers, which nobody trains.
            parameters += sum(math.prod(s.get_shape()) for s in slices if s.get_dtype() != "I64")
    return Size(parameters, size / 1e6)
