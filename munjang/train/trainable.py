"""What of a model is trained: all of it, its upper layers, the word embeddings that occur, or low-rank adapters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from munjang.errors import missing_extra
from munjang.models.layers import layer_list
from munjang.train.options import Lora, TrainOptions, fewer_layers
from munjang.train.packing import pack, unpack
from munjang.train.vocabulary import keep_used_rows, restore_all_rows, word_embedding


class Prepared(NamedTuple):
    """A model that is ready to be trained."""

    undo: Callable[[], None]
    """Makes it an ordinary model again, once the weights are final."""
    packed: bool
    """True if nothing is computed for padding."""
    said: tuple[str, ...] = ()
    """What the user did not ask for, in sentences."""


def prepare(model: Any, options: TrainOptions, used_tokens: Sequence[int], seed: int) -> Prepared:
    """Freeze, wrap and replace what the options say.

    Args:
        model: a bi-encoder or a cross-encoder.
        options: of the training.
        used_tokens: ids of all tokens of the training rows.
        seed: of the adapters' first weights.

    Raises:
        ConfigError: there are fewer layers than are to be frozen.
        UnavailableError: `lora` is asked for and peft is not installed.
    """
    whole = getattr(model, "transformers_model", None)
    body, packed = getattr(whole, "base_model", None), None
    if body is not None:
        packed = pack(body, options.gradient_checkpointing)
    if options.gradient_checkpointing and packed is None and whole is not None:
        whole.gradient_checkpointing_enable({"use_reentrant": False})
    undo, said = _choose(model, options, used_tokens, seed)

    def finish() -> None:
        if packed is not None:
            unpack(body, packed)
        undo()

    return Prepared(finish, packed is not None, said)


def _choose(
    model: Any, options: TrainOptions, used_tokens: Sequence[int], seed: int
) -> tuple[Callable[[], None], tuple[str, ...]]:
    """Freeze and wrap; returns what undoes it, and what has to be said."""
    if options.lora is not None:
        return _add_lora(model, options.lora, seed), ()
    if options.freeze_layers:
        _freeze_layers(model.transformers_model.base_model, options)
    if options.word_embeddings == "all":
        return _nothing, ()
    whole = word_embedding(model)[2]
    if options.word_embeddings == "frozen":
        whole.weight.requires_grad_(False)
    if not whole.weight.requires_grad:
        return _nothing, ()
    rows = keep_used_rows(model, used_tokens)
    if rows is None:
        return _nothing, (
            f"the {len(whole.weight):,} word embeddings are trained as a whole, not only those of the pieces in the "
            "texts: another part of the model uses the same matrix, or it is of an unusual kind",
        )
    return lambda: restore_all_rows(model, rows), ()


def _nothing() -> None:
    """There is nothing to undo."""


def _freeze_layers(body: Any, options: TrainOptions) -> None:
    """Keep the lowest layers, and all that lies below them, as they are."""
    layers = layer_list(body)
    if options.freeze_layers > len(layers):
        raise fewer_layers(options, len(layers))
    embeddings = getattr(body, "embeddings", None) or body.get_input_embeddings()
    for part in (embeddings, *layers[: options.freeze_layers]):
        part.requires_grad_(False)


def _add_lora(model: Any, lora: Lora, seed: int) -> Callable[[], None]:
    """Adapters on all linear layers of the body; heads of the model stay trained as they are."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise missing_extra("peft", "lora") from None
    whole = model.transformers_model
    body = whole.base_model
    # A model for sequence classification keeps its body under a name; else the module holds the body itself.
    parent, name = next((m, n) for m in model.modules() for n, child in m.named_children() if child is body)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules="all-linear")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(body, config)
    setattr(parent, name, adapted)

    def merge() -> None:
        setattr(parent, name, adapted.merge_and_unload())
        getattr(parent, name).requires_grad_(True)

    return merge


def parameter_groups(parameters: Sequence[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Weights with decay, and those that decay only harms: biases and the scales of layer norms."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def precision_of(options: TrainOptions, device: torch.device) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Opens the context of a forward pass: bfloat16 where it is asked for, or where the device has units for it.

    On a CPU without them bfloat16 is slower than float32.
    """
    units = torch.cuda.is_bf16_supported() if device.type == "cuda" else has_amx() and device.type == "cpu"
    if options.precision == "bfloat16" or (options.precision == "auto" and units):
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext


def has_amx() -> bool:
    """True on a CPU with matrix units for bfloat16."""
    found = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(found and found())
