"""What a model's settings say of it: modules, task, prompts, dimension, lengths. Reads JSON only; no torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from munjang.errors import DataError
from munjang.models.folder import model_kind, read_modules, read_settings
from munjang.models.shapes import tensor_shapes

SETTINGS = "config_sentence_transformers.json"
#: Where `config.json` of the transformer keeps the task: the one file of which transformers and sentence-transformers
#: write back what they do not know.
TASK_ENTRY = "munjang"
#: Kinds of first modules that are a transformer; older releases named them after the architecture.
_TRANSFORMER = "Transformer"
#: Names under which configurations keep the size of a token's vector.
_SIZES = ("hidden_size", "d_model", "dim", "n_embd")
#: Architectures with a table of positions -> how many of its rows come before the first token.
_POSITIONS = {
    "bert": 0,
    "albert": 0,
    "distilbert": 0,
    "electra": 0,
    "roberta": 2,
    "xlm-roberta": 2,
    "camembert": 2,
    "mpnet": 2,
}
#: Longer than any model reads: what tokenizers write where they know no limit.
_NO_LIMIT = 1_000_000


class Module(NamedTuple):
    """An entry of `modules.json`."""

    kind: str
    """The last part of its type, such as `Pooling`."""
    type: str
    path: str
    """Its folder, relative to the model's; empty for the model's own."""
    settings: dict[str, Any]
    """Its own `config.json`; empty where it has none."""


def modules_of(folder: Path) -> list[Module]:
    """The modules that `modules.json` lists, in order; none where there is no such file.

    Raises:
        DataError: a file of settings is damaged.
    """
    modules = []
    for entry in read_modules(folder):
        kind, path = str(entry.get("type", "")), str(entry.get("path", ""))
        inside = (folder / path).resolve().is_relative_to(folder.resolve())
        own = read_settings(folder / path / "config.json") if inside else {}
        modules.append(Module(kind.rsplit(".", 1)[-1], kind, path, own))
    return modules


def transformer_folder(folder: Path) -> Path:
    """The part of a model's folder that holds its transformer: the folder itself, or the one its first module names.

    Raises:
        DataError: `modules.json` is damaged, or the first module is no transformer.
    """
    modules = read_modules(folder)
    if not modules:
        return folder
    first = modules[0]
    kind = str(first.get("type", "")).rsplit(".", 1)[-1]
    place = folder / str(first.get("path", ""))
    if kind != _TRANSFORMER or not place.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            "this model has no transformer",
            where=folder / "modules.json",
            expected=f"a first module {_TRANSFORMER}",
            got=str(first.get("type")),
            hint="name a model with a transformer body",
        )
    return place


def transformer_settings(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model's transformer; that of the folder itself where no transformer can be found."""
    try:
        return read_settings(transformer_folder(folder) / "config.json")
    except DataError:
        return read_settings(folder / "config.json")


class Head(NamedTuple):
    """What a cross-encoder's settings say of its outputs."""

    outputs: int
    labels: dict[Any, Any]
    activation: str
    """The last part of its name, such as `Sigmoid`; the default of one output where nothing is said."""
    declared: str | None
    """The task that Munjang wrote down, if it did."""


def head_of(folder: Path) -> Head | None:
    """The head of a cross-encoder, or None for a bi-encoder.

    Raises:
        DataError: a file of settings is damaged.
    """
    if model_kind(folder) != "cross-encoder":
        return None
    config = transformer_settings(folder)
    labels = config.get("id2label") or {}
    outputs = _dense_outputs(folder) or len(labels) or config.get("num_labels", 2)
    entry = config.get(TASK_ENTRY)
    declared = entry.get("task") if isinstance(entry, dict) else None
    activation = read_settings(folder / SETTINGS).get("activation_fn") or (
        (config.get("sentence_transformers") or {}).get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
        or ("Sigmoid" if outputs == 1 else "Identity")
    )
    return Head(outputs, labels, str(activation).rsplit(".", 1)[-1], declared)


def _dense_outputs(folder: Path) -> int | None:
    """Outputs of a head that is a module of its own, or None where the transformer carries the head."""
    modules = read_modules(folder)
    settings = read_settings(folder / str(modules[-1].get("path", "")) / "config.json") if modules else {}
    return settings.get("out_features") if settings.get("module_output_name") == "scores" else None


def cross_task(folder: Path) -> str | None:
    """Which task a cross-encoder is set up for; reads its settings only.

    A model with one output that was not written by Munjang may be for similarity or for ranking, and does not say so: it
    counts as `sts` if its scores lie on 0..1, else as `ranking`.

    Args:
        folder: of a model.

    Returns:
        `sts`, `nli` or `ranking`; None for a bi-encoder, for another number of outputs, and for three outputs whose
        labels are not those of NLI.

    Raises:
        DataError: a file of settings is damaged.
    """
    head = head_of(folder)
    if head is None:
        return None
    if head.outputs == 3:
        return "nli" if nli_order(head.labels) else None
    if head.outputs != 1:
        return None
    if head.declared in ("sts", "ranking"):
        return head.declared
    return "sts" if head.activation == "Sigmoid" else "ranking"


