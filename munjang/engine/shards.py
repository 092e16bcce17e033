"""An encoding on disk: shards that are committed one by one, the folder that they become, and how it is read again.

OUT/encoding.json          what was encoded how, and what was counted
OUT/vectors/00000.npy      or .parquet; `scores` in place of `vectors` for pairs
OUT/rows/00000.jsonl       beside .npy: number and id of the row of each vector
OUT/scales/00000.npy       beside int8: what each dimension is multiplied with
OUT/rejects.jsonl          rows that have no vector, with file, line, column and reason
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from munjang.engine.precision import Stored, restore
from munjang.errors import MissingInputError
from munjang.files import link_or_copy, new_directory, read_json, read_manifest

SUMMARY, REJECTS = "encoding.json", "rejects.jsonl"
FORMATS = ("npy", "parquet")


@dataclass
class Shard:
    """What a range of rows became."""

    rows: list[int] = field(default_factory=list)
    """Number of the row of each vector; see `munjang.data.texts.TextRow`."""
    ids: list[str | None] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)


class Block(NamedTuple):
    """The vectors, or scores, of one shard of a finished encoding."""

    rows: np.ndarray
    """int64 (n,)."""
    ids: list[str | None]
    vectors: np.ndarray
    """float32 (n, dimension), or scores (n,)."""


def shard_name(number: int) -> str:
    """Name of a committed shard before the encoding is finished."""
    return f"shard-{number:05d}"


def write_shard(place: Path, shard: Shard, stored: Stored, form: str, meta: dict[str, Any]) -> None:
    """Commit a shard as a directory of its own.

    Args:
        place: must not exist.
        shard: the rows.
        stored: their vectors or scores.
        form: `npy` or `parquet`.
        meta: what was counted, kept in the manifest.

    Raises:
        DiskError: the disk refused.
    """
    with new_directory(place, **meta) as folder:
        if form == "parquet":
            _write_parquet(folder / "vectors.parquet", shard, stored.values)
        else:
            _write_npy(folder / "vectors.npy", stored.values)
            named = any(key is not None for key in shard.ids)
            pairs = zip(shard.rows, shard.ids, strict=True)
            _write_lines(
                folder / "rows.jsonl", ({"row": row, "id": key} if named else {"row": row} for row, key in pairs)
            )
        if stored.scale is not None:
            _write_npy(folder / "scale.npy", stored.scale)
        _write_lines(folder / REJECTS, iter(shard.rejects))


def _write_npy(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        # What NumPy takes for a file it writes past Python, and of a full disk it then says neither that nor the name.
        np.save(SimpleNamespace(write=file.write), values, allow_pickle=False)


def _write_lines(path: Path, values: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _write_parquet(path: Path, shard: Shard, values: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    column = pa.array(values.reshape(-1))
    vectors = column if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(column, values.shape[1])
    columns = {
        "id": pa.array(shard.ids, pa.string()),
        "row": pa.array(shard.rows, pa.int64()),
        "score" if values.ndim == 1 else "vector": vectors,
    }
    pa.parquet.write_table(pa.table(columns), path)


def assemble(out: Path, part: Path, shards: int, summary: dict[str, Any], fingerprint: str) -> None:
    """Commit the finished encoding: its files are those of the shards under other names, so nothing is copied.

    Args:
        out: must not exist.
        part: the folder of the committed shards, on the same disk.
        shards: how many.
        summary: what `encoding.json` says.
        fingerprint: kept in the manifest.

    Raises:
        DiskError: the disk refused.
    """
    with new_directory(out, fingerprint=fingerprint) as folder:
        places = {"vectors": summary["kind"], "rows": "rows", "scale": "scales"}
        with (folder / REJECTS).open("wb") as rejects:
            for number in range(shards):
                shard = part / shard_name(number)
                for path in sorted(shard.iterdir()):
                    if path.stem in places:
                        target = folder / places[path.stem] / f"{number:05d}{path.suffix}"
                        target.parent.mkdir(exist_ok=True)
                        link_or_copy(path, target)
                with (shard / REJECTS).open("rb") as lines:
                    shutil.copyfileobj(lines, rejects)
        text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / SUMMARY).write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")


def read_summary(folder: Path) -> dict[str, Any]:
    """What `encoding.json` of a finished encoding says.

    Raises:
        MissingInputError: the folder holds no finished encoding.
    """
    if read_manifest(folder) is None or not (folder / SUMMARY).is_file():
        raise MissingInputError("this folder holds no finished encoding", where=folder, hint="make it: munjang encode")
    return read_json(folder / SUMMARY)


def read_encoding(folder: Path) -> Iterator[Block]:
    """The shards of a finished encoding in order, each as float32 whatever its precision.

    Args:
        folder: that `munjang encode` wrote.

    Raises:
        MissingInputError: the folder holds no finished encoding.
    """
    summary = read_summary(folder)
    for number in range(summary["shards"]):
        place = folder / summary["kind"] / f"{number:05d}"
        if summary["format"] == "parquet":
            rows, ids, values = _read_parquet(place.with_suffix(".parquet"))
        else:
            values = np.load(place.with_suffix(".npy"), allow_pickle=False)
            with (folder / "rows" / f"{number:05d}.jsonl").open(encoding="utf-8") as file:
                lines = [json.loads(line) for line in file]
            rows, ids = [line["row"] for line in lines], [line.get("id") for line in lines]
        scales = folder / "scales" / f"{number:05d}.npy"
        scale = np.load(scales, allow_pickle=False) if summary["precision"] == "int8" else None
        vectors = restore(Stored(values, scale), summary["precision"], summary["dimension"])
        yield Block(np.asarray(rows, np.int64), ids, vectors)


def _read_parquet(path: Path) -> tuple[list[int], list[str | None], np.ndarray]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path).combine_chunks()
    last = table.column(2).combine_chunks()
    values = (last.flatten() if table.column_names[2] == "vector" else last).to_numpy(zero_copy_only=False)
    shape = (len(table), last.type.list_size) if table.column_names[2] == "vector" else (len(table),)
    return table["row"].to_pylist(), table["id"].to_pylist(), values.reshape(shape)
