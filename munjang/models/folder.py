"""What a model's folder must hold before it is loaded: safe weights, a tokenizer, readable settings, the right kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from munjang.errors import DataError, MissingInputError
from munjang.files import digest_folder, digest_of_manifest, read_manifest

_Json = TypeVar("_Json", dict, list)

#: Without one of these transformers would build an empty tokenizer, and every text would look alike.
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)

#: What kinds of transformers call the number of their layers.
_LAYER_COUNTS = ("num_hidden_layers", "n_layers", "num_layers")


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder; empty where there is no such file.

    Raises:
        DataError: the file is not a JSON object.
    """
    return _read(path, dict, "an object")


def read_list(path: Path) -> list[Any]:
    """A JSON list of a model's folder; empty where there is no such file.

    Raises:
        DataError: the file is not a JSON list.
    """
    return _read(path, list, "a list")


def _read(path: Path, kind: type[_Json], expected: str) -> _Json:
    if not path.is_file():
        return kind()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError("this file is damaged", where=path, got=str(error)) from error
    if not isinstance(value, kind):
        raise DataError("this file is damaged", where=path, expected=expected, got=type(value).__name__)
    return value


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """The modules of a model as `modules.json` lists them; empty for a bare transformer.

    Raises:
        DataError: the file is not a list of objects.
    """
    path = folder / "modules.json"
    modules = read_list(path)
    if not all(isinstance(entry, dict) for entry in modules):
        raise DataError("this file is damaged", where=path, expected="a list of objects")
    return modules


def require_safe_folder(folder: Path) -> None:
    """Refuse a folder whose weights could run code when loaded, or that lacks weights or a tokenizer.

    Raises:
        DataError: there are no safetensors or no tokenizer, or the configuration asks for code of its own.
    """
    parts = (folder, *sorted(path for path in folder.iterdir() if path.is_dir()))
    # Every module's folder by itself: a later module would be loaded from its pickle though the first has none.
    for part in parts:
        pickled = sorted([*part.glob("pytorch_model*.bin"), *part.glob("*.pt"), *part.glob("*.pkl")])
        if pickled and not list(part.glob("*.safetensors")):
            raise DataError(
                "these weights are pickled, and loading them could run code",
                where=pickled[0],
                expected="model.safetensors",
                hint="load the model once in a place you trust and save it with save_pretrained(); that writes safetensors",
            )
    nested = folder / "model"
    if (nested / "config.json").is_file() and not (folder / "config.json").is_file():
        raise DataError("this folder holds a model in a folder of its own", where=folder, hint=f"name {nested}")
    if not any(list(part.glob("*.safetensors")) for part in parts):
        raise DataError(
            "this folder holds no model", where=folder, expected="model.safetensors", hint="name the folder of a model"
        )
    if not any((part / name).is_file() for part in parts for name in TOKENIZER_FILES):
        raise DataError("this model has no tokenizer", where=folder, expected=" or ".join(TOKENIZER_FILES[:2]))
    if "auto_map" in read_settings(folder / "config.json"):
        where = folder / "config.json"
        raise DataError(
            "this model asks to run code of its own (auto_map)", where=where, hint="use a model without remote code"
        )


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
    declared = read_settings(folder / "config_sentence_transformers.json").get("model_type")
    if declared in ("CrossEncoder", "SentenceTransformer"):
        return "cross-encoder" if declared == "CrossEncoder" else "bi-encoder"
    if (folder / "modules.json").is_file():
        return "bi-encoder"
    names = read_settings(folder / "config.json").get("architectures") or []
    return "cross-encoder" if any(str(n).endswith("ForSequenceClassification") for n in names) else "bi-encoder"


def is_static(first: dict[str, Any]) -> bool:
    """True if the first entry of `modules.json` is a table of token vectors in place of a transformer."""
    return str(first.get("type", "")).rsplit(".", 1)[-1] == "StaticEmbedding"


def layers_of(folder: Path) -> int | None:
    """How many layers the transformer of a model has: 0 where there is none, None where its folder does not say.

    Args:
        folder: of the model.

    Raises:
        DataError: a file of settings is damaged.
    """
    first = next(iter(read_modules(folder)), {})
    if is_static(first):
        return 0
    place = folder / str(first.get("path", ""))
    settings = read_settings(place / "config.json")
    counts = (settings.get(name) for name in _LAYER_COUNTS)
    return next((count for count in counts if isinstance(count, int)), None)


def fingerprint_model(folder: Path) -> str:
    """A digest of all files of a model; committed folders answer from their manifest."""
    manifest = read_manifest(folder)
    return digest_folder(folder) if manifest is None else digest_of_manifest(manifest)
