"""An index: texts, their vectors, and which models they belong to, in one committed directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from munjang.data.rows import Document
from munjang.errors import DataError, MissingInputError
from munjang.files import damage, read_json, write_json

SETTINGS = "index.json"
FORMAT = 1


@dataclass(frozen=True)
class StoredIndex:
    """An opened index."""

    folder: Path
    documents: list[Document]
    vectors: np.ndarray
    """float32 (documents, dimension), rows of length 1; mapped from the file, not read."""
    model: str
    """Folder of the bi-encoder."""
    model_fingerprint: str
    reranker: str | None
    """Folder of the cross-encoder, if there is one."""


def write_index(
    out: Path,
    documents: list[Document],
    vectors: np.ndarray,
    *,
    home: Path,
    model: Path,
    model_fingerprint: str,
    reranker: Path | None,
) -> None:
    """Write an index into a folder.

    Args:
        out: the folder to fill.
        documents: n of them with distinct ids.
        vectors: float32 (n, d), rows of length 1.
        home: where the folder will lie in the end; models are named relative to it, so that a run can be moved.
        model: folder of the bi-encoder that made the vectors.
        model_fingerprint: its digest; a search with another model is refused.
        reranker: folder of a cross-encoder.

    Raises:
        DataError: two documents have the same id.
    """
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise DataError(
                "two documents have the same id", got=document.id, hint="give every document an id of its own"
            )
        seen.add(document.id)
    table = pyarrow.table({"id": [d.id for d in documents], "text": [d.text for d in documents]})
    pyarrow.parquet.write_table(table, out / "documents.parquet")
    np.save(out / "vectors.npy", vectors.astype(np.float32), allow_pickle=False)
    write_json(
        out / SETTINGS,
        {
            "format": FORMAT,
            "documents": len(documents),
            "dimension": int(vectors.shape[1]),
            "model": _relative(model, home),
            "model_fingerprint": model_fingerprint,
            "reranker": None if reranker is None else _relative(reranker, home),
        },
    )


def _relative(path: Path, home: Path) -> str:
    """Relative where both lie in the same run (three levels up), else absolute."""
    path, home = path.resolve(), home.resolve()
    near = home.parents[1] if len(home.parents) > 1 else home
    return os.path.relpath(path, home) if path.is_relative_to(near) else str(path)


def open_index(folder: Path) -> StoredIndex:
    """Open an index.

    Raises:
        MissingInputError: there is no index. DataError: it is damaged, or from a newer Munjang.
    """
    if not (folder / SETTINGS).is_file():
        raise MissingInputError(
            "there is no index here", where=folder, hint="make one with: munjang index build, or munjang run"
        )
    problem = damage(folder)
    if problem:
        raise DataError(f"this index is damaged: {problem}", where=folder, hint="delete the folder and make it again")
    settings = read_json(folder / SETTINGS)
    if settings.get("format") != FORMAT:
        raise DataError(
            "this index has another format", where=folder, expected=f"{FORMAT}", got=f"{settings.get('format')}"
        )
    table = pyarrow.parquet.read_table(folder / "documents.parquet").to_pydict()
    documents = [Document(i, t) for i, t in zip(table["id"], table["text"], strict=True)]
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    reranker = settings["reranker"]
    return StoredIndex(
        folder,
        documents,
        vectors,
        str((folder / settings["model"]).resolve()),
        settings["model_fingerprint"],
        None if reranker is None else str((folder / reranker).resolve()),
    )
