"""The model half of the doctor that looks at settings: modules, pooling, head, prompts, lengths. Nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from munjang.data.lint import Finding, is_held_out
from munjang.data.rows import texts_of
from munjang.errors import DataError
from munjang.models.folder import model_kind, read_settings
from munjang.models.record import read_record, seen_before
from munjang.models.safety import lint_safety, parts_of
from munjang.models.settings import (
    SETTINGS,
    Head,
    Module,
    head_of,
    modules_of,
    nli_order,
    pooling_modes,
    position_limit,
    static_size,
    stored_length,
    token_size,
    tokenizer_length,
    transformer_settings,
    vector_size,
)
from munjang.models.shapes import tensor_shapes

_SAVED_MODULE = re.compile(r"\d+_[A-Z]\w*")
#: Modules that say nothing on disk, so that their folder may be missing: hubs keep no empty folders.
_WITHOUT_FILES = ("Normalize", "Dropout")
#: What other modules cannot be loaded without, where it is not their `config.json`.
_NEEDED = {"StaticEmbedding": "model.safetensors"}
_HEAD_WEIGHT = re.compile(r"(^|\.)(classifier|score|logits_proj)(\.out_proj)?\.weight$")


class _Family(NamedTuple):
    """Models that were all trained in one way."""

    pattern: re.Pattern[str]
    about: str
    pooling: str
    prompted: bool


_FAMILIES = (
    _Family(re.compile(r"(^|[/_.-])e5([_.-]|$)", re.IGNORECASE), "e5 models", "mean", True),
    _Family(re.compile(r"(^|[/_.-])bge([_.-]|$)", re.IGNORECASE), "bge models", "cls", False),
)


def lint_model(name: str, folder: Path, kinds: Collection[str] = ()) -> list[Finding]:
    """Mistakes that a model's files show before it is loaded.

    Args:
        name: of the model, as the findings call it.
        folder: read, never loaded.
        kinds: of the rows that it shall be measured or used on, such as `scored-pairs`; a head that gives something else
            is found by them.
    """
    findings = lint_safety(name, folder)
    try:
        bi = model_kind(folder) == "bi-encoder"
        findings += [*_modules(name, folder, bi), *_lengths(name, folder)]
        findings += [*_pooling(name, folder), *_prompts(name, folder)] if bi else _head(name, folder, kinds)
    except DataError as error:
        remedy = "mend the file, or take the model from where it came from again"
        findings.append(Finding("error", "damaged-settings", name, error.sentence(), str(error.where), remedy))
    return findings


def lint_teacher(name: str, folder: Path, teacher: str, teacher_folder: Path) -> list[Finding]:
    """A student and a teacher whose vectors cannot be compared."""
    where = f"{teacher} / {name}"
    kinds = model_kind(folder), model_kind(teacher_folder)
    if kinds != ("bi-encoder", "bi-encoder"):
        if kinds == ("bi-encoder", "cross-encoder"):
            message = "the teacher is a cross-encoder: it has scores and no vectors that the student could learn"
            return [Finding("note", "teacher-kind", where, message, remedy="let it score pairs or lists: stage label")]
        return []
    student, taught = vector_size(folder), vector_size(teacher_folder)
    if student is None or taught is None or student == taught:
        return []
    message = f"the teacher's vectors have {taught} dimensions, the student's {student}: they cannot be compared"
    remedy = (
        "bring the teacher to the student's size (PCA), or give the student a Dense module of its own that is saved with it; "
        "a projection inside of a loss is lost when the training ends"
    )
    return [Finding("warning", "teacher-dimension", where, message, remedy=remedy)]


def lint_seen(name: str, folder: Path, sets: Mapping[str, list[Any]]) -> list[Finding]:
    """Held-out sets on whose texts the model was trained, by the record that lies beside its weights."""
    record = read_record(folder)
    findings = []
    for other, rows in sets.items() if record is not None else ():
        seen = seen_before(record, (texts for row in rows if (texts := texts_of(row)))) if is_held_out(other) else {}
        if seen.get("texts"):
            message = (
                f"the model was trained on {seen['texts']:,} of {seen['of_texts']:,} texts of this set, "
                f"and on {seen['units']:,} of its {seen['of_units']:,} rows whole"
            )
            remedy = "train again with the set under exclude, or measure on another"
            findings.append(Finding("warning", "seen-in-training", f"{name} / {other}", message, remedy=remedy))
    return findings


def _modules(name: str, folder: Path, bi: bool) -> Iterator[Finding]:
    """What `modules.json` lists against what lies in the folder, and each module's size against the one before."""
    modules = modules_of(folder)
    listed = {module.path.rstrip("/") for module in modules}
    for part in parts_of(folder)[1:]:
        if not _SAVED_MODULE.fullmatch(part.name) or part.name in listed:
            continue
        kind = part.name.split("_", 1)[1]
        message = (
            f"the folder {part.name} holds a module that modules.json does not list: it would be dropped without a word"
        )
        remedy = f"list it in modules.json, or delete {part.name} if the model was meant to be without it"
        harmless = kind in _WITHOUT_FILES
        yield Finding("warning" if harmless else "error", "unlisted-module", name, message, str(part), remedy)
    if not modules and bi:
        message = "the folder says nothing of pooling: the mean of all tokens will be taken"
        remedy = "if the model was trained with another pooling, save it with that one as its module"
        yield Finding("note", "default-pooling", name, message, remedy=remedy)
    for module in modules:
        place = folder / module.path
        needs = [] if module.kind in _WITHOUT_FILES else [_NEEDED.get(module.kind, "config.json")]
        gone = [file for file in needs if not (place / file).is_file()]
        if not place.resolve().is_relative_to(folder.resolve()) or gone:
            message = (
                f"modules.json lists {module.kind} at {module.path or '.'}, where there is no {' or '.join(needs)}"
            )
            remedy = "take the model from where it came from again, as a whole"
            yield Finding("error", "missing-module", name, message, module.path, remedy)
    yield from _sizes(name, folder, modules)


