"""What in a model's folder could run code when it is loaded, and whether it is whole. Nothing is loaded to find out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from munjang.data.lint import Finding
from munjang.errors import DataError
from munjang.models.folder import TOKENIZER_FILES, read_settings
from munjang.models.settings import SETTINGS, modules_of
from munjang.models.shapes import tensor_shapes

_PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
#: Files of settings in which a model may ask for code of its own.
_ASKING = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
#: What modules and activations may be; everything else is code that comes from somewhere else.
_TRUSTED = ("sentence_transformers.", "torch.nn.")


def lint_safety(name: str, folder: Path) -> list[Finding]:
    """Pickled weights, code of the model's own, and files without which it cannot be loaded.

    Args:
        name: of the model, as the findings call it.
        folder: read, never loaded.
    """
    return [*_pickles(name, folder), *_code(name, folder), *_missing(name, folder)]


def parts_of(folder: Path) -> list[Path]:
    """A model's folder and those directly below it."""
    return [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))]


def _pickles(name: str, folder: Path) -> Iterator[Finding]:
    for part in parts_of(folder):
        pickled = sorted({path for pattern in _PICKLED for path in part.glob(pattern)})
        if not pickled:
            continue
        file = pickled[0].relative_to(folder).as_posix()
        safe = bool(list(part.glob("*.safetensors")))
        message = f"{file} is pickled: loading it could run code, so it is not loaded"
        if safe:
            remedy = "none needed: the safetensors beside it are read; delete it to be sure that nothing else reads it"
        else:
            remedy = (
                "load the model once in a place you trust and save it with save_pretrained(); that writes safetensors"
            )
        yield Finding("note" if safe else "error", "pickled-weights", name, message, str(pickled[0]), remedy)


def _code(name: str, folder: Path) -> Iterator[Finding]:
    remedy = "use a model without code of its own; Munjang never runs such code"
    for path in (part / file for part in parts_of(folder) for file in _ASKING):
        if "auto_map" in _settings(path):
            message = f"{path.relative_to(folder).as_posix()} asks to run code that comes with the model (auto_map)"
            yield Finding("error", "remote-code", name, message, str(_settings(path)["auto_map"])[:200], remedy)
    try:
        modules = modules_of(folder)
    except DataError:
        return  # said where the modules are looked at
    activations = [m.settings.get("activation_function") for m in modules]
    activations += [_settings(folder / SETTINGS).get("activation_fn")]
    for what in (*(module.type for module in modules), *activations):
        if isinstance(what, str) and not what.startswith(_TRUSTED):
            message = "a module or an activation that is neither of sentence-transformers nor of torch.nn is code from elsewhere"
            yield Finding("error", "remote-code", name, message, what[:200], remedy)


def _missing(name: str, folder: Path) -> Iterator[Finding]:
    parts = parts_of(folder)
    weights = [path for part in parts for path in part.glob("*.safetensors")]
    pickled = any(True for part in parts for pattern in _PICKLED for _ in part.glob(pattern))
    remedy = "name the folder of a whole model; sentence-transformers writes one with save_pretrained()"
    if not weights and not pickled:
        nested = "model" if (folder / "model" / "config.json").is_file() else ""
        hint = f"name {folder / 'model'}" if nested else remedy
        yield Finding("error", "incomplete-model", name, "there are no weights (model.safetensors)", str(folder), hint)
    if not any((part / file).is_file() for part in parts for file in TOKENIZER_FILES):
        message = "there is no tokenizer: an empty one would take its place, and every text would look alike"
        yield Finding("error", "incomplete-model", name, message, str(folder), remedy)
    for part in parts:
        try:
            tensor_shapes(part)
        except DataError as error:
            yield Finding("error", "incomplete-model", name, error.sentence(), remedy=remedy)


def _settings(path: Path) -> dict[str, Any]:
    """Settings, or none where the file is damaged: whoever needs them says so."""
    try:
        return read_settings(path)
    except DataError:
        return {}
