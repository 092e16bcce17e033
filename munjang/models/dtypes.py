"""A model's weights in another number format: half the bytes, and how far each number moved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from munjang.errors import ConfigError, DataError, Option
from munjang.models.folder import read_settings, require_safe_folder
from munjang.models.options import DTYPES
from munjang.models.rows import copy_around, write_total_size

#: Names under which configurations keep the type of their weights; transformers 5 reads the first, else the second.
_ENTRIES = ("dtype", "torch_dtype")


@dataclass(frozen=True)
class DtypeReport:
    """What another number format did to a model."""

    dtype: str
    tensors: int
    """Tensors of real numbers, all of which have the type now."""
    changed: int
    """Those that had another one before."""
    bytes_before: int
    """Of all safetensors files."""
    bytes_after: int
    largest_absolute: float
    """Largest difference of a number to what it was."""
    largest_relative: float
    """Largest such difference as a share of the number; 1 where one became 0."""
    to_zero: int
    """Numbers that were not 0 and are now: smaller than the format can hold."""
    left_out: tuple[str, ...]
    """Files of the source that were not copied, since they hold the weights as they were."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "left_out": list(self.left_out)}

    def sentences(self) -> list[str]:
        """What was written and what it cost, for people."""
        before, after = self.bytes_before / 1e6, self.bytes_after / 1e6
        lines = [
            f"{self.changed:,} of {self.tensors:,} tensors became {self.dtype}: {before:,.1f} -> {after:,.1f} MB; "
            f"largest rounding error {self.largest_absolute:.1e}, relative {self.largest_relative:.1e}"
        ]
        if self.to_zero:
            lines.append(f"{self.to_zero:,} numbers are too small for {self.dtype} and became 0")
        if self.left_out:
            lines.append(f"not copied, since they hold the weights as they were: {', '.join(self.left_out)}")
        return lines


class _Errors:
    """The largest errors of rounding so far."""

    def __init__(self, dtype: str) -> None:
        self.name, self.dtype = dtype, getattr(torch, dtype)
        self.tensors = self.changed = self.to_zero = 0
        self.absolute = self.relative = 0.0

    def add(self, path: Path, name: str, tensor: Tensor) -> None:
        """Measure one tensor.

        Raises:
            DataError: it holds a finite number that the type cannot hold.
        """
        self.tensors += 1
        if tensor.dtype == self.dtype or not tensor.numel():
            return
        self.changed += 1
        was, now = tensor.double(), tensor.to(self.dtype).double()
        lost = was.isfinite() & ~now.isfinite()
        if lost.any():
            raise DataError(
                f"a weight is too large for {self.name}",
                where=path,
                expected=f"at most {torch.finfo(self.dtype).max:g}",
                got=f"{was[lost].abs().max():g} in {name}",
                hint="take bfloat16, which has the range of float32",
            )
        known = was.isfinite() & (was != 0)
        apart, size = (was - now)[known].abs(), was[known].abs()
        if len(apart):
            self.absolute = max(self.absolute, float(apart.max()))
            self.relative = max(self.relative, float((apart / size).max()))
            self.to_zero += int((now[known] == 0).sum())


def store_as(folder: Path, out: Path, dtype: str) -> DtypeReport:
    """Write a model whose weights are numbers of another format; all else is copied as it is.

    Every tensor of real numbers in every module takes the type, tensors of whole numbers stay. `config.json` names the
    type, so that transformers loads the weights as they are stored. Munjang computes in float32 all the same, from the
    rounded numbers.

    Args:
        folder: of a model of any kind.
        out: folder to write into; new, or empty but for hidden files.
        dtype: `float16`, `bfloat16` or `float32`.

    Raises:
        ConfigError: another type. DataError: the folder is unsafe or damaged, or a number exceeds what the type can hold;
            then nothing is written.
    """
    if dtype not in DTYPES:
        raise ConfigError("unknown number format", where=Option("dtype", dtype), expected=" or ".join(DTYPES))
    require_safe_folder(folder)
    files = _files(folder)
    errors = _Errors(dtype)
    for path in files:
        for name, tensor in _tensors(path):
            if tensor.is_floating_point():
                errors.add(path, name, tensor)
    left_out = copy_around(folder, out, tokenizer=True, weights=files)
    for path in files:
        target = out / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(path, target, errors.dtype)
    for place in {(out / path.relative_to(folder)).parent for path in files}:
        write_total_size(place)
    _write_settings(out, dtype)
    sizes = (sum(path.stat().st_size for path in _files(one)) for one in (folder, out))
    return DtypeReport(
        dtype, errors.tensors, errors.changed, *sizes, errors.absolute, errors.relative, errors.to_zero, left_out
    )


def _files(folder: Path) -> list[Path]:
    """All safetensors of a model, those of later modules too."""
    found = sorted(folder.rglob("*.safetensors"))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt") as stored:
        for name in stored.keys():  # noqa: SIM118
            yield name, stored.get_tensor(name)


def _write(source: Path, target: Path, dtype: torch.dtype) -> None:
    with safe_open(source, framework="pt") as stored:
        metadata = stored.metadata()
    tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in _tensors(source)}
    save_file(tensors, target, metadata=metadata)


def _write_settings(out: Path, dtype: str) -> None:
    """Name the type in the configuration of the transformer, and of parts that name one of their own."""
    for path in sorted(out.rglob("config.json")):
        settings = read_settings(path)
        if "model_type" not in settings:  # of a module
            continue
        parts = [settings, *(value for value in settings.values() if isinstance(value, dict))]
        for part in parts:
            part.update({entry: dtype for entry in _ENTRIES if part.get(entry) is not None})
        settings["dtype"] = dtype
        path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