def _sizes(name: str, folder: Path, modules: list[Module]) -> Iterator[Finding]:
    """Each module's size against what comes out of the one before, and a Dense's weights against its settings."""
    size, before = token_size(folder), "the transformer"
    if modules and modules[0].kind == "StaticEmbedding":
        size, before = static_size(folder / modules[0].path), "StaticEmbedding before it"
    for module in modules[1:]:
        own, place = module.settings, f"{module.path}/config.json"
        wanted = own.get("in_features") if module.kind == "Dense" else None
        if module.kind == "Pooling":
            wanted = own.get("embedding_dimension", own.get("word_embedding_dimension"))
        if isinstance(wanted, int) and size is not None and wanted != size:
            message = f"{module.kind} ({module.path}) expects {wanted} dimensions, and {before} gives {size}"
            remedy = "the module belongs to another model: take them from one training, or train it anew"
            yield Finding("error", "dimension-mismatch", name, message, place, remedy)
        if module.kind == "Pooling":
            size = None if size is None else size * max(len(pooling_modes(own)), 1)
        elif module.kind == "Dense":
            size = own.get("out_features")
            shape = _dense_shape(folder / module.path)
            if shape is not None and shape != (size, wanted):
                message = (
                    f"{module.path} says {wanted} to {size} dimensions, and its weights map {shape[1]} to {shape[0]}"
                )
                remedy = "take the model from where it came from again, as a whole"
                yield Finding("error", "dimension-mismatch", name, message, place, remedy)
        before = f"{module.kind} before it"


def _dense_shape(folder: Path) -> tuple[int, ...] | None:
    try:
        shapes = tensor_shapes(folder) if folder.is_dir() else {}
    except DataError:
        return None  # said as an incomplete model
    return next((shape for key, shape in shapes.items() if key.endswith("linear.weight")), None)


def _pooling(name: str, folder: Path) -> Iterator[Finding]:
    family = _family_of(name, folder)
    for module in modules_of(folder):
        if module.kind != "Pooling" or not module.settings:
            continue
        modes = pooling_modes(module.settings)
        if not modes:
            message = f"the settings of {module.path} name no pooling"
            remedy = "name one, such as pooling_mode = mean"
            yield Finding("error", "pooling", name, message, f"{module.path}/config.json", remedy)
        elif family is not None and modes != (family.pooling,):
            message = f"the pooling is {' and '.join(modes)}, but {family.about} are trained with {family.pooling}"
            remedy = "take the pooling that the model's makers name, unless it was trained again with this one"
            yield Finding("warning", "pooling", name, message, f"{module.path}/config.json", remedy)


def _prompts(name: str, folder: Path) -> Iterator[Finding]:
    settings = read_settings(folder / SETTINGS)
    stored = settings.get("prompts")
    prompts = {key: value for key, value in (stored if isinstance(stored, dict) else {}).items() if value}
    default = settings.get("default_prompt_name")
    if default is not None and default not in (stored or {}):
        message = f"the default prompt {default!r} is none of those that the model knows"
        example, remedy = ", ".join(stored or ()) or "no prompts", f"name one of them in {SETTINGS}"
        yield Finding("error", "unknown-prompt", name, message, example, remedy)
        return
    if default is not None or prompts.get(""):
        return  # named by its makers, if only an empty one
    family, remedy = _family_of(name, folder), f"name the prompts and default_prompt_name in {SETTINGS}"
    if prompts:
        message = "the model knows prompts, but none is its default: encode() puts none before a text unless told to"
        example = ", ".join(f"{key}: {value!r}" for key, value in prompts.items())
        yield Finding("warning", "missing-prompt", name, message, example, remedy)
    elif family is not None and family.prompted:
        message = f"{family.about} are trained with a prompt before every text, and this one has none"
        yield Finding("warning", "missing-prompt", name, message, "query: 환불은 며칠 걸리나요?", remedy)


