"""The cache of outputs: what a model made of a text or a pair once is not computed again.

An output is found by what it is computed from: the key is a digest of the text as the model is shown it, the store, one
folder each, a digest of the model's files, of the backend, the prompt and the libraries. What changes nothing but the last
bits, such as the size of batches, is in neither. Outputs are kept whole, before a cut to fewer dimensions and before an
activation, so that one store serves all of them.

Several processes may use it at once. Nothing in it is needed: what is damaged, or was deleted to make room, is computed
again, and where the disk refuses work goes on without it.
"""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from munjang.engine.backend import Backend
from munjang.engine.running import Ran, run_inputs
from munjang.engine.shard import DamagedShardError, Shard, index_of, write_shard
from munjang.errors import ConfigError, LockedError, MunjangError
from munjang.files import canonical_json, digest_bytes, lock
from munjang.models.folder import fingerprint_model
from munjang.models.source import cache_folder
from munjang.progress import Progress, silent

#: Bytes that all stores may take together: 1.3 million vectors of 384 dimensions.
DEFAULT_BYTES = 2 << 30
#: Raised when Munjang computes other outputs from the same files, or stores them in another way.
_FORMAT = 1
#: Another release of these may compute other outputs.
_LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch")
_SUFFIX = ".rows"
#: Bytes of a shard; bounds the memory of writing one, and how much is deleted at a time.
_SHARD_BYTES = 64 << 20
#: So many shards of like size are merged into one, if they are smaller than the bytes below: lookups ask each shard.
_MERGED_AT, _MERGED_BELOW = 8, 16 << 20
#: Seconds after which a temporary file belongs to nobody, and an empty store is not about to be written to.
_ABANDONED = 3600.0
#: Keys that are looked up at a time; bounds the memory of what is found.
_LOOKED_UP = 32_768


class Found(NamedTuple):
    """What a cache holds of some keys."""

    mask: np.ndarray
    """bool (keys,): True where there is a row."""
    rows: np.ndarray
    """float32 (rows found, width), in the order of their keys."""
    cut: np.ndarray
    """bool (rows found,): True where the end of the input was cut off."""


