"""Head surgery: one body between the tasks of cross-encoders, and between cross-encoders and bi-encoders.

| task | outputs | activation | scores |
|---|---|---|---|
| `sts` | 1 | sigmoid | similarity on 0..1; trained by binary cross-entropy on the logit |
| `nli` | 3 | none | logits of entailment, neutral, contradiction, in this order |
| `ranking` | 1 | sigmoid, or what the model declares | relevance; only the order counts |
| `bi` | - | - | vectors: a bi-encoder |

An activation that stays behind when a head is changed makes raw logits out of scores, without an error; so the number of
outputs, the labels and the activation are always set together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn

from munjang.data.cells import NLI_LABELS
from munjang.engine.loading import keep_lower_case, load_model, loading, require_all_weights
from munjang.errors import ConfigError, DataError
from munjang.models.folder import model_kind, read_settings, require_safe_folder
from munjang.models.settings import TASK_ENTRY, default_prompt, later_modules, nli_order, transformer_folder

CROSS_TASKS = ("sts", "nli", "ranking")
TASKS = (*CROSS_TASKS, "bi")
POOLINGS = Pooling.POOLING_MODES


class Headed(NamedTuple):
    """A cross-encoder that is set up for a task."""

    model: CrossEncoder
    said: str
    """One sentence on what was done to the head."""
    new: bool
    """True if the head was drawn at random, so that what it says before training means nothing."""


def with_head(
    folder: Path,
    task: str,
    *,
    pooling: str = "mean",
    max_length: int | None = 128,
    device: str = "cpu",
    seed: int = 0,
) -> Headed:
    """Load any starting point as a cross-encoder that is set up for a task.

    A head is kept, or carried over where the old one says something about the new task. From NLI to one output: the
    row of entailment minus the row of contradiction, the log-odds of the two. From one output to NLI: plus and minus
    half of the row, so that the way back gives the same row; neutral gets 0, which lies between the two and is never
    the largest, so it must be learnt. Between `sts` and `ranking` only the declaration changes.

    Args:
        folder: a transformer, a bi-encoder, or a cross-encoder with or without modules.
        task: `sts`, `nli` or `ranking`.
        pooling: what a new head on a bi-encoder's body reads; a cross-encoder's head keeps reading what it read.
        max_length: tokens a pair at most; the model's own limit if that is less, or if None.
        device: such as `cpu`.
        seed: of a new head.

    Returns:
        The model, in evaluation mode, and what was done to the head.

    Raises:
        ConfigError: an unknown task or pooling, or a wrong length. MissingInputError, DataError: the folder is missing,
            unsafe or damaged, or its head cannot be found.
    """
    require_one_of("task", task, CROSS_TASKS)
    require_one_of("pooling", pooling, POOLINGS)
    require_length(max_length)
    if model_kind(folder) == "bi-encoder":
        model = new_cross_encoder(folder, pooling, max_length, device, seed, task)
        return Headed(model, _new_on_a_body(folder, pooling), True)
    model = load_model(CrossEncoder, folder, device)
    head = _find_head(model, folder)
    order = nli_order(model.config.id2label or {}) if head.linear.out_features == 3 else None
    carried = _carried(head, order, task) if head.is_plain else None
    if carried is None:
        weight, bias, sentence = (
            *_fresh(head, model, task, seed),
            f"new at random, since {_why_not(model, head, order)}",
        )
    else:
        weight, bias, sentence = carried
    if weight is not head.linear.weight:
        _replace(head, weight, bias)
    same_outputs = task == "ranking" and head.linear.out_features == 1
    _declare(model, task, activation=model.activation_fn if same_outputs else None)
    model.max_seq_length = shortest(max_length, model[0])
    return Headed(model.eval(), f"the head is {sentence}", carried is None)


def new_cross_encoder(
    body: Path, pooling: str, max_length: int | None, device: str, seed: int, task: str = "sts"
) -> CrossEncoder:
    """A cross-encoder from any transformer body, with a new head that reads the pooled tokens.

    The body of a bi-encoder has its meaning in the mean of its tokens: on KorSTS dev one epoch from
    multilingual-e5-small gave more with a mean than with the first token.

    Args:
        body: a transformer or a bi-encoder, of which only the transformer is taken.
        pooling: one of `POOLINGS`.
        max_length: tokens a pair at most; the model's own limit if that is less, or if None.
        device: such as `cpu`.
        seed: of the head.
        task: `sts`, `nli` or `ranking`.
    """
    torch.manual_seed(seed)
    transformer = load_transformer(body)
    transformer.max_seq_length = shortest(max_length, transformer)
    size = transformer.get_embedding_dimension()
    head = Dense(size, _outputs(task), activation_function=None, module_output_name="scores")
    model = CrossEncoder(modules=[transformer, Pooling(size, pooling), head], device=device)
    _declare(model, task)
    return model


def load_transformer(folder: Path) -> Transformer:
    """The transformer of any model as a module that gives token embeddings; heads and later modules stay behind.

    Raises:
        DataError: the folder is unsafe or damaged, or holds no transformer.
    """
    require_safe_folder(folder)
    place = transformer_folder(folder)
    settings = read_settings(place / "sentence_bert_config.json")
    with loading(folder):
        transformer = Transformer(
            str(place),
            model_kwargs={"use_safetensors": True},
            processing_kwargs=settings.get("processing_kwargs"),
            do_lower_case=bool(settings.get("do_lower_case", False)),
        )
    own = settings.get("max_seq_length")
    transformer.max_seq_length = shortest(own if isinstance(own, int) else None, transformer)
    keep_lower_case(transformer)
    require_all_weights(transformer.model, folder)
    return transformer


def shortest(wanted: int | None, transformer: Transformer) -> int:
    """The lesser of a wanted length and what the tokenizer and the positions of a transformer allow, in tokens."""
    body = transformer.model.base_model
    limits = [transformer.max_seq_length, wanted]
    positions = getattr(body.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        # RoBERTa counts positions from the padding id on: 514 of them hold 512 tokens.
        places = [m for name, m in body.named_modules() if name.endswith("position_embeddings")]
        offset = max((m.padding_idx + 1 for m in places if getattr(m, "padding_idx", None) is not None), default=0)
        limits.append(positions - offset)
    return min(limit for limit in limits if limit is not None)


def forget_task(config: Any) -> None:
    """Take everything that describes a cross-encoder's head out of a transformer's configuration."""
    config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    config.label2id = {"LABEL_0": 0, "LABEL_1": 1}
    config.problem_type = None
    for name in (TASK_ENTRY, "sentence_transformers", "sbert_ce_default_activation_function"):
        config.__dict__.pop(name, None)


def require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a value that is none of the known ones.

    Raises:
        ConfigError: names the known ones.
    """
    if value not in known:
        raise ConfigError(f"unknown {name}", expected=" or ".join(known), got=value)


