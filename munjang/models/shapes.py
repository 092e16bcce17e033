"""Shapes of the tensors in safetensors files, from their headers alone; no torch is imported and no weight is read."""

from __future__ import annotations

import json
from pathlib import Path

from munjang.errors import DataError

#: Longest header that is read; those of models with a thousand tensors have 0.1 MB.
_LONGEST = 25_000_000


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in the safetensors files of a folder, not of those below it.

    Raises:
        DataError: a header is damaged.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 0 < length <= min(_LONGEST, path.stat().st_size):
                    raise ValueError(f"a header of {length:,} bytes")
                header = json.loads(file.read(length))
            named = {name: entry for name, entry in header.items() if name != "__metadata__"}
            shapes |= {name: tuple(map(int, entry["shape"])) for name, entry in named.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError("this file of weights is damaged", where=path, got=str(error)[:200]) from error
    return shapes