class OutputCache:
    """One store: the outputs of one model under one prompt.

    Args:
        folder: of the store; the folders beside it are other stores, which share the bound.
        width: numbers a row.
        limit: bytes that all stores may take; after a write the shards that were not used for longest are deleted.
    """

    def __init__(self, folder: Path, width: int, limit: int = DEFAULT_BYTES) -> None:
        self._folder, self._width, self._limit = folder, width, limit
        # None for one that could not be read, so that it is said once.
        self._shards: dict[str, Shard | None] = {}
        self._refused = False

    def get(self, keys: np.ndarray) -> Found:
        """Look up keys, uint64 (n, 2); see `keys_of`. A row is as it was stored, to the bit, or missing."""
        self._look()
        missing = np.arange(len(keys))
        places, pieces, cuts = [], [], []
        for name, shard in list(self._shards.items()):
            if shard is None or not len(missing):
                continue
            found = shard.find(keys[missing])
            hit = found >= 0
            if not hit.any():
                continue
            try:
                rows, cut = shard.read(found[hit])
            except DamagedShardError:
                self._discard(name)
                continue
            with suppress(OSError):  # deleted meanwhile, or not ours to touch
                os.utime(shard.path)
            places.append(missing[hit])
            pieces.append(rows)
            cuts.append(cut)
            missing = missing[~hit]
        mask = np.ones(len(keys), bool)
        mask[missing] = False
        if not pieces:
            return Found(mask, np.empty((0, self._width), np.float32), np.empty(0, bool))
        order = np.argsort(np.concatenate(places))
        return Found(mask, np.concatenate(pieces)[order], np.concatenate(cuts)[order])

    def put(self, keys: np.ndarray, rows: np.ndarray, cut: np.ndarray) -> None:
        """Store rows that are finite; if the disk refuses, that is said once and nothing is stored from then on.

        Args:
            keys: uint64 (n, 2). rows: float32 (n, width). cut: bool (n,), whether the input's end was cut off.
        """
        finite = np.flatnonzero(np.isfinite(rows).all(axis=1))
        if self._refused or not len(finite):
            return
        step = max(_SHARD_BYTES // (4 * self._width), 1)
        try:
            for start in range(0, len(finite), step):
                part = finite[start : start + step]
                write_shard(self._new_path(), index_of(keys[part], rows[part], cut[part]), rows[part])
                self._merge()
                _make_room(self._folder.parent, self._limit)
        except (MunjangError, OSError) as error:
            self._refused = True
            _warn(f"computed outputs are not kept: {error}")

    def _new_path(self) -> Path:
        return self._folder / (secrets.token_hex(8) + _SUFFIX)

    def _look(self) -> None:
        """Open what other processes have added, close what they have deleted."""
        try:
            names = {entry.name for entry in os.scandir(self._folder) if entry.name.endswith(_SUFFIX)}
        except FileNotFoundError:
            names = set()
        except OSError as error:
            names = set()
            if not self._refused:
                self._refused = True
                _warn(f"the cache of outputs cannot be read: {error}")
        self._shards = {name: shard for name, shard in self._shards.items() if name in names}
        for name in sorted(names - set(self._shards)):
            self._open(name)

    def _open(self, name: str) -> None:
        try:
            self._shards[name] = Shard(self._folder / name, self._width)
        except DamagedShardError:
            self._discard(name)
        except FileNotFoundError:
            pass  # deleted meanwhile
        except (OSError, ValueError) as error:
            self._shards[name] = None
            _warn(f"a file of the cache of outputs cannot be read: {error}")

    def _discard(self, name: str) -> None:
        path = self._folder / name
        _warn(f"{path} was damaged and is deleted; its outputs are computed again")
        self._shards[name] = None
        with suppress(OSError):
            path.unlink()

    def _merge(self) -> None:
        """Put small shards of like size together, unless another process is about to."""
        self._look()
        tiers: dict[int, list[Shard]] = {}
        for shard in self._shards.values():
            if shard is not None and shard.size < _MERGED_BELOW:
                # Like in size, so that a row moves as often as the logarithm of the rows says and no more.
                tiers.setdefault(shard.size.bit_length() // 3, []).append(shard)
        for tier in tiers.values():
            if len(tier) < _MERGED_AT:
                continue
            with suppress(LockedError), lock(self._folder.parent, "cache of outputs"):
                here = [shard for shard in tier if shard.path.exists()]
                if here:
                    index = np.concatenate([shard.index for shard in here])
                    write_shard(self._new_path(), index, np.concatenate([shard.raw() for shard in here]))
                for shard in here:
                    shard.path.unlink(missing_ok=True)


def _make_room(root: Path, limit: int) -> None:
    """Delete what was not used for longest until all stores fit the limit, and what killed processes left."""
    kept: list[tuple[int, str, int]] = []
    now = time.time()
    for folder in (entry for entry in os.scandir(root) if entry.is_dir()):
        found = list(_files(folder.path))
        for path, status in found:
            if path.endswith(_SUFFIX):
                kept.append((status.st_mtime_ns, path, status.st_size))
            elif now - status.st_mtime > _ABANDONED:
                Path(path).unlink(missing_ok=True)
        if not found and now - folder.stat().st_mtime > _ABANDONED:
            with suppress(OSError):
                os.rmdir(folder.path)
    total = sum(size for _, _, size in kept)
    for _, path, size in sorted(kept):
        if total <= limit:
            return
        Path(path).unlink(missing_ok=True)
        total -= size


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with suppress(FileNotFoundError):
                yield entry.path, entry.stat()


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=2)


def keys_of(inputs: Sequence[str] | Sequence[tuple[str, str]]) -> np.ndarray:
    """Keys of texts, or of pairs in their order: uint64 (n, 2), a blake2b of 128 bits each."""
    digests = b"".join(blake2b(_spelled(one), digest_size=16).digest() for one in inputs)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def _spelled(one: str | tuple[str, str]) -> bytes:
    if isinstance(one, str):
        return one.encode()
    first, second = (text.encode() for text in one)
    return len(first).to_bytes(8, "little") + first + second


class ModelCache:
    """The stores of one model as one backend runs it.

    Args:
        folder: of the model; its files are read for their digest when the first store is asked for.
        backend: see `munjang.engine.backend.Backend.identity`.
        what: `vectors` or `logits`.
        width: numbers an output.
    """

    def __init__(self, folder: Path, backend: str, what: str, width: int) -> None:
        self._folder, self._identity = folder, (backend, what, width)
        self._stores: dict[str, OutputCache] = {}

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint_model(self._folder)

    def store(self, prompt: str) -> OutputCache | None:
        """The store of a prompt; None where the cache is turned off.

        Raises:
            ConfigError: `MUNJANG_CACHE_BYTES` is not a number of bytes.
        """
        limit = _limit()
        if limit and prompt not in self._stores:
            libraries = {name: version(name) for name in _LIBRARIES}
            name = digest_bytes(
                canonical_json([_FORMAT, libraries, self._fingerprint, *self._identity, prompt]).encode()
            )
            self._stores[prompt] = OutputCache(cache_folder() / "outputs" / name, self._identity[-1], limit)
        return self._stores[prompt] if limit else None


def _limit() -> int:
    named = os.environ.get("MUNJANG_CACHE_BYTES", "").strip()
    if named and not (named.isascii() and named.isdigit()):
        raise ConfigError(
            "this is not a number of bytes",
            where="MUNJANG_CACHE_BYTES",
            expected=f"such as {DEFAULT_BYTES}, or 0 for no cache",
            got=named,
        )
    return int(named) if named else DEFAULT_BYTES


def run_cached(
    cache: ModelCache | None,
    open_backend: Callable[[], Backend],
    inputs: Sequence,
    prompt: str = "",
    progress: Progress = silent,
) -> Ran:
    """`run_inputs` for what the cache does not hold; what is computed is kept while the rest is still under way.

    Args:
        cache: None to compute everything and keep nothing.
        open_backend: called only if something has to be computed.
        inputs: each one once, as `munjang.text.readable` leaves them.
        prompt: goes before every text.
        progress: see `run_inputs`; inputs that are not computed are done at the start.
    """
    store = cache.store(prompt) if cache is not None else None
    if store is None or not len(inputs):
        return run_inputs(open_backend(), inputs, prompt, progress)
    keys = keys_of(inputs)
    mask, outputs, cut = (np.concatenate(parts) for parts in zip(*_looked_up(store, keys), strict=True))
    missing = np.flatnonzero(~mask)
    hits = len(inputs) - len(missing)
    progress(hits, len(inputs), "")
    if not len(missing):
        return Ran(outputs, cut, 0, 0.0, hits)
    ran = run_inputs(
        open_backend(),
        [inputs[i] for i in missing],
        prompt,
        lambda done, total, note="": progress(hits + done, hits + total, note),
        keep=lambda places, rows, cut: store.put(keys[missing[places]], rows, cut),
    )
    if not hits:
        return ran
    whole, truncated = np.empty((len(inputs), outputs.shape[1]), np.float32), np.empty(len(inputs), bool)
    whole[mask], truncated[mask] = outputs, cut
    whole[missing], truncated[missing] = ran.outputs, ran.truncated
    return ran._replace(outputs=whole, truncated=truncated, cached=hits, lengths=None)


def _looked_up(store: OutputCache, keys: np.ndarray) -> Iterator[Found]:
    return (store.get(keys[start : start + _LOOKED_UP]) for start in range(0, len(keys), _LOOKED_UP))
