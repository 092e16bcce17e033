"""What in a model's folder has a row or an id for each piece of the vocabulary, and how it is written with some pieces only."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from munjang.engine.loading import loading
from munjang.errors import DataError
from munjang.files import MANIFEST
from munjang.models.folder import read_settings
from munjang.models.settings import transformer_folder
from munjang.models.weights import plain_name, weight_files

#: Copied as they are; exports in other formats hold the whole vocabulary and would no longer fit.
_COPIED = {".json", ".md", ".txt", ".safetensors", ".npz", ""}
#: Other spellings of the vocabulary: `tokenizer.json` says it all.
_SPELLINGS = {"vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.json"}
_SPELLING_SUFFIXES = {".model"}


@dataclass(frozen=True)
class VocabularyRows:
    """What a transformer's configuration and architecture say of its vocabulary."""

    prefix: str
    """Of the body's tensors inside a larger model, such as `bert`."""
    tensors: frozenset[str]
    """Plain names of the body's tensors."""
    embeddings: frozenset[str]
    """Those of the word embeddings and of what is tied to them."""
    rows: int
    required: frozenset[int]
    """Ids that the configuration names, and all up to the one from which positions are counted."""

    @classmethod
    def of(cls, folder: Path, names: dict[int, str]) -> VocabularyRows:
        """Read them from a model's folder; its weights are not loaded.

        Args:
            folder: of the model.
            names: id -> piece of its tokenizer.

        Raises:
            DataError: the model is damaged, or its embeddings do not hold a row for each piece.
        """
        place = transformer_folder(folder)
        with loading(folder):
            config = AutoConfig.from_pretrained(str(place), local_files_only=True)
            with torch.device("meta"):
                model = AutoModel.from_config(config)
        whole = model.get_input_embeddings()
        rows = read_settings(place / "config.json").get("vocab_size")
        if not isinstance(whole, nn.Embedding) or whole.num_embeddings != rows or max(names) >= rows:
            raise DataError(
                "the vocabulary of this model cannot be trimmed",
                where=place / "config.json",
                expected=f"word embeddings with a row for each of {max(names) + 1:,} pieces",
                got=f"vocab_size {rows}",
            )
        if config.pad_token_id is not None and config.pad_token_id not in names:
            raise DataError("pad_token_id names no piece", where=place / "config.json", got=str(config.pad_token_id))
        named = {i for value in special_ids(config.to_dict()).values() for i in value}
        required = {*named, *range(_first_position(model))} & set(names)
        prefix = model.base_model_prefix
        state = frozenset(plain_name(name, prefix) for name in model.state_dict())
        return cls(prefix, state, _tied_to(model, whole, prefix), rows, frozenset(required))

    def holds(self, name: str, shape: Sequence[int]) -> bool:
        """True for a tensor with a row for each piece: word embeddings, or a head for language modelling outside of the body."""
        plain = plain_name(name, self.prefix)
        return plain in self.embeddings or (plain not in self.tensors and len(shape) > 0 and shape[0] == self.rows)


def _tied_to(model: PreTrainedModel, whole: nn.Embedding, prefix: str) -> frozenset[str]:
    parameters = model.named_parameters(remove_duplicate=False)
    names = {plain_name(name, prefix) for name, parameter in parameters if parameter is whole.weight}
    tied = (getattr(model, "all_tied_weights_keys", None) or {}).items()
    pairs = [{plain_name(one, prefix), plain_name(other, prefix)} for one, other in tied]
    return frozenset(names.union(*(pair for pair in pairs if names & pair)))


def _first_position(model: PreTrainedModel) -> int:
    """Where positions start: RoBERTa and its kin count them from the padding id on, so this id must stay where it is."""
    found = [part for name, part in model.named_modules() if name.endswith("position_embeddings")]
    return max((part.padding_idx + 1 for part in found if getattr(part, "padding_idx", None) is not None), default=0)