def nli_order(id2label: dict[Any, Any]) -> tuple[int, int, int] | None:
    """Which outputs are entailment, neutral and contradiction, by the labels' names in any case and order."""
    starts = ("entail", "neutral", "contradict")
    names = {int(i): str(name).strip().lower() for i, name in id2label.items()}
    found = [[i for i, name in names.items() if name.startswith(start)] for start in starts]
    if len(names) != 3 or any(len(places) != 1 for places in found):
        return None
    return found[0][0], found[1][0], found[2][0]


def later_modules(folder: Path) -> tuple[str, ...]:
    """Names of a model's modules after the transformer and the pooling, such as `Dense` and `Normalize`."""
    names = [str(entry.get("type", "")).rsplit(".", 1)[-1] for entry in read_modules(folder)[1:]]
    return tuple(name for name in names if name != "Pooling")


def prompts_of(folder: Path) -> dict[str, str]:
    """The prompts that a model keeps, by name, without empty ones."""
    prompts = read_settings(folder / SETTINGS).get("prompts") or {}
    return {str(name): str(prompt) for name, prompt in prompts.items() if prompt}


def default_prompt(folder: Path) -> str:
    """The prompt that a model puts before every text unless told otherwise; empty if there is none."""
    settings = read_settings(folder / SETTINGS)
    return (settings.get("prompts") or {}).get(settings.get("default_prompt_name") or "", "") or ""


def token_size(folder: Path) -> int | None:
    """Length of the vector that the transformer gives for a token, or None where its configuration does not say."""
    config = transformer_settings(folder)
    nested = config.get("text_config")
    for source in (config, nested if isinstance(nested, dict) else {}):
        for name in _SIZES:
            if isinstance(source.get(name), int):
                return source[name]
    return None


def vector_size(folder: Path) -> int | None:
    """Length of a bi-encoder's vectors after all of its modules, or None where its settings do not say."""
    size = token_size(folder)
    for module in modules_of(folder):
        if module.kind == "StaticEmbedding":
            size = static_size(folder / module.path)
        if module.kind == "Pooling" and size is not None:
            size *= max(len(pooling_modes(module.settings)), 1)
        elif module.kind == "Dense":
            size = module.settings.get("out_features", size)
    cut = read_settings(folder / SETTINGS).get("truncate_dim")
    return min(size, cut) if isinstance(cut, int) and size is not None else size


def static_size(place: Path) -> int | None:
    """Length of the vectors in a table of token vectors, from the header of its file; None where there is none.

    Raises:
        DataError: the header is damaged.
    """
    shapes = tensor_shapes(place) if place.is_dir() else {}
    return next((shape[1] for shape in shapes.values() if len(shape) == 2), None)


def pooling_modes(settings: dict[str, Any]) -> tuple[str, ...]:
    """What a pooling module reads, such as `mean`, from its settings in the present or the older form."""
    named = settings.get("pooling_mode")
    if isinstance(named, str):
        return (named,)
    if isinstance(named, list):
        return tuple(map(str, named))
    prefix = "pooling_mode_"
    return tuple(
        key.removeprefix(prefix).removesuffix("_tokens").removesuffix("_token")
        for key, value in settings.items()
        if key.startswith(prefix) and value is True
    )


def stored_length(folder: Path) -> int | None:
    """`max_seq_length` of a model's own settings, in tokens, or None."""
    own = read_settings(_place(folder) / "sentence_bert_config.json").get("max_seq_length")
    return own if isinstance(own, int) and own < _NO_LIMIT else None


def tokenizer_length(folder: Path) -> int | None:
    """The limit that a model's tokenizer knows, in tokens, or None."""
    declared = read_settings(_place(folder) / "tokenizer_config.json").get("model_max_length")
    return int(declared) if isinstance(declared, int | float) and declared < _NO_LIMIT else None


def position_limit(folder: Path) -> int | None:
    """The most tokens for which a model has positions, or None where positions are relative or unknown."""
    config = transformer_settings(folder)
    positions, offset = config.get("max_position_embeddings"), _POSITIONS.get(str(config.get("model_type")))
    return positions - offset if isinstance(positions, int) and offset is not None else None


def maximum_length(folder: Path) -> int | None:
    """The least of the limits that a model's settings know, in tokens, or None where they know none."""
    limits = (stored_length(folder), tokenizer_length(folder), position_limit(folder))
    return min((limit for limit in limits if limit is not None), default=None)


def _place(folder: Path) -> Path:
    try:
        return transformer_folder(folder)
    except DataError:
        return folder
