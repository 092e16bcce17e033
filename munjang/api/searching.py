"""Search in an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from munjang.pipeline.run import (
    read_pointer,
)

if TYPE_CHECKING:
    from munjang.index.search import Answer


def search(
    index: str | Path,
    query: str,
    *,
    top: int = 5,
    rerank: int = 20,
    device: str | None = None,
    backend: str = "auto",
) -> Answer:
    """Find the texts nearest to a query, in both orders. For many queries keep a `Searcher` instead.

    Args:
        index: folder of an index, or directory of a run, whose last index is taken.
        query: what to look for.
        top: hits to return.
        rerank: how many of the nearest the cross-encoder orders anew; 0 for none.
        device: such as `cpu`.
        backend: what runs the models; see `munjang.engine.choosing`.
    """
    from munjang.engine.device import choose_device
    from munjang.index.search import Searcher

    return Searcher(find_index(Path(index)), choose_device(device), rerank > 0, backend).search(query, top, rerank)


def find_index(path: Path) -> Path:
    """The index in a folder: itself, or the last index stage of a run."""
    from munjang.index.store import SETTINGS

    if (path / SETTINGS).is_file():
        return path
    stages = read_pointer(path)["stages"].values()
    indexes = [path / s["directory"] for s in stages if (path / s["directory"] / SETTINGS).is_file()]
    return indexes[-1] if indexes else path