def require_length(max_length: int | None) -> None:
    """Refuse a length that leaves no room beside special tokens.

    Raises:
        ConfigError: it is below 8.
    """
    if max_length is not None and max_length < 8:
        raise ConfigError("max_length is too small", expected="8 or more", got=str(max_length))


def _outputs(task: str) -> int:
    return len(NLI_LABELS) if task == "nli" else 1


def _declare(model: CrossEncoder, task: str, activation: Any = None) -> None:
    """Set everything that says what a model's outputs are; by default the activation is that of the task."""
    config = model.config
    older = getattr(config, "sentence_transformers", None)
    forget_task(config)
    names = NLI_LABELS if task == "nli" else ("LABEL_0",)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.problem_type = "single_label_classification" if task == "nli" else "regression"
    setattr(config, TASK_ENTRY, {"task": task})
    model.transformers_model.num_labels = len(names)
    model.activation_fn = activation or (nn.Identity() if task == "nli" else nn.Sigmoid())
    if isinstance(older, dict) and "activation_fn" in older:
        # Read by releases before 6, and by plain transformers' users.
        kind = type(model.activation_fn)
        config.sentence_transformers = {**older, "activation_fn": f"{kind.__module__}.{kind.__name__}"}


@dataclass(frozen=True)
class _Head:
    """The last linear layer of a cross-encoder and where it hangs."""

    parent: nn.Module
    name: str
    linear: nn.Linear
    is_plain: bool
    """False where something comes between the layer and the scores, so that its rows cannot be carried over."""


