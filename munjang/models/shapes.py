"""What lies in safetensors files, from their headers, and the tensors themselves by NumPy alone; no torch is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from munjang.errors import DataError

#: Longest header that is read; those of models with a thousand tensors have 0.1 MB.
_LONGEST = 25_000_000
#: Types of real numbers, as safetensors calls them. NumPy has no bfloat16: its bits are the upper half of a float32's.
_REAL = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class StoredTensor(NamedTuple):
    """A tensor in a file."""

    path: Path
    dtype: str
    """As safetensors calls it, such as `F32`."""
    shape: tuple[int, ...]
    offset: int
    """Of its first byte in the file."""

    def floats(self) -> np.ndarray:
        """Its numbers as float32; mapped from the file where they are stored so, else converted.

        Raises:
            DataError: they are no real numbers, or the file ends before them.
        """
        if self.dtype not in _REAL:
            raise DataError("these weights are not real numbers", where=self.path, got=self.dtype)
        try:
            mapped = np.memmap(self.path, np.dtype(_REAL[self.dtype]), "r", self.offset, self.shape or (1,))
        except (ValueError, OSError) as error:
            raise DataError("this file of weights is damaged", where=self.path, got=str(error)[:200]) from error
        if self.dtype == "F32" and self.offset % 4 == 0:
            return np.asarray(mapped)
        if self.dtype == "BF16":
            return (mapped.astype(np.uint32) << 16).view(np.float32)
        return mapped.astype(np.float32)


def map_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Name -> place of every tensor in the safetensors files of a folder, not of those below it.

    Raises:
        DataError: a header is damaged.
    """
    found: dict[str, StoredTensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 0 < length <= min(_LONGEST, path.stat().st_size):
                    raise ValueError(f"a header of {length:,} bytes")
                header = json.loads(file.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    shape, start = tuple(map(int, entry["shape"])), int(entry["data_offsets"][0])
                    found[name] = StoredTensor(path, str(entry["dtype"]), shape, 8 + length + start)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            raise DataError("this file of weights is damaged", where=path, got=str(error)[:200]) from error
    return found


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in the safetensors files of a folder, not of those below it.

    Raises:
        DataError: a header is damaged.
    """
    return {name: tensor.shape for name, tensor in map_tensors(folder).items()}