def _family_of(name: str, folder: Path) -> _Family | None:
    """The family that a model belongs to, by the names that it goes or went by."""
    origin = transformer_settings(folder).get("_name_or_path")
    older = read_settings(folder / "tokenizer_config.json").get("name_or_path")
    names = [name.rsplit(":", 1)[-1], folder.name, *(n for n in (origin, older) if isinstance(n, str))]
    return next((family for family in _FAMILIES if any(family.pattern.search(n) for n in names)), None)


def _lengths(name: str, folder: Path) -> Iterator[Finding]:
    limit, own = position_limit(folder), stored_length(folder)
    if limit is None:
        return
    if own is None:
        # sentence-transformers then takes the number of positions, whose first ones belong to no token in RoBERTa's family.
        config = transformer_settings(folder)
        own = min(config["max_position_embeddings"], tokenizer_length(folder) or config["max_position_embeddings"])
    if own > limit:
        message = (
            f"the maximum length is {own} tokens, and there are positions for {limit}: longer texts end in an error"
        )
        remedy = f"set max_seq_length to {limit} in sentence_bert_config.json"
        yield Finding("error", "length-over-positions", name, message, remedy=remedy)


def _head(name: str, folder: Path, kinds: Collection[str]) -> Iterator[Finding]:
    """The outputs of a cross-encoder, their activation and their labels, against each other and against the rows."""
    head = head_of(folder)
    if head is None:
        return
    bounded = head.activation == "Sigmoid"
    if head.outputs == 1 and not bounded and (head.declared == "sts" or "scored-pairs" in kinds):
        declared = head.declared == "sts"
        message = f"one output with the activation {head.activation}: predict() gives raw logits instead of scores from 0 to 1"
        remedy = "run: munjang convert MODEL --to sts, which sets outputs, labels and activation together"
        yield Finding("error" if declared else "warning", "head-activation", name, message, remedy=remedy)
    yield from _labels(name, head, kinds)
    yield from _head_weights(name, folder, head)


def _labels(name: str, head: Head, kinds: Collection[str]) -> Iterator[Finding]:
    named = ", ".join(map(str, head.labels.values()))
    if "scored-pairs" in kinds and head.outputs != 1:
        message = f"the head has {head.outputs} outputs, and the rows have one score"
        remedy = "run: munjang convert MODEL --to sts; train.cross changes the head by itself"
        yield Finding("error", "head-labels", name, message, named, remedy)
    if "labelled-pairs" in kinds and head.outputs != 3:
        message = f"the head has {head.outputs} outputs, and the rows have three classes"
        remedy = "run: munjang convert MODEL --to nli; train.cross changes the head by itself"
        yield Finding("error", "head-labels", name, message, named, remedy)
    elif "labelled-pairs" in kinds and nli_order(head.labels) is None:
        message = "the labels of the head are not those of NLI, so nobody knows which output is entailment"
        remedy = "name them in id2label: entailment, neutral, contradiction, in the order of the model's training"
        yield Finding("warning", "head-labels", name, message, named, remedy)


def _head_weights(name: str, folder: Path, head: Head) -> Iterator[Finding]:
    """Rows of the last layer against the number of labels; where there is no such layer, it would be drawn at random."""
    try:
        shapes = {part: tensor_shapes(part) for part in parts_of(folder)}
    except DataError:
        return  # said as an incomplete model
    rows = [shape[0] for shape in _last_layers(shapes[folder].items())]
    modules = modules_of(folder)
    if modules and modules[-1].settings.get("module_output_name") == "scores":
        rows = [shape[0] for key, shape in shapes.get(folder / modules[-1].path, {}).items() if key.endswith(".weight")]
    if rows and rows[-1] != head.outputs:
        message = f"the settings say {head.outputs} outputs, and the weights of the head have {rows[-1]}"
        remedy = "run: munjang convert MODEL --to TASK on the model as it was before its settings were changed"
        yield Finding("error", "head-labels", name, message, remedy=remedy)
    elif not rows and shapes[folder]:
        message = "there are no weights of a head: it would be drawn at random whenever the model is loaded"
        yield Finding("warning", "new-head", name, message, remedy="train it: munjang train cross --model MODEL")


def _last_layers(named: Iterable[tuple[str, tuple[int, ...]]]) -> list[tuple[int, ...]]:
    """Shapes of the matrices that a head may be, in their order."""
    return [shape for key, shape in named if len(shape) == 2 and _HEAD_WEIGHT.search(key)]
