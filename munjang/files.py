"""The door for the disk: directories that are either whole or absent, small files replaced at once, locks.

A result is written to `.tmp-NAME`, every file is flushed, a manifest with sizes and digests is added, the
directory is renamed to a new name, and the parent is flushed. A directory without a valid manifest does
not exist for Munjang. After a power cut there is the old state or the new one, never something between.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from munjang.errors import DataError, DiskError, LockedError, MunjangError, from_os_error

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
_TEMPORARY = ".tmp-"
_CHUNK = 1 << 20


def digest_bytes(content: bytes) -> str:
    """blake2b of some bytes, 128 bits, as 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_file(path: Path) -> str:
    """blake2b of a file's content, 128 bits, read in chunks of 1 MiB."""
    state = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError as error:
        raise from_os_error(error, path, doing="read") from error
    return state.hexdigest()


def digest_folder(folder: Path) -> str:
    """One digest for all files below a folder: names and contents, without hidden files."""
    lines = [f"{name} {digest_file(folder / name)}" for name in _files_below(folder) if name != MANIFEST]
    return digest_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))


def _files_below(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder) for path in found)
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def canonical_json(value: Any) -> str:
    """JSON with one spelling: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Replace a small JSON file at once: a reader sees the old content or the new one."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    # A lone surrogate (a file name in another encoding) is not UTF-8; escaped it is still JSON.
    write_bytes(path, text.encode("utf-8", "backslashreplace") + b"\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a small file at once, flushed to the disk before the name changes."""
    temporary = path.with_name(f"{_TEMPORARY}{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _with_free_space(error, path) from error


def read_json(path: Path) -> Any:
    """Read a JSON file that Munjang wrote; a damaged one is a `DataError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise from_os_error(error, path, doing="read") from error
    except (ValueError, RecursionError) as error:
        raise DataError("this file is damaged", where=path, got=str(error)) from error


@contextlib.contextmanager
def new_directory(final: Path, **meta: Any) -> Iterator[Path]:
    """Fill a directory and commit it under a name that must not exist yet.

    Yields a temporary directory beside `final`. On leaving the block its files are flushed, listed in
    `manifest.json` with size and digest, and the directory takes its final name. If anything fails, the
    temporary directory is removed and `final` does not appear.

    Args:
        final: the name after the commit.
        meta: JSON values to keep in the manifest, such as a fingerprint.

    Raises:
        DiskError: the disk refused (full, read-only, a name that is taken).
    """
    temporary = final.with_name(f"{_TEMPORARY}{final.name}-{os.getpid()}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(final)
        temporary.mkdir()
        yield temporary
        _commit(temporary, final, meta)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        refused = _refusal(error)
        if refused is not None:
            raise _with_free_space(refused, final) from error
        raise


def _remove_orphans(final: Path) -> None:
    """Remove what a killed process left of the same directory; a living one keeps its own."""
    prefix = f"{_TEMPORARY}{final.name}-"
    for path in final.parent.glob(glob.escape(prefix) + "*"):
        number = path.name[len(prefix) :]
        if number.isdigit() and (int(number) == os.getpid() or not _is_alive(int(number))):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _refusal(error: BaseException) -> OSError | None:
    """The operating system's refusal behind an error; safetensors and others carry it as text only."""
    if isinstance(error, OSError):
        return error if error.errno is not None else None  # libraries raise bare OSErrors for causes of their own
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _commit(temporary: Path, final: Path, meta: dict[str, Any]) -> None:
    # The manifest of a copied directory describes that one.
    (temporary / MANIFEST).unlink(missing_ok=True)
    files = {}
    for name in _files_below(temporary):
        path = temporary / name
        path.chmod(0o644)  # safetensors saves with 0600, which a server under another user cannot read
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[name] = {"size": path.stat().st_size, "blake2b": digest_file(path)}
    content = {"format": MANIFEST_FORMAT, "meta": meta, "files": files}
    write_json(temporary / MANIFEST, {**content, "digest": _manifest_digest(content)})
    for folder in {path.parent for path in temporary.rglob("*")}:
        _flush_folder(folder)
    if final.exists():
        raise DiskError("a directory of this name exists already", where=final)
    temporary.rename(final)
    _flush_folder(final.parent)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _with_free_space(error: OSError, path: Path) -> MunjangError:
    translated = from_os_error(error, error.filename or path, doing="write")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return translated  # space is not what is lacking
    with contextlib.suppress(OSError):
        translated.got = f"{shutil.disk_usage(path.parent).free / 1e6:,.0f} MB free on that disk"
        translated.args = (translated.sentence(),)
    return translated


def digest_of_manifest(manifest: dict[str, Any]) -> str:
    """What `digest_folder` returns for a committed directory, from the digests that its manifest lists."""
    lines = [f"{name} {entry['blake2b']}" for name, entry in sorted(manifest["files"].items())]
    return digest_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))


def _manifest_digest(content: dict[str, Any]) -> str:
    """A digest of the manifest itself, so that a flipped bit in it is found as well."""
    return digest_bytes(canonical_json(content).encode("utf-8", "backslashreplace"))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a committed directory, or None where there is none or it cannot be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict):
        return None
    # The format comes first: a newer one may be digested in another way.
    newer = isinstance(manifest.get("format"), int) and manifest["format"] > MANIFEST_FORMAT
    if not newer and manifest.pop("digest", None) != _manifest_digest(manifest):
        return None
    if newer:
        raise DataError(
            "this directory was written by a newer Munjang",
            where=folder,
            expected=f"format {MANIFEST_FORMAT} or older",
            got=f"format {manifest['format']}",
            hint="run: pip install --upgrade munjang",
        )
    return manifest


def damage(folder: Path) -> str | None:
    """What is wrong with a committed directory, in one phrase, or None if every byte is as it was written."""
    manifest = read_manifest(folder)
    if manifest is None:
        return "its manifest is missing or damaged"
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["size"]:
            return f"{name} has {path.stat().st_size} bytes instead of {entry['size']}"
        if digest_file(path) != entry["blake2b"]:
            return f"{name} has changed since it was written"
    return None


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A second name for a file, or a copy where the disk has no second names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def remove_leftovers(folder: Path) -> int:
    """Remove temporary files and directories that a killed process left behind; returns how many.

    Call it only while holding the lock of the directory.
    """
    if not folder.is_dir():
        return 0
    leftovers = [path for path in folder.iterdir() if path.name.startswith(_TEMPORARY)]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(leftovers)


@contextlib.contextmanager
def lock(folder: Path, what: str = "run", *, wait: bool = False) -> Iterator[None]:
    """Hold a directory for this process alone; the operating system frees it even after `kill -9`.

    Args:
        folder: created if it does not exist.
        what: names the directory's content in the error.
        wait: wait for the other process instead of failing.

    Raises:
        LockedError: another process holds it; the message names its process id.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise from_os_error(error, folder, doing="write") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            raise LockedError(
                f"this {what} is locked by process {holder}",
                where=folder,
                hint="wait until it has finished, or stop it; then run the same command again",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
