"""Loads a model of sentence-transformers; whatever goes wrong inside becomes one error that names the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from transformers import PreTrainedModel

from munjang.errors import DataError, MunjangError
from munjang.models.folder import require_kind, require_safe_folder
from munjang.models.weights import plain_name, stored_tensors

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
    with loading(folder):
        model = kind(str(folder), device=device, local_files_only=True, model_kwargs={"use_safetensors": True})
    first = next(iter(model.children()), None)
    if isinstance(first, Transformer):
        keep_lower_case(first)
        require_all_weights(first.model, folder)
    model.eval()
    return model


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Whatever a library raises inside becomes one `DataError` that names the folder."""
    try:
        yield
    except MunjangError:
        raise
    except Exception as error:
        got = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(
            "this model cannot be loaded", where=folder, got=got, hint="a file of it is damaged or missing"
        ) from error


def keep_lower_case(transformer: Transformer) -> None:
    """Let a transformer say in its saved settings that it lowercases.

    sentence-transformers 6.2 reads `do_lower_case` and does not write it, and tokenizers that are built anew from
    their vocabulary lose the added normaliser: what was loaded, saved and loaded again would read capitals as other
    words.
    """
    if transformer.do_lower_case:
        transformer.config_keys = list(dict.fromkeys([*transformer.config_keys, "do_lower_case"]))


def require_all_weights(body: PreTrainedModel, folder: Path) -> None:
    """Refuse a model of which weights are missing in the files: transformers draws them at random and goes on.

    A pooler is let pass: many published bodies have none, and mean pooling does not read it.

    Args:
        body: the loaded model.
        folder: whose safetensors it was loaded from.

    Raises:
        DataError: a tensor is missing; the first is named.
    """
    prefix = body.base_model_prefix
    stored = stored_tensors(folder, prefix)
    tied = {plain_name(key, prefix) for key in getattr(body, "all_tied_weights_keys", None) or {}}
    expected = {plain_name(key, prefix) for key, _ in body.named_parameters()}
    missing = sorted(key for key in expected - set(stored) - tied if "pooler" not in key)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError("weights are missing in this model", where=folder, got=f"no {missing[0]}{more}")
