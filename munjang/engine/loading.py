"""Loads a model of sentence-transformers; whatever goes wrong inside becomes one error that names the folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from safetensors import safe_open
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.errors import DataError
from munjang.models.folder import require_kind, require_safe_folder

_Model = TypeVar("_Model", SentenceTransformer, CrossEncoder)


def load_model(kind: type[_Model], folder: Path, device: str) -> _Model:
    """Load a folder as a bi-encoder or a cross-encoder, from its safetensors only, in evaluation mode.

    Args:
        kind: `SentenceTransformer` or `CrossEncoder`.
        folder: checked to be safe and of this kind.
        device: such as `cpu`.

    Raises:
        MissingInputError: no such folder. DataError: it is unsafe, of the other kind, or cannot be loaded.
    """
    require_kind(folder, "bi-encoder" if kind is SentenceTransformer else "cross-encoder")
    require_safe_folder(folder)
    try:
        model = kind(str(folder), device=device, local_files_only=True, model_kwargs={"use_safetensors": True})
    except Exception as error:
        got = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(
            "this model cannot be loaded", where=folder, got=got, hint="a file of it is damaged or missing"
        ) from error
    _require_all_weights(model, folder)
    model.eval()
    return model


def _require_all_weights(model: SentenceTransformer | CrossEncoder, folder: Path) -> None:
    """Refuse a model of which weights are missing in the files: transformers draws them at random and goes on.

    A pooler is let pass: many published bodies have none, and mean pooling does not read it.
    """
    body = getattr(model, "transformers_model", None)
    files = sorted({*folder.glob("*.safetensors"), *folder.glob("0_Transformer/*.safetensors")})
    if body is None or not files:
        return
    stored = set()
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            stored |= {_plain_name(key, body.base_model_prefix) for key in tensors.keys()}  # noqa: SIM118
    tied = {_plain_name(key, body.base_model_prefix) for key in getattr(body, "all_tied_weights_keys", None) or {}}
    expected = {_plain_name(key, body.base_model_prefix) for key, _ in body.named_parameters()}
    missing = sorted(key for key in expected - stored - tied if "pooler" not in key)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError("weights are missing in this model", where=folder, got=f"no {missing[0]}{more}")


def _plain_name(key: str, prefix: str) -> str:
    """A tensor's name without the body's prefix, under today's names of layer norm."""
    key = key.removeprefix(f"{prefix}.")
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
