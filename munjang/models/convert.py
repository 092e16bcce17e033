"""Turns a model of one task into a folder of another, and proves that its body came over bit by bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn

from munjang.engine.loading import load_model
from munjang.errors import ConfigError, DataError
from munjang.models.folder import model_kind, read_modules
from munjang.models.heads import (
    POOLINGS,
    TASKS,
    forget_task,
    load_transformer,
    require_length,
    require_one_of,
    shortest,
    with_head,
)
from munjang.models.settings import later_modules
from munjang.models.weights import plain_name, read_tensor, same_bits, stored_tensors


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion did."""

    task: str
    head: str
    """One sentence: kept, warm-started, new, or taken off."""
    dropped: tuple[str, ...]
    """Parts of the source that the target does not have."""
    tensors: int
    """Tensors of the body that were compared and are the same bits."""
    max_length: int
    """Tokens of a text or a pair; what exceeds them is cut."""
    activation: str | None
    """What turns the logits of a cross-encoder into scores; None for a bi-encoder."""
    labels: tuple[str, ...]
    """Names of the outputs where they are classes."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "dropped": list(self.dropped), "labels": list(self.labels)}

    def sentences(self) -> list[str]:
        """What was done and what came over, for people."""
        lines = [
            self.head,
            f"{self.tensors:,} tensors of the body are the same bits; at most {self.max_length:,} tokens",
        ]
        if self.dropped and "dropped" not in self.head:
            lines.insert(1, f"dropped: {', '.join(self.dropped)}")
        if self.activation is not None:
            outputs = f"{', '.join(self.labels)}" if self.labels else "1 score"
            lines.append(f"outputs: {outputs}; activation {self.activation}")
        return lines


def convert(
    folder: Path,
    task: str,
    out: Path,
    *,
    pooling: str | None = None,
    max_length: int | None = None,
    seed: int = 0,
) -> ConvertReport:
    """Write a model as an ordinary folder for a task; what it has learnt stays, bit by bit, in its body.

    Args:
        folder: a transformer, a bi-encoder or a cross-encoder.
        task: one of `TASKS`.
        out: folder to write into; it must be new or empty.
        pooling: of a new head or of the vectors. By default what the source's own pooling is, else `mean`. Where the
            source keeps a head or a pooling of its own, another one cannot be asked for.
        max_length: tokens; by default, and at most, the model's own limit.
        seed: of a new head.

    Raises:
        ConfigError: an unknown task or pooling, or a pooling that would have no effect. MissingInputError, DataError:
            the source is missing, unsafe or damaged, or a tensor of the body changed on the way.
    """
    require_one_of("task", task, TASKS)
    if pooling is not None:
        require_one_of("pooling", pooling, POOLINGS)
    require_length(max_length)
    own = own_pooling(folder)
    keeps = (
        (model_kind(folder) == "bi-encoder" and own is not None)
        if task == "bi"
        else (model_kind(folder) == "cross-encoder")
    )
    if keeps and pooling not in (None, own):
        raise ConfigError(
            "this pooling would have no effect: the model keeps its own",
            where=folder,
            expected=own or "no pooling",
            got=pooling,
            hint="leave the pooling out, or start from the bare transformer",
        )
    wanted = pooling or own or "mean"
    if task == "bi":
        model, head, dropped = as_bi_encoder(folder, wanted, max_length, seed)
    else:
        dropped = later_modules(folder) if model_kind(folder) == "bi-encoder" else ()
        model, head, _ = with_head(folder, task, pooling=wanted, max_length=max_length, seed=seed)
    model.save_pretrained(str(out), create_model_card=False)
    labels = tuple(model.config.id2label.values()) if task == "nli" else ()
    activation = type(model.activation_fn).__name__ if isinstance(model, CrossEncoder) else None
    tensors = compare_bodies(folder, out, _body_of(model, folder))
    return ConvertReport(task, head, dropped, tensors, int(model.max_seq_length), activation, labels)


def own_pooling(folder: Path) -> str | None:
    """The mode of a model's own pooling module, or None where it has none or joins several modes.

    Raises:
        DataError: the settings of the pooling are damaged.
    """
    for entry in read_modules(folder):
        if str(entry.get("type", "")).endswith(".Pooling"):
            try:
                mode = Pooling.load(
                    str(folder), subfolder=str(entry.get("path", "")), local_files_only=True
                ).pooling_mode
            except Exception as error:
                raise DataError("this pooling cannot be loaded", where=folder, got=str(error)[:200]) from error
            return mode if isinstance(mode, str) else None
    return None


def as_bi_encoder(
    folder: Path, pooling: str, max_length: int | None, seed: int
) -> tuple[SentenceTransformer, str, tuple[str, ...]]:
    """A bi-encoder from any starting point, in memory on the CPU.

    Args:
        folder: a transformer, a bi-encoder or a cross-encoder.
        pooling: one of `POOLINGS`, where the start has no vectors of its own.
        max_length: tokens; at most, and by default, the model's own limit.
        seed: of a pooler, which some kinds of bodies add where none is stored; the vectors do not use it.

    Returns:
        The model in evaluation mode, one sentence on what became of the head, and the names of what was dropped.

    Raises:
        MissingInputError, DataError: the start is missing, unsafe or damaged.
    """
    if model_kind(folder) == "bi-encoder" and read_modules(folder):
        model = load_model(SentenceTransformer, folder, "cpu")
        model.max_seq_length = shortest(max_length, model[0])
        return model, "there is no head to take off: this is a bi-encoder, with all of its modules and prompts", ()
    dropped: tuple[str, ...] = ()
    if model_kind(folder) == "cross-encoder":
        source = load_model(CrossEncoder, folder, "cpu")
        dropped = _parts_of_head(source)
        if any((source.prompts or {}).values()):
            dropped = (*dropped, "prompts")
    torch.manual_seed(seed)
    transformer = load_transformer(folder)
    transformer.max_seq_length = shortest(max_length, transformer)
    forget_task(transformer.config)
    size = transformer.get_embedding_dimension()
    model = SentenceTransformer(modules=[transformer, Pooling(size, pooling), Normalize()], device="cpu")
    done = "taken off" if dropped else "not there"
    return model.eval(), f"the head is {done}: vectors are the {pooling} of the tokens, normalised", dropped


def _parts_of_head(model: CrossEncoder) -> tuple[str, ...]:
    later = [type(module).__name__ for module in list(model.children())[1:] if not isinstance(module, Pooling)]
    whole = model.transformers_model
    if whole is None or whole.base_model is whole:
        return tuple(later)
    parts = [name for name, part in whole.named_children() if part is not whole.base_model and list(part.parameters())]
    return (*parts, *later)


def _body_of(model: nn.Module, folder: Path) -> nn.Module:
    first = next(iter(model.children()), None)
    if not isinstance(first, Transformer):
        raise DataError("this model has no transformer", where=folder, got=type(first).__name__)
    return first.model.base_model


def compare_bodies(source: Path, target: Path, body: nn.Module) -> int:
    """Compare every tensor of a body between the safetensors of two folders.

    Args:
        source: what was converted.
        target: what was written.
        body: of the target, in memory; it names the tensors.

    Returns:
        How many tensors were compared.

    Raises:
        DataError: one is missing or differs in a bit. A pooler that the source does not store is let pass.
    """
    prefix = body.base_model_prefix
    old, new = stored_tensors(source, prefix), stored_tensors(target, prefix)
    tied = {plain_name(key, prefix) for key in getattr(body, "all_tied_weights_keys", None) or {}}
    compared = 0
    for key in body.state_dict():
        name = plain_name(key, prefix)
        if (name not in old and "pooler" in name) or (name in tied and not (name in old and name in new)):
            continue
        if name not in old or name not in new or not same_bits(read_tensor(old[name]), read_tensor(new[name])):
            raise DataError(
                "the body of the model changed on the way",
                where=target,
                expected=f"{name} as in {source}",
                got="other numbers" if name in old and name in new else "no such tensor",
                hint="do not use the result, and report this kind of model",
            )
        compared += 1
    if compared == 0:
        raise DataError("this model has no body to compare", where=source)
    return compared
