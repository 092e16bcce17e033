"""The stages train.bi and train.cross."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from munjang.data.cells import NLI_LABELS
from munjang.data.readers import ROLES
from munjang.errors import DataError
from munjang.files import (
    damage,
    link_or_copy,
    lock,
    new_directory,
    read_json,
    read_manifest,
    remove_leftovers,
    write_json,
)
from munjang.models.card import describe_start, write_card
from munjang.models.record import record_of, write_record
from munjang.pipeline.stage import Context
from munjang.stages.dev import DevRows, DevSets
from munjang.stages.inputs import MODEL_FOLDER, load_input_rows, model_folder
from munjang.stages.teaching import teacher_of
from munjang.train.best import TrainReport
from munjang.train.bi import train_bi
from munjang.train.checkpoint import Checkpoints
from munjang.train.cross import train_cross
from munjang.train.examples import TrainRows, without_leaks
from munjang.train.metrics import MetricsLog
from munjang.train.objectives import (
    BI_OBJECTIVES,
    CROSS_OBJECTIVES,
    choose_objective,
    common_task,
    require_dev,
)
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions
from munjang.train.page import write_training_page

#: No objective learns from classes of texts or pairs without a label: such a file is one of sentences here.
_KINDS = tuple(kind for kind in ROLES if kind not in ("labelled-texts", "pairs"))
_REPORT = "report.json"


def run_train_bi(options: TrainBiOptions, context: Context, out: Path) -> dict[str, Any]:
    """Train a bi-encoder into `out/model`."""
    return _run(options, context, out, train_bi)


def run_train_cross(options: TrainCrossOptions, context: Context, out: Path) -> dict[str, Any]:
    """Train a cross-encoder into `out/model`."""
    return _run(options, context, out, train_cross)


def _run(options: TrainOptions, context: Context, out: Path, train: Callable[..., TrainReport]) -> dict[str, Any]:
    """Train once for each seed, keep the best on dev as `out/model`, and report all."""
    cross = options.produces == "cross-encoder"
    sets, dev, excluded = _rows(options, context, cross)
    task = common_task({one.name: one.objective for one in sets}, options.option("train"))
    for one in dev:
        require_dev(task, one.kind, options.option("dev", one.name))
    DevSets(dev, cross)  # what cannot choose weights is found before a teacher reads a text
    teacher = teacher_of(options, context, sets)
    sets = teacher.taught(sets) if teacher else sets
    evaluate = DevSets(dev, cross, teacher.compared([one[1:] for one in dev]) if teacher else None)

    def once(seed: int, folder: Path, several: bool) -> dict[str, Any]:
        """One training into a folder; its report."""
        metrics, began = MetricsLog(), time.time()
        title = f"training {options.name}" + (f" (seed {seed})" if several else "")
        checkpoints = _checkpoints(context, seed if several else None)
        report = train(
            options,
            sets,
            evaluate,
            start=model_folder(context, options.model),
            out=folder / MODEL_FOLDER,
            seed=seed,
            device=context.device,
            progress=context.progress(title),
            checkpoints=checkpoints,
            team=context.team if context.team.size > 1 else None,
            metrics=metrics,
        )
        report.excluded, report.dev_metric = excluded, evaluate.metric
        if context.team.leads:
            record = record_of(row for one in sets for row in one.rows)
            write_record(folder / MODEL_FOLDER, record, model_folder(context, options.model))
            _write(options, context, folder, report, metrics, began)
        return report.as_dict()

    with _alone(context):
        if not options.seeds[1:]:
            return once((options.seeds or [context.recipe.seed])[0], out, False)
        reports = [_of_seed(context, seed, once) for seed in options.seeds]
        return _over_seeds(options, context, out, reports)


def _of_seed(context: Context, seed: int, once: Callable[[int, Path, bool], dict[str, Any]]) -> dict[str, Any]:
    """The report of one of several seeds; what is finished outlives a kill, in the stage's working folder."""
    finished = context.work / f"finished-{seed}"
    belongs_to = f"{context.fingerprint}-{seed}"
    if context.team.leads:
        remove_leftovers(context.work)
    done = damage(finished) is None and (read_manifest(finished) or {})["meta"].get("belongs_to") == belongs_to
    if context.team.agree(done):
        report = read_json(finished / _REPORT)
        context.say(f"  seed {seed}: finished before, dev {report['dev_best']:.2f}")
        return report
    if not context.team.leads:
        with tempfile.TemporaryDirectory() as folder:
            return once(seed, Path(folder), True)
    shutil.rmtree(finished, ignore_errors=True)
    with new_directory(finished, belongs_to=belongs_to) as folder:
        report = once(seed, folder, True)
        write_json(folder / _REPORT, report)
    shutil.rmtree(context.work / f"seed-{seed}", ignore_errors=True)  # its checkpoints
    return report


