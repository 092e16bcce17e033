"""The model card that lies beside trained weights: README.md with YAML in front, as the hub reads it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from munjang.config.recipe import STAGE_PREFIX, StageOptions
from munjang.data.catalog import CATALOG, Entry, split_name
from munjang.files import write_bytes
from munjang.models.source import BUNDLED, BUNDLED_PREFIX
from munjang.text import printable

CARD_FILE = "README.md"
#: The front of a card is a few lines; what is longer is not read.
_MOST_FRONT = 65_536
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
#: Characters with a meaning in Markdown, inside a line.
_MARKUP = re.compile(r"([\\`*_\[\]<>|~&#!$])")

_BI = """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
vectors = model.encode(["환불은 언제 되나요?", "돈은 언제 돌려받아요?"])
print(model.similarity(vectors, vectors))  # cosines"""
_CROSS = """from sentence_transformers import CrossEncoder

model = CrossEncoder("path/to/this/folder")
scores = model.predict([("환불은 언제 되나요?", "돈은 언제 돌려받아요?")])
print(scores)  # one score a pair, the higher the more similar"""
_CLASSES = """from sentence_transformers import CrossEncoder

model = CrossEncoder("path/to/this/folder")
labels = {labels}
logits = model.predict([("남자가 기타를 친다.", "누군가 악기를 연주한다.")])
print([labels[i] for i in logits.argmax(axis=1)])  # one label a pair"""


@dataclass(frozen=True)
class Start:
    """The model that a training started from, as far as it is known."""

    name: str
    """As the options name it."""
    base_model: str | None = None
    """The id on the hub of it, or of what it was trained from itself."""
    licence: str | None = None
    """Of `base_model`, or what the model's own card says."""


def describe_start(name: str, folder: Path) -> Start:
    """What is known of a model to start from: by its name, else by the card in its folder.

    Args:
        name: as in the options: `bundled:NAME`, a folder, an id of the hub, `stage:NAME`.
        folder: where that leads.
    """
    if name.startswith(BUNDLED_PREFIX):
        entry = BUNDLED[name[len(BUNDLED_PREFIX) :]]
        return Start(name, entry.upstream, entry.licence)
    front = read_front(folder / CARD_FILE)
    licence, base = _text_of(front.get("license")), _text_of(front.get("base_model"))
    # The hub's cache keeps a model below a folder of this name; a folder of one's own may look like an id as well.
    if "models--" + name.replace("/", "--") in folder.parts:
        base = name
    elif base is not None and licence is None:
        licence = next((b.licence for b in BUNDLED.values() if b.package and b.upstream == base), None)
    return Start(name, base if base is not None and _HUB_ID.fullmatch(base) else None, licence)


def read_front(path: Path) -> dict[str, Any]:
    """The YAML in front of a card; empty where there is no card, none in it, or it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MOST_FRONT)
        found = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
        front = yaml.safe_load(found[1]) if found else None
    except (OSError, yaml.YAMLError, RecursionError, ValueError):
        return {}
    return front if isinstance(front, dict) else {}


def _text_of(value: Any) -> str | None:
    """A text, also where it stands alone in a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return printable(value, 100) if isinstance(value, str) and value.strip() else None


def write_card(
    folder: Path,
    options: StageOptions,
    recipe: str,
    report: Mapping[str, Any],
    *,
    readings: Sequence[Mapping[str, Any]] = (),
    start: Start | None = None,
    labels: Sequence[str] = (),
    seed: int | None = None,
) -> None:
    """Write README.md into a model's folder; see `model_card`."""
    text = model_card(
        options.model_dump(mode="json"),
        recipe,
        report,
        kind=options.kind,
        produces=options.produces,
        readings=readings,
        start=start,
        labels=labels,
        seed=seed,
    )
    write_bytes(folder / CARD_FILE, text.encode("utf-8", "replace"))


