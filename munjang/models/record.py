"""What a model was trained on, as digests beside its weights, so that an evaluation can tell what it has seen before.

A digest says whether a text is known and not what the known texts are, and takes 8 bytes. Whoever passes the model on passes
no training text on.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np

from munjang.data.rows import texts_of
from munjang.errors import DataError
from munjang.files import write_bytes
from munjang.text import match_key

RECORD_FILE = "training-record.npz"
_ARRAYS = ("texts", "rows")


@dataclass(frozen=True)
class TrainingRecord:
    """Digests of the texts and of the whole rows that a model was trained on: sorted uint64, each once."""

    texts: np.ndarray
    rows: np.ndarray

    def __or__(self, other: TrainingRecord) -> TrainingRecord:
        return TrainingRecord(np.union1d(self.texts, other.texts), np.union1d(self.rows, other.rows))


def record_of(rows: Iterable[Any]) -> TrainingRecord:
    """The record of some rows of any kind; texts count as equal after normalising, the texts of a row in any order."""
    texts: set[int] = set()
    whole: set[int] = set()
    for row in rows:
        keys = [match_key(text) for text in texts_of(row)]
        texts.update(map(_digest, keys))
        if len(keys) > 1:
            whole.add(_row_digest(keys))
    return TrainingRecord(_sorted(texts), _sorted(whole))


def seen_before(record: TrainingRecord, units: Iterable[Iterable[str]]) -> dict[str, int]:
    """How much of a set a model was trained on.

    Args:
        record: of the model.
        units: the texts of each unit of the set, such as the two sentences of a pair.

    Returns:
        `units`: in how many all texts stand in one training row (of a single text: where it is a training text);
        `texts`: how many distinct texts were trained on; `of_units` and `of_texts`: out of how many.
    """
    known_texts, known_rows = set(record.texts.tolist()), set(record.rows.tolist())
    texts: set[int] = set()
    hit = total = 0
    for unit in units:
        keys = [match_key(text) for text in unit]
        digests = [_digest(key) for key in keys]
        texts.update(digests)
        total += 1
        hit += digests[0] in known_texts if len(keys) == 1 else _row_digest(keys) in known_rows
    return {"units": hit, "of_units": total, "texts": len(texts & known_texts), "of_texts": len(texts)}


def write_record(folder: Path, record: TrainingRecord, start: Path | None = None) -> None:
    """Write a model's record beside its weights.

    Args:
        folder: of the model.
        record: of this training.
        start: folder of the model that it started from; what that was trained on counts as well.
    """
    before = read_record(start) if start is not None else None
    record = record if before is None else record | before
    buffer = io.BytesIO()
    np.savez(buffer, texts=record.texts, rows=record.rows)
    write_bytes(folder / RECORD_FILE, buffer.getvalue())


def merge_records(folders: Iterable[Path], out: Path) -> None:
    """Write what several models were trained on beside the one that was made of them; nothing where none is known of."""
    known = [record for record in map(read_record, folders) if record is not None]
    if known:
        write_record(out, reduce(or_, known))


def read_record(folder: Path) -> TrainingRecord | None:
    """The record beside a model, or None where there is none: then nothing is known of what it was trained on.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            texts, rows = (np.asarray(arrays[name], np.uint64) for name in _ARRAYS)
    except Exception as error:  # zipfile and numpy raise many kinds for a damaged file
        raise DataError("this file is damaged", where=path, got=str(error)[:200], hint="delete it") from error
    return TrainingRecord(texts, rows)


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _row_digest(keys: list[str]) -> int:
    return _digest("\x1f".join(sorted(keys)))


def _sorted(digests: set[int]) -> np.ndarray:
    return np.array(sorted(digests), np.uint64)