def special_ids(config: dict[str, Any]) -> dict[str, list[int]]:
    """Name -> ids of every entry of a configuration that names tokens, such as `pad_token_id`."""
    entries = {name: value for name, value in config.items() if re.fullmatch(r"\w+_token_ids?", name)}
    lists = {name: value if isinstance(value, list) else [value] for name, value in entries.items()}
    return {name: [i for i in value if type(i) is int] for name, value in lists.items()}


def copy_around(
    folder: Path, out: Path, *, tokenizer: bool = False, weights: Collection[Path] | None = None
) -> tuple[str, ...]:
    """Copy a model's folder without the weights of its transformer; returns what was left out for good.

    Left out are files that hold the whole model in a form that is not cut here, such as exports and pickles.

    Args:
        folder: of the source.
        out: of the target.
        tokenizer: copy the files of the vocabulary too.
        weights: files that are written by the caller; by default those of the transformer.
    """
    weights = weight_files(folder) if weights is None else weights
    left_out = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if not path.is_file() or hidden or path in weights or path.name == MANIFEST:
            continue
        spelling = path.name in _SPELLINGS or path.suffix in _SPELLING_SUFFIXES
        if spelling and not tokenizer:
            continue
        if path.suffix not in _COPIED and not spelling:
            left_out.append(name.as_posix())
            continue
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / name)
    return tuple(left_out)


def write_weights(folder: Path, out: Path, rows: VocabularyRows, kept: Sequence[int]) -> tuple[int, int]:
    """Write a transformer's safetensors with the kept rows only, shard by shard; every other tensor bit by bit.

    Args:
        folder: of the source.
        out: of the target, which has the same layout.
        rows: of the source.
        kept: old ids in their new order.

    Returns:
        Parameters of the whole model before and after, with those of later modules.
    """
    index = torch.tensor(kept)
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as source:
            tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
            metadata = source.metadata()
        for name, tensor in tensors.items():
            if rows.holds(name, tensor.shape):
                tensors[name] = tensor[index].contiguous()
        save_file(tensors, out / path.relative_to(folder), metadata=metadata)
    write_total_size(transformer_folder(out))
    return _parameters(folder), _parameters(out)


def write_total_size(place: Path) -> None:
    """Say in the index of weights in several files, if there is one, how many bytes they are now."""
    for path in place.glob("*.safetensors.index.json"):
        total = 0
        for file in place.glob("*.safetensors"):
            with safe_open(file, framework="pt") as stored:
                total += sum(stored.get_tensor(name).nbytes for name in stored.keys())  # noqa: SIM118
        content = read_settings(path)
        content["metadata"] = {**(content.get("metadata") or {}), "total_size": total}
        content["metadata"].pop("total_parameters", None)
        _write(path, content)


def _parameters(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*.safetensors"):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                total += torch.Size(tensors.get_slice(name).get_shape()).numel()
    return total


def write_settings(out: Path, tokenizer: dict[str, Any], new_ids: dict[int, int]) -> None:
    """Write a trimmed tokenizer into a copied folder, and the new size and ids into the settings beside it.

    Args:
        out: of the target; holds copies of the source's settings.
        tokenizer: content of the trimmed `tokenizer.json`.
        new_ids: old id -> new id.
    """
    place = transformer_folder(out)
    (place / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    for name in ("config.json", "generation_config.json"):
        settings = read_settings(place / name)
        for key, ids in special_ids(settings).items():
            if ids:
                changed = [new_ids.get(i, i) for i in ids]
                settings[key] = changed if isinstance(settings[key], list) else changed[0]
        if "vocab_size" in settings:
            settings["vocab_size"] = len(new_ids)
        if settings:
            _write(place / name, settings)
    settings = read_settings(place / "tokenizer_config.json")
    added = settings.get("added_tokens_decoder")
    if isinstance(added, dict):
        known = {int(i): entry for i, entry in added.items() if int(i) in new_ids}
        settings["added_tokens_decoder"] = {str(new_ids[i]): entry for i, entry in known.items()}
    settings.pop("vocab_file", None)
    if settings:
        _write(place / "tokenizer_config.json", settings)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