def model_card(
    settings: Mapping[str, Any],
    recipe: str,
    report: Mapping[str, Any],
    *,
    kind: str,
    produces: str,
    readings: Sequence[Mapping[str, Any]] = (),
    start: Start | None = None,
    labels: Sequence[str] = (),
    seed: int | None = None,
) -> str:
    """The card as text: what the model is, how to use it, its data, its recipe, its figures, and its limits.

    Args:
        settings: the stage's options as JSON values; of them the card reads `name`, `model`, `train`, `dev`,
            `exclude` and `max_length`.
        recipe: its recipe's name.
        report: of the training, as `TrainReport.as_dict()`; what is None is called undefined.
        kind: of the stage, such as `train.bi`.
        produces: `bi-encoder` or `cross-encoder`.
        readings: one `ReadReport.as_dict()` a set read. It may also hold `use` (`train`, `dev`, `excluded`), which is
            else found by the set's name in the settings, and `used`, the rows that were left to train or measure on.
        start: of `describe_start`; without it the card says that the starting model's licence is not known.
        labels: names of the classes, for a cross-encoder that tells classes apart.
        seed: of the recipe.
    """
    start = start or Start(str(settings.get("model", "")))
    sets = [{**reading, "use": reading.get("use") or _use(str(reading["source"]), settings)} for reading in readings]
    name = _markdown(str(settings.get("name", "model")))
    parts = [
        _front(produces, labels, start, sets),
        f"# {name}: a {produces}\n\n{_about(produces, labels)} "
        f"It was trained with Munjang by the stage {name} of the recipe {_markdown(recipe)}, "
        f"starting from {_markdown(start.name)}.",
        f"## Use\n\n```python\n{_code(produces, labels)}\n```\n\n{_hint(produces, labels)}",
        f"## Data\n\n{_data(sets, report)}",
        f"## Recipe\n\n```toml\n{_toml_recipe(settings, kind, seed)}\n```",
        f"## Figures\n\n{_figures(report)}",
        f"## Limits\n\n{_limits(settings, report)}",
        f"## Licences\n\n{_licences(start, sets)}",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(text: str) -> str:
    """A text from outside as text inside a line of Markdown, whatever it holds."""
    return _MARKUP.sub(r"\\\1", printable(text))


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "not recorded"


def _entry(source: str) -> Entry | None:
    known = split_name(source)
    return CATALOG[known[0]] if known else None


def _hub_set(source: str) -> str | None:
    known = split_name(source)
    part = CATALOG[known[0]].parts.get(known[1]) if known else None
    return part.hub[0] if part and part.hub else None


def _use(source: str, settings: Mapping[str, Any]) -> str:
    """What a set was for, by its name in the settings; empty where they know it by another name."""
    if source in [one["data"] if isinstance(one, Mapping) else one for one in settings.get("train") or ()]:
        return "train"
    dev = settings.get("dev")
    if source in ([dev] if isinstance(dev, str) else dev or []):
        return "dev"
    return "excluded" if source in (settings.get("exclude") or ()) else ""


def _distinct(values: Iterable[str | None]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def _front(produces: str, labels: Sequence[str], start: Start, sets: Sequence[Mapping[str, Any]]) -> str:
    """The YAML that the hub reads; no licence, because nobody but the owner can choose it."""
    if produces == "bi-encoder":
        tags, pipeline = ["sentence-similarity", "feature-extraction"], "sentence-similarity"
    else:
        tags, pipeline = ["cross-encoder"], "text-classification" if labels else "text-ranking"
    trained = [str(one["source"]) for one in sets if one["use"] == "train"]
    entries = [entry for source in trained if (entry := _entry(source))]
    front = {
        "library_name": "sentence-transformers",
        "pipeline_tag": pipeline,
        "tags": ["sentence-transformers", *tags, "munjang"],
        "language": _distinct(language for entry in entries for language in entry.languages),
        "base_model": start.base_model,
        # The hub takes its own names only.
        "datasets": _distinct(map(_hub_set, trained)),
    }
    known = {key: value for key, value in front.items() if value}
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=True)}---"


def _about(produces: str, labels: Sequence[str]) -> str:
    if produces == "bi-encoder":
        return "It turns a text into a vector; the cosine of two vectors says how similar two texts are."
    if labels:
        return f"It reads two texts together and tells {len(labels)} classes apart: {_markdown(', '.join(labels))}."
    return "It reads two texts together and gives the pair one score, as it was trained to: similarity or relevance."


def _code(produces: str, labels: Sequence[str]) -> str:
    if produces == "bi-encoder":
        return _BI
    return _CLASSES.format(labels=list(labels)) if labels else _CROSS


