"""A file of the cache of outputs: keys and rows of float32, checked when they are read, never changed once it is there.

After the header come, for each row, its key, its checksum and whether its input was cut; then the rows themselves. What
precedes the rows is read and checked as a whole when the file is opened, a row when it is looked up: so a flipped bit is
found wherever it is, and opening costs nothing for rows that nobody asks for.
"""

from __future__ import annotations

import struct
from pathlib import Path
from zlib import crc32

import numpy as np

from munjang.files import write_bytes

#: Magic, rows, numbers a row, crc32 of the store's name, the rest of the header and the index.
_HEADER = struct.Struct("<8sQII")
_MAGIC = b"munjang1"
#: A key of 128 bits as two numbers, crc32 of key, cut and row, and 1 where the end of the input was cut off.
INDEX = np.dtype([("high", "<u8"), ("low", "<u8"), ("crc", "<u4"), ("cut", "<u4")])
_KEY = 16


class DamagedShardError(Exception):
    """A shard's content is not what was written."""


class Shard:
    """An open shard.

    Args:
        path: of the file.
        width: numbers a row.

    Raises:
        DamagedShardError: size, header or index are not as they were written, or in another store. OSError: it cannot be read.
    """

    def __init__(self, path: Path, width: int) -> None:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise DamagedShardError
            magic, count, columns, expected = _HEADER.unpack(header)
            size = path.stat().st_size
            if magic != _MAGIC or columns != width or size != _size(count, width) or not count:
                raise DamagedShardError
            index = file.read(count * INDEX.itemsize)
            if _sum_of_index(path, count, width, index) != expected:
                raise DamagedShardError
            # A mapped file stays readable after another process has deleted it.
            start = _HEADER.size + len(index)
            self._rows = np.memmap(file, "<f4", mode="r", offset=start, shape=(count, width))
        self.path, self.size = path, size
        self.index = np.frombuffer(index, INDEX)
        self._high = np.ascontiguousarray(self.index["high"])

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Where some keys, uint64 (n, 2), stand: int64 (n,), -1 for those that do not."""
        places = np.minimum(np.searchsorted(self._high, keys[:, 0]), len(self._high) - 1)
        there = (self._high[places] == keys[:, 0]) & (self.index["low"][places] == keys[:, 1])
        return np.where(there, places, -1)

    def read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows float32 (n, width) and whether their inputs were cut, bool (n,), as copies.

        Raises:
            DamagedShardError: a row is not as it was written.
        """
        index, rows = self.index[places], self._rows[places]
        if not np.array_equal(_sums(keys_in(index), index["cut"], rows), index["crc"]):
            raise DamagedShardError
        return rows, index["cut"] == 1

    def raw(self) -> np.ndarray:
        """All rows as they lie on the disk, unchecked; with the checksums of `index` they can be moved elsewhere."""
        return self._rows


def keys_in(index: np.ndarray) -> np.ndarray:
    """The keys of an index: uint64 (n, 2)."""
    return np.stack([index["high"], index["low"]], axis=1)


def index_of(keys: np.ndarray, rows: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """The index of new rows, in their order.

    Args:
        keys: uint64 (n, 2). rows: float32 (n, width). cut: bool (n,).
    """
    index = np.empty(len(keys), INDEX)
    index["high"], index["low"], index["cut"] = keys[:, 0], keys[:, 1], cut
    index["crc"] = _sums(keys, index["cut"], rows)
    return index


def write_shard(path: Path, index: np.ndarray, rows: np.ndarray) -> None:
    """Write rows under a name that does not exist yet; of equal keys the first stays.

    Args:
        path: of the file; it is whole or absent, whatever happens.
        index: of the rows, see `index_of`. rows: float32 (n, width); at least one.

    Raises:
        DiskError: the disk refused.
    """
    order = np.lexsort((index["low"], index["high"]))
    sorted_keys = keys_in(index[order])
    order = order[np.append(True, (sorted_keys[1:] != sorted_keys[:-1]).any(axis=1))]
    kept = index[order].tobytes()
    count, width = len(order), rows.shape[1]
    header = _HEADER.pack(_MAGIC, count, width, _sum_of_index(path, count, width, kept))
    write_bytes(path, b"".join([header, kept, np.ascontiguousarray(rows[order], "<f4").data]))


def _size(count: int, width: int) -> int:
    return _HEADER.size + count * (INDEX.itemsize + 4 * width)


def _sum_of_index(path: Path, count: int, width: int, index: bytes) -> int:
    """Of all that precedes the rows, and of the store, so that a file of another model's store is not believed."""
    return crc32(index, crc32(_HEADER.pack(_MAGIC, count, width, 0), crc32(path.parent.name.encode())))


def _sums(keys: np.ndarray, cut: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """crc32 of each row with its key in front: uint32 (n,). So a row cannot be taken for another one's."""
    if not len(keys):
        return np.empty(0, np.uint32)
    names = np.ascontiguousarray(keys, "<u8").data.cast("B")
    values = np.ascontiguousarray(rows, "<f4").data.cast("B")
    step = 4 * rows.shape[1]
    sums = (
        crc32(values[i * step : (i + 1) * step], crc32(names[i * _KEY : (i + 1) * _KEY], int(flag)))
        for i, flag in enumerate(cut)
    )
    return np.fromiter(sums, np.uint32, len(keys))