def _write(
    options: TrainOptions, context: Context, folder: Path, report: TrainReport, metrics: MetricsLog, began: float
) -> None:
    """The page, the metrics and the model card of one training, and its words to the user."""
    said = report.as_dict()
    settings = options.model_dump(mode="json")
    if len(metrics.write(folder, began=began)) < 2:
        context.say("  no event file for TensorBoard: tensorboardX is missing (pip install 'munjang[train]')")
    title = f"{context.recipe.title}: {options.name}"
    write_training_page(folder, title, {**said, "metrics": metrics.rows}, settings)
    write_card(
        folder / MODEL_FOLDER,
        options,
        context.recipe.name,
        said,
        readings=context.readings,
        start=describe_start(options.model, model_folder(context, options.model)),
        labels=NLI_LABELS if "classes" in report.objectives.values() else (),
        seed=report.seed,
    )
    if report.head:
        context.say(f"  {report.head}")
    if report.unused:
        context.say(f"  {report.unused:,} of {report.rows:,} training rows have no place in their objective: unused")
    for line in report.warnings:
        context.say(f"  {line}")
    if report.truncated:
        context.say(f"  {report.truncated:,} training texts exceed {options.max_length} tokens: cut")
    before = "undefined" if report.dev_before is None else f"{report.dev_before:.2f}"
    context.say(
        f"  dev {report.dev_metric}: {before} -> {report.dev_best:.2f}"
        f" (best at step {report.best_step} of {report.steps})"
    )
    for name, value in report.dev_parts.items():
        both = ("undefined" if part is None else f"{part:.2f}" for part in (report.dev_parts_before.get(name), value))
        context.say(f"    {name}: {' -> '.join(both)}")
    if report.regressed:
        context.say("  nothing beat the starting weights on dev: they are kept")


def _over_seeds(options: TrainOptions, context: Context, out: Path, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over the seeds; the folder of each, and the model of the best."""
    best = max(reports, key=lambda report: report["dev_best"])
    values = [report["dev_best"] for report in reports]
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    context.say(f"  dev over {len(values)} seeds: {mean:.2f}, standard deviation {deviation:.2f}")
    seeds = [{name: report[name] for name in ("seed", "dev_best", "regressed")} for report in reports]
    said = {**best, "dev_mean": mean, "dev_deviation": deviation, "seeds": seeds}
    if context.team.leads:
        # The same files under a second name: a model may be large, and nobody writes into a result.
        for report in reports:
            source = context.work / f"finished-{report['seed']}"
            shutil.copytree(
                source, out / f"seed-{report['seed']}", copy_function=link_or_copy, ignore=lambda *_: ["manifest.json"]
            )
        shutil.copytree(out / f"seed-{best['seed']}" / MODEL_FOLDER, out / MODEL_FOLDER, copy_function=link_or_copy)
        title = f"{context.recipe.title}: {options.name}"
        write_training_page(out, title, said, options.model_dump(mode="json"))
    return said


@contextlib.contextmanager
def _alone(context: Context) -> Iterator[None]:
    """The stage's working folder, for this run alone; it goes if there is nothing in it to go on from."""
    if context.work is None or not context.team.leads:
        yield
        return
    try:
        with lock(context.work, "training"):
            yield
    finally:
        if not any(context.work.rglob("step-*")) and not any(context.work.glob("finished-*")):
            shutil.rmtree(context.work, ignore_errors=True)


def _checkpoints(context: Context, seed: int | None) -> Checkpoints | None:
    """The checkpoints of a training; of several seeds, each has its own."""
    if context.work is None:
        return None
    folder = context.work if seed is None else context.work / f"seed-{seed}"
    return Checkpoints(folder, context.fingerprint if seed is None else f"{context.fingerprint}-{seed}", context.say)


def _rows(options: TrainOptions, context: Context, cross: bool) -> tuple[list[TrainRows], list[DevRows], int]:
    """Training sets without what shares a sentence with dev or an excluded set; dev sets without what shares one with an
    excluded set; and how many training rows were left out."""
    unseen = []
    for value in options.exclude:
        unseen.append(load_input_rows(context, value, _KINDS).rows)
        context.readings[-1] |= {"use": "excluded"}
    dev = []
    for value in options.dev_sets:
        loaded = load_input_rows(context, value, _KINDS)
        dev.append(DevRows(value, loaded.kind, without_leaks(loaded.rows, unseen)))
        used = len(dev[-1].rows)
        context.readings[-1] |= {"use": "dev", "used": used}
        if used < len(loaded.rows):
            lost = f"{len(loaded.rows) - used:,} of {len(loaded.rows):,}"
            context.say(f"  {lost} dev rows share a sentence with an excluded set: left out")
    unseen += [one.rows for one in dev]
    known = CROSS_OBJECTIVES if cross else BI_OBJECTIVES
    sets, total, excluded = [], 0, 0
    for one in options.train:
        read = load_input_rows(context, one.data, _KINDS)
        named = one.objective or options.objective
        where = options.option("train", one.data)
        objective = choose_objective(known, read.kind, named, where)
        kept = without_leaks(read.rows, unseen)
        context.readings[-1] |= {"use": "train", "used": len(kept)}
        total, excluded = total + len(read.rows), excluded + len(read.rows) - len(kept)
        if not kept:
            raise DataError(
                "every training row shares a sentence with dev or an excluded set",
                where=where,
                got=f"{len(read.rows)} rows",
            )
        sets.append(TrainRows(one.data, read.kind, kept, objective, one.repeat, one.tolerance))
    if excluded:
        context.say(f"  {excluded:,} of {total:,} training rows share a sentence with dev or an excluded set: left out")
    return sets, dev, excluded