def _hint(produces: str, labels: Sequence[str]) -> str:
    if produces == "bi-encoder":
        return (
            "A prompt that the model needs is stored as its default. For search use `model.encode_query` and "
            "`model.encode_document`."
        )
    if labels:
        return "The first text is the premise and the second the hypothesis; `apply_softmax=True` gives probabilities."
    return "The order of the two texts moves the score; for similarity take the mean of both orders, as Munjang does."


def _data(sets: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> str:
    lines = []
    if sets:
        used = any("used" in one for one in sets)
        head = ["set", "for", "rows read", "rows kept", *(["rows used"] if used else []), "licence"]
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for one in sets:
            source = str(one["source"])
            numbers = [_count(one.get(key)) for key in ("read", "kept", *(["used"] if used else []))]
            lines.append("| " + " | ".join([_markdown(source), one["use"], *numbers, _licence(source)]) + " |")
        lines.append("")
    if "rows" in report:
        lines.append(f"Trained on {_count(report['rows'])} distinct rows.")
    if report.get("excluded"):
        lines.append(f"{_count(report['excluded'])} more share a sentence with a set held out and were left out.")
    return "\n".join(lines)


def _licence(source: str) -> str:
    entry = _entry(source)
    if entry is not None:
        return entry.licence
    return "that of what the recipe made it from" if source.startswith(STAGE_PREFIX) else "yours"


def _figures(report: Mapping[str, Any]) -> str:
    metric = _markdown(str(report.get("dev_metric") or "score"))
    lines = [f"| on dev | {metric} |", "|---|---|"]
    if "dev_before" in report:
        lines.append(f"| before | {_score(report['dev_before'])} |")
    lines.append(
        f"| best, at step {_count(report.get('best_step'))} of {_count(report.get('steps'))} "
        f"| {_score(report.get('dev_best'))} |"
    )
    lines += [
        f"| best with seed {_count(one['seed'])} | {_score(one['dev_best'])} |" for one in report.get("seeds", ())
    ]
    return "\n".join(lines)


def _score(value: Any) -> str:
    return "undefined" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _limits(settings: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    lines = [
        "- The best weights were chosen on dev, so its figure flatters. Measure on a set that nothing was chosen on: "
        "`munjang evaluate`.",
        "- Texts of other kinds, fields or languages than those of the training data were not measured.",
    ]
    if "max_length" in settings and not report.get("reads_whole"):
        cut = f"; in training {_count(report['truncated'])} were" if "truncated" in report else ""
        lines.append(f"- What exceeds {_count(settings['max_length'])} tokens is cut{cut}.")
    lines += [f"- {_markdown(str(warning))}" for warning in report.get("warnings", ())]
    return "\n".join(lines)


def _licences(start: Start, sets: Sequence[Mapping[str, Any]]) -> str:
    name = _markdown(start.name)
    origin = f" (from {_markdown(start.base_model)})" if start.base_model and start.base_model != start.name else ""
    lines = [
        f"- Starting model {name}{origin}: {_markdown(start.licence)}."
        if start.licence
        else f"- Starting model {name}{origin}: its licence is not known here; look where it comes from."
    ]
    sources = [str(one["source"]) for one in sets if one["use"] != "excluded"]
    for licence in _distinct(e.licence for source in sources if (e := _entry(source))):
        named = ", ".join(_markdown(source) for source in sources if _licence(source) == licence)
        lines.append(f"- {named}: {licence}.")
    lines.append("- This card chooses no licence for the model. Choose one that all of the above allow.")
    return "\n".join(lines)


def _toml_recipe(settings: Mapping[str, Any], kind: str, seed: int | None) -> str:
    """The stage as a recipe would hold it; TOML has no null, so what is not set is left out."""
    stage = {"name": settings.get("name", ""), "kind": kind, **settings}
    lines = [] if seed is None else [f"seed = {seed}", ""]
    return "\n".join([*lines, "[[stage]]", *(f"{_key(k)} = {_toml(v)}" for k, v in stage.items() if v is not None)])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON lets through, and lone surrogates, which nothing holds.
        whole = value.encode("utf-8", "replace").decode()
        return json.dumps(whole, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
