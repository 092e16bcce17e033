"""The stage plan: students of one teacher, measured side by side, and the recipe of the one that is taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from munjang.config.recipe import STAGE_PREFIX
from munjang.distill.choice import Point, choose, least_dev, pareto_front
from munjang.distill.chosen import chosen_recipe
from munjang.distill.options import PlanOptions
from munjang.distill.page import write_plan_page
from munjang.engine.encoder import Encoder
from munjang.errors import DataError
from munjang.files import read_json, write_bytes
from munjang.models.folder import layers_of
from munjang.models.options import ConvertOptions
from munjang.models.weights import model_size
from munjang.pipeline.run import REPORT
from munjang.pipeline.stage import Context
from munjang.progress import Progress
from munjang.stages.dev import Dev
from munjang.stages.inputs import model_folder, stage_directory
from munjang.train.options import TrainOptions

CHOSEN_FILE = "chosen.toml"
#: Files that a model is loaded from; exports lie in hidden folders beside them.
_SUFFIXES = {".safetensors", ".json", ".txt", ".model"}
#: Rounds of which the median speed is taken, texts of each, and those before them that warm up.
_ROUNDS, _TEXTS, _WARM = 5, 256, 16
#: Bytes of models that are held in memory together; larger ones are opened in each round.
_HELD = 2_000_000_000


@dataclass
class Measured:
    """One model of a plan."""

    label: str
    role: str
    """`teacher`, `start` or `student`."""
    layers: int | None
    parameters: int
    bytes: int
    """Of the files that it is loaded from."""
    dev: float
    """Mean over the dev sets."""
    dev_by_set: dict[str, float]
    per_second: float = 0.0
    """Sentences; median over the rounds."""
    front: bool = False
    """True of a student that no other beats in everything; False of models that are no students."""
    chosen: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    """Epochs, steps and seconds of a student's training, and whether its start was better; empty without one."""


def run_plan(options: PlanOptions, context: Context, out: Path) -> dict[str, Any]:
    """Measure teacher, start and students; write `plan.html` and `chosen.toml`."""
    devs = {value: Dev(context, value) for value in options.dev}
    named = [("teacher", "teacher", options.teacher)]
    named += [("start", "start", options.start)] if options.start is not None else []
    named += [("student", label, value) for label, value in options.students.items()]
    folders = [model_folder(context, value) for _, _, value in named]
    models = []
    for (role, label, value), folder in zip(named, folders, strict=True):
        models.append(_measured(role, label, folder, devs))
        models[-1].training = _training(context, value)
    texts = list(dict.fromkeys(text for dev in devs.values() for text in dev.texts))
    for model, speed in zip(models, _speeds(folders, models, texts, context), strict=True):
        model.per_second = speed
    students = [model for model in models if model.role == "student"]
    points = [Point(model.bytes, model.per_second, model.dev) for model in students]
    for model, front in zip(students, pareto_front(points), strict=True):
        model.front = front
    chosen = students[choose(points, options.keep)]
    chosen.chosen = True
    text = chosen_recipe(
        context.recipe, options.students[chosen.label], chosen.label, options.epochs, context.base.resolve()
    )
    write_bytes(out / CHOSEN_FILE, text.encode())
    report = {
        "chosen": chosen.label,
        "keep": options.keep,
        "least_dev": least_dev(points, options.keep),
        "dev_metric": " + ".join(dict.fromkeys(dev.metric for dev in devs.values())),
        "models": [asdict(model) for model in models],
        "covered": _covered(context),
        "full_seconds": _full_seconds(chosen, options.epochs),
        "device": context.device,
    }
    write_plan_page(out, context.recipe.name, report)
    context.say(f"  {chosen.label} is taken: dev {chosen.dev:.2f}, {chosen.per_second:,.0f} sentences/s")
    return report


def _measured(role: str, label: str, folder: Path, devs: dict[str, Dev]) -> Measured:
    """A model on dev, and its size; its speed comes later."""
    reached = {}
    for value, dev in devs.items():
        score = dev(folder)
        if score is None:
            raise DataError(f"the model {label} cannot be scored on this dev set", where=value, got=str(folder))
        reached[value] = score
    mean = statistics.fmean(reached.values())
    return Measured(label, role, layers_of(folder), model_size(folder).parameters, _bytes(folder), mean, reached)


def _bytes(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    shown = (path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sum(path.stat().st_size for path in shown)


def _training(context: Context, value: str) -> dict[str, Any]:
    """What the stage that made a student says of its training."""
    name = value.removeprefix(STAGE_PREFIX)
    stage = next((one for one in context.recipe.stages if one.name == name), None)
    directory = stage_directory(context, value)
    if not isinstance(stage, TrainOptions) or directory is None:
        return {}
    report = read_json(directory / REPORT)
    return {"epochs": stage.epochs, **{key: report[key] for key in ("steps", "seconds", "dev_before", "regressed")}}


def _covered(context: Context) -> float | None:
    """Share of the texts held out, such as dev's, that keep their tokens where a vocabulary was trimmed; the least."""
    conversions = {stage.name for stage in context.recipe.stages if isinstance(stage, ConvertOptions)}
    directories = [directory for name, directory in context.stages.items() if name in conversions]
    trims = [read_json(directory / REPORT).get("trim") or {} for directory in directories]
    shares = [trim["held_out_identical"] for trim in trims if trim.get("held_out_identical") is not None]
    return min(shares, default=None)


def _full_seconds(chosen: Measured, epochs: float) -> float | None:
    """An estimate of the whole training of the chosen student, from its short one."""
    if not chosen.training:
        return None
    return round(chosen.training["seconds"] * epochs / chosen.training["epochs"], 1)


def _speeds(folders: Sequence[Path], models: Sequence[Measured], texts: list[str], context: Context) -> list[float]:
    """Sentences a second of each model, computed and never looked up: the median over rounds in which all take turns."""
    texts = texts[:: max(len(texts) // _TEXTS, 1)][:_TEXTS]
    hold = sum(model.bytes for model in models) <= _HELD
    held: dict[int, Encoder] = {}
    progress: Progress = context.progress("measuring speed")
    times: list[list[float]] = [[] for _ in folders]
    total = _ROUNDS * len(folders)
    for number in range(total):
        turn, place = divmod(number, len(folders))
        # Forth and back, so that a machine that gets slower or faster does it to all alike.
        place = len(folders) - 1 - place if turn % 2 else place
        encoder = held.get(place) or Encoder(folders[place], context.device)
        if hold:
            held[place] = encoder
        encoder.encode(texts[:_WARM])
        began = time.perf_counter()
        encoder.encode(texts)
        times[place].append(time.perf_counter() - began)
        progress(number + 1, total)
    return [len(texts) / max(statistics.median(some), 1e-9) for some in times]
