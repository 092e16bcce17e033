"""Weight averaging: one model in the middle of several that were trained from one start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from munjang.errors import DataError
from munjang.models.folder import read_settings, require_safe_folder
from munjang.models.rows import copy_around
from munjang.models.safety import parts_of
from munjang.models.settings import Module, modules_of, pooling_modes, transformer_folder
from munjang.models.weights import read_tensor

_Place = tuple[Path, str]


def average(folders: Sequence[Path], shares: Sequence[float], out: Path) -> int:
    """Write the mean of several models' weights; everything else is that of the first.

    Models that were fine-tuned from one start lie in one valley, and their mean is often better than each, at the cost of
    one (Wortsman et al. 2022, "Model soups", arXiv 2203.05482). Models from different starts have nothing in common, and
    their mean is noise, though their shapes agree: measure it on dev.

    Args:
        folders: of models of one architecture, two or more.
        shares: of each; they are scaled to a sum of 1.
        out: folder to write into; new, or empty but for hidden files.

    Returns:
        How many tensors were averaged.

    Raises:
        DataError: a folder is unsafe or damaged, or the models differ in their modules, tokenizers or shapes.
    """
    for folder in folders:
        require_safe_folder(folder)
    first, *others = folders
    places = [_places(folder) for folder in folders]
    for folder, found in zip(others, places[1:], strict=True):
        _require_alike(first, folder, places[0], found)
    parts = (np.array(shares, np.float64) / sum(shares)).tolist()
    copy_around(first, out, tokenizer=True)
    files: dict[Path, dict[tuple[str, str], _Place]] = {}
    for key, place in places[0].items():
        files.setdefault(place[0], {})[key] = place
    for path, keys in files.items():
        tensors = {name: _mean([found[part, name] for found in places], parts) for part, name in keys}
        with safe_open(path, framework="pt") as source:
            metadata = source.metadata()
        target = out / path.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, target, metadata=metadata)
    return len(places[0])


def _places(folder: Path) -> dict[tuple[str, str], _Place]:
    """(module's folder, name) -> where the tensor lies; of several files of one module it does not matter which."""
    found = {}
    for part in parts_of(folder):
        for path in sorted(part.glob("*.safetensors")):
            with safe_open(path, framework="pt") as tensors:
                found |= {(part.relative_to(folder).as_posix(), name): (path, name) for name in tensors.keys()}  # noqa: SIM118
    return found


def _shape(place: _Place) -> list[int]:
    path, name = place
    with safe_open(path, framework="pt") as tensors:
        return tensors.get_slice(name).get_shape()


def _mean(places: Sequence[_Place], parts: Sequence[float]) -> Tensor:
    first = read_tensor(places[0])
    if not first.is_floating_point():
        return first  # positions, which are counted and not learnt
    total = torch.zeros_like(first, dtype=torch.float32)
    for place, part in zip(places, parts, strict=True):
        total.add_(read_tensor(place).float(), alpha=part)
    return total.to(first.dtype)


def _require_alike(first: Path, other: Path, known: dict[Any, _Place], found: dict[Any, _Place]) -> None:
    problem = None
    if [_meaning(m) for m in modules_of(first)[1:]] != [_meaning(m) for m in modules_of(other)[1:]]:
        problem = "modules", _names(first), _names(other)
    elif known.keys() != found.keys():
        apart = "/".join(min(known.keys() ^ found.keys()))
        problem = "tensors", apart if apart in map("/".join, known) else "none", "another set of tensors"
    elif _vocabulary(first) != _vocabulary(other):
        problem = "tokenizers", "one vocabulary", "another one"
    else:
        for key in known:
            one, two = _shape(known[key]), _shape(found[key])
            if one != two:
                problem = f"shapes of {key[1]}", str(one), str(two)
                break
    if problem is not None:
        what, expected, got = problem
        raise DataError(
            f"models with different {what} cannot be averaged",
            where=other,
            expected=f"{expected}, as in {first}",
            got=got,
            hint="average models that were trained from one start",
        )


def _meaning(module: Module) -> tuple[str, Any]:
    """What a module computes, in whichever form its release wrote its settings."""
    if module.kind == "Pooling":
        return module.kind, (pooling_modes(module.settings), module.settings.get("include_prompt", True))
    return module.kind, None if module.kind == "Normalize" else module.settings


def _names(folder: Path) -> str:
    return ", ".join(f"{m.kind} {m.settings}" for m in modules_of(folder)[1:]) or "no module after the transformer"


def _vocabulary(folder: Path) -> Any:
    place = transformer_folder(folder)
    if (place / "tokenizer.json").is_file():
        return read_settings(place / "tokenizer.json").get("model")
    return [path.read_bytes() for path in sorted(place.glob("vocab.*"))]