def _find_head(model: CrossEncoder, folder: Path) -> _Head:
    last = list(model.children())[-1]
    if isinstance(last, Dense) and last.module_output_name == "scores":
        is_plain = isinstance(last.activation_function, nn.Identity) and not last.use_residual
        return _Head(last, "linear", last.linear, is_plain)
    whole = model.transformers_model
    if whole is not None and isinstance(last, Transformer) and whole.base_model is not whole:
        body = {id(module) for module in whole.base_model.modules()}
        outside = [(n, m) for n, m in whole.named_modules() if isinstance(m, nn.Linear) and id(m) not in body]
        found = [(name, m) for name, m in outside if m.out_features == model.num_labels]
        if found:
            parent, _, name = found[-1][0].rpartition(".")
            return _Head(whole.get_submodule(parent), name, found[-1][1], True)
    raise DataError(
        "the head of this cross-encoder cannot be found",
        where=folder,
        expected="a model for sequence classification, or a last module Dense that gives scores",
        got=" + ".join(type(module).__name__ for module in model.children()),
        hint="start from its bi-encoder or its bare transformer",
    )


def _carried(head: _Head, order: tuple[int, int, int] | None, task: str) -> tuple[Tensor, Tensor | None, str] | None:
    """Weight, bias and sentence of a head that says something of the old one, or None where nothing can be carried."""
    weight, bias = head.linear.weight, head.linear.bias
    outputs = head.linear.out_features
    if outputs == 1 and task != "nli":
        return weight, bias, "kept"
    if outputs == 1:
        halves = torch.tensor([0.5, 0.0, -0.5], dtype=weight.dtype, device=weight.device)
        sentence = (
            "warm-started from the head for scores: entailment is plus, contradiction minus half of it; "
            "neutral starts at 0 and must be trained"
        )
        return halves.unsqueeze(1) * weight, None if bias is None else halves * bias, sentence
    if order is None:
        return None
    if task == "nli":
        if order == (0, 1, 2):
            return weight, bias, "kept"
        rows = list(order)
        sentence = f"kept, its rows put in the order {', '.join(NLI_LABELS)}"
        return weight[rows], None if bias is None else bias[rows], sentence
    yes, _, no = order
    sentence = "warm-started from the NLI head: entailment minus contradiction"
    return weight[yes : yes + 1] - weight[no : no + 1], None if bias is None else bias[[yes]] - bias[[no]], sentence


def _fresh(head: _Head, model: CrossEncoder, task: str, seed: int) -> tuple[Tensor, Tensor | None]:
    """A new weight and bias, drawn as a fine-tuning of this kind of model would draw them."""
    torch.manual_seed(seed)
    old = head.linear
    new = nn.Linear(old.in_features, _outputs(task), bias=old.bias is not None)
    if not isinstance(head.parent, Dense):
        nn.init.normal_(new.weight, std=getattr(model.config, "initializer_range", 0.02))
        if new.bias is not None:
            nn.init.zeros_(new.bias)
    return new.weight, new.bias


def _why_not(model: CrossEncoder, head: _Head, order: tuple[int, int, int] | None) -> str:
    outputs = head.linear.out_features
    if outputs == 3 and order is None:
        return f"the labels {', '.join(map(str, (model.config.id2label or {}).values()))} are not those of NLI"
    if outputs not in (1, 3):
        return f"the old one has {outputs} outputs"
    return "something follows the last layer of the old one"


@torch.no_grad()
def _replace(head: _Head, weight: Tensor, bias: Tensor | None) -> None:
    old = head.linear
    new = nn.Linear(old.in_features, weight.shape[0], bias=bias is not None, device=old.weight.device)
    new = new.to(old.weight.dtype)
    new.weight.copy_(weight)
    if bias is not None:
        new.bias.copy_(bias)
    setattr(head.parent, head.name, new)
    if isinstance(head.parent, Dense):
        head.parent.out_features = weight.shape[0]
        head.parent.activation_function = nn.Identity()
        head.parent.use_residual = False
        head.parent._modules.pop("residual", None)


def _new_on_a_body(folder: Path, pooling: str) -> str:
    """What becomes of a bi-encoder's later modules and of its default prompt when its body gets a head."""
    reads = "the first token" if pooling == "cls" else f"the {pooling} of the tokens"
    sentence = f"the head is new at random and reads {reads}"
    dropped = later_modules(folder)
    if dropped:
        sentence += f"; dropped of the bi-encoder: {', '.join(dropped)}"
    prompt = default_prompt(folder)
    if prompt:
        sentence += f"; its default prompt {prompt!r} is left out, as cross-encoders use none"
    return sentence
