"""Layer cutting: a student of some of a model's layers, every tensor of which is the same bits."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig

from munjang.engine.loading import loading
from munjang.errors import ConfigError, DataError, Option
from munjang.models.folder import read_settings, require_safe_folder
from munjang.models.options import LAYER_RULE
from munjang.models.rows import copy_around
from munjang.models.settings import transformer_folder
from munjang.models.weights import model_size, weight_files

#: Names under which configurations count their layers.
_COUNTS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_LAYER = re.compile(r"^(?P<stack>.*?\b(?:layers?|blocks?|h))\.(?P<number>\d+)\.")


@dataclass(frozen=True)
class LayersReport:
    """What a cut did."""

    kept: tuple[int, ...]
    """Layers that stay, counted from 0 at the input."""
    layers_before: int
    tensors: int
    """Tensors that were written, each the same bits as in the source."""
    parameters_before: int
    parameters_after: int
    left_out: tuple[str, ...]
    """Files of the source that were not copied, since they hold all layers."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "kept": list(self.kept), "left_out": list(self.left_out)}

    def sentences(self) -> list[str]:
        """What was kept, for people."""
        kept = ", ".join(map(str, self.kept))
        before, after = (count / 1e6 for count in (self.parameters_before, self.parameters_after))
        lines = [f"layers {kept} of {self.layers_before} stay: {before:,.1f} -> {after:,.1f} million parameters"]
        if self.left_out:
            lines.append(f"not copied, since they hold all layers: {', '.join(self.left_out)}")
        return lines


def layer_list(body: Any) -> Any:
    """The list of a transformer's layers in memory, a `torch.nn.ModuleList`; empty where there is none.

    Args:
        body: such as a `BertModel`.
    """
    from torch import nn

    lists = [module for module in body.modules() if isinstance(module, nn.ModuleList)]
    wanted = getattr(body.config, "num_hidden_layers", None)
    # Of a model whose configuration does not count them, the first list of several modules.
    return next((m for m in lists if (len(m) == wanted if wanted else len(m) > 1)), nn.ModuleList())


def which_layers(wanted: Sequence[int] | str, total: int) -> list[int]:
    """The numbers of the layers to keep, in order.

    Args:
        wanted: numbers from 0, or `first-N` for the N at the input, or `even-N` for N spread from the first to the last:
            the choice of most small students, since every part of the way through the model is there (Sanh et al. 2019,
            arXiv 1910.01108, takes every other one).
        total: layers that there are.

    Raises:
        ConfigError: there are fewer, or a number stands twice.
    """
    if isinstance(wanted, str):
        rule = re.fullmatch(LAYER_RULE, wanted)
        if rule is None or rule[1] == "best" or int(rule[2]) > total:
            raise ConfigError(
                "these layers cannot be kept",
                where=Option("keep_layers", wanted),
                expected=f"numbers from 0 to {total - 1}, or first-N or even-N with at most {total}",
            )
        count = int(rule[2])
        return (
            list(range(count)) if rule[1] == "first" else np.linspace(0, total - 1, count).round().astype(int).tolist()
        )
    kept = sorted(wanted)
    if not kept or len(set(kept)) < len(kept) or not 0 <= kept[0] <= kept[-1] < total:
        raise ConfigError(
            "these layers cannot be kept",
            where=Option("keep_layers", " ".join(map(str, wanted))),
            expected=f"distinct numbers from 0 to {total - 1}",
        )
    return kept


def cut_layers(folder: Path, out: Path, wanted: Sequence[int] | str) -> LayersReport:
    """Write a model that has only some of its layers; all else is copied as it is.

    Args:
        folder: a transformer, a bi-encoder or a cross-encoder.
        out: folder to write into; new, or empty but for hidden files.
        wanted: see `which_layers`.

    Raises:
        ConfigError: no such layers. DataError: the folder is unsafe or damaged, or its layers are not stored one by one, as
            those of ALBERT, which are one layer many times, and those of models with two stacks.
    """
    require_safe_folder(folder)
    place = transformer_folder(folder)
    settings = read_settings(place / "config.json")
    named = next((name for name in _COUNTS if isinstance(settings.get(name), int)), None)
    stack, total = _stack(folder, settings.get(named) if named else None)
    kept = which_layers(wanted, total)
    left_out = copy_around(folder, out, tokenizer=True)
    places = {old: new for new, old in enumerate(kept)}
    names = {
        path.name: _write_shard(path, out / path.relative_to(folder), stack, places) for path in weight_files(folder)
    }
    target = transformer_folder(out)
    _write_index(target, names)
    settings[named] = len(kept)
    kinds = _kinds_of_layers(folder, total)
    if kinds is not None:
        settings["layer_types"] = [kinds[i] for i in kept]
    (target / "config.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    tensors = sum(map(len, names.values()))
    sizes = (model_size(one).parameters for one in (folder, out))
    return LayersReport(tuple(kept), total, tensors, *sizes, left_out)


def _stack(folder: Path, counted: int | None) -> tuple[str, int]:
    """What stands before the numbers of the layers in the names of tensors, and how many layers there are."""
    numbers: dict[str, set[int]] = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if found := _LAYER.match(name):
                    numbers.setdefault(found["stack"], set()).add(int(found["number"]))
    if len(numbers) != 1 or counted is None or next(iter(numbers.values())) != set(range(counted)):
        got = ", ".join(f"{stack}: {len(some)}" for stack, some in numbers.items()) or "none"
        raise DataError(
            "the layers of this model are not stored one by one in one stack",
            where=folder,
            expected="layers 0, 1, 2, ... as config.json counts them",
            got=got,
            hint="name a model such as BERT, RoBERTa, DistilBERT, MPNet or ModernBERT",
        )
    return next(iter(numbers)), counted


def _write_shard(source: Path, target: Path, stack: str, places: dict[int, int]) -> list[str]:
    """Write what stays of one file of weights under its new names; returns these."""
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    with safe_open(source, framework="pt") as stored:
        for name in stored.keys():  # noqa: SIM118
            found = _LAYER.match(name)
            if found is None or found["stack"] != stack:
                tensors[name] = stored.get_tensor(name)
            elif int(found["number"]) in places:
                rest = name[found.end() :]
                tensors[f"{stack}.{places[int(found['number'])]}.{rest}"] = stored.get_tensor(name)
        metadata = stored.metadata()
    save_file(tensors, target, metadata=metadata)
    return list(tensors)


def _write_index(target: Path, names: dict[str, list[str]]) -> None:
    """Of weights in several files, which tensor lies in which."""
    for path in target.glob("*.safetensors.index.json"):
        where = {name: file for file, some in names.items() for name in some}
        size = sum((target / file).stat().st_size for file in names)
        path.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": where}, indent=2), encoding="utf-8")


def _kinds_of_layers(folder: Path, total: int) -> list[str] | None:
    """Of models whose layers differ by their place, such as every third one that attends to all, what each layer is."""
    with loading(folder):
        config = AutoConfig.from_pretrained(str(transformer_folder(folder)), local_files_only=True)
    kinds = getattr(config, "layer_types", None)
    return list(kinds) if kinds is not None and len(kinds) == total else None
