"""The verbs as functions: what the command line calls, and what a program may call in its place.

Heavy libraries are imported when a verb runs, not when this module is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from munjang.config.load import explain_validation, load_recipe
from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, DataSpec, Frozen, Recipe, StageOptions
from munjang.data.catalog import split_name
from munjang.errors import ConfigError, Option, Phrase, UsageError
from munjang.evaluate.naming import SET_PARTS, read_sets
from munjang.evaluate.options import EvaluateOptions
from munjang.files import lock, new_directory, read_json, remove_leftovers
from munjang.models.pieces import require_scripts
from munjang.models.source import resolve_model
from munjang.pipeline.run import (
    REPORT,
    StageOutcome,
    make_stage,
    read_pointer,
    run_recipe,
    stage_directory,
    stage_fingerprint,
    why_run,
)
from munjang.pipeline.stage import Context
from munjang.progress import Show
from munjang.stages.converting import read_texts, write_converted
from munjang.stages.inputs import RunInputs
from munjang.stages.registry import KINDS, OPTIONS

if TYPE_CHECKING:
    from munjang.data.lint import Finding
    from munjang.evaluate.changes import Change
    from munjang.evaluate.table import Table
    from munjang.index.search import Answer
    from munjang.stages.examining import Examination


_Options = TypeVar("_Options", bound=Frozen)


QUIET = Show()


@dataclass(frozen=True)
class RunResult:
    """A run after `run`: its recipe, its directory, and one outcome a stage."""

    recipe: Recipe
    directory: Path
    outcomes: list[StageOutcome]

    @property
    def nothing_to_do(self) -> bool:
        """True if every stage was found finished."""
        return not any(outcome.ran for outcome in self.outcomes)

    def of_kind(self, kind: str) -> list[tuple[StageOptions, StageOutcome]]:
        """The stages of one kind with their outcomes, in order."""
        return [(s, o) for s, o in zip(self.recipe.stages, self.outcomes, strict=True) if s.kind == kind]


def run(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    device: str | None = None,
    show: Show = QUIET,
) -> RunResult:
    """Bring every stage of a recipe to its end; skip what is done, redo what was killed.

    Args:
        recipe: a TOML file.
        overrides: such as `stage.bi.epochs=2`.
        out: the run's directory; `runs/NAME` by default.
        device: such as `cpu`; by default cuda, else mps, else cpu.
        show: how to tell about progress.

    Raises:
        ConfigError: the recipe is wrong. MissingInputError, UnavailableError: an input is not there; found before
            any work. LockedError: the run is in use. Any `MunjangError` of a stage.
    """
    from munjang.engine.device import choose_device

    path, checked, inputs = _checked(recipe, overrides)
    directory = Path(out) if out is not None else Path("runs") / checked.name
    context = Context(checked, path.parent.resolve(), {}, choose_device(device), show.progress, show.say)
    with _team(context):
        outcomes = run_recipe(checked, KINDS, inputs, context, directory)
    return RunResult(checked, directory, outcomes)


@contextlib.contextmanager
def _team(context: Context) -> Iterator[None]:
    """Join the processes that torchrun or accelerate started beside this one, if there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    from munjang.train.team import join_team, leave_team

    if context.device.startswith("cuda"):
        context.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # each process has a GPU of its own
    context.team = join_team(context.device)
    if not context.team.leads:
        context.progress, context.say = QUIET.progress, QUIET.say
    yield
    leave_team()  # only where all went well: a process that waits for one that failed would wait for ever


def explain(
    recipe: str | Path, *, overrides: Sequence[str] = (), out: str | Path | None = None
) -> list[dict[str, str]]:
    """What `run` would do, stage by stage, without doing it: name, kind, directory and why it would run."""
    _, checked, inputs = _checked(recipe, overrides)
    directory = Path(out) if out is not None else Path("runs") / checked.name
    fingerprints: dict[str, str] = {}
    plan = []
    for stage in checked.stages:
        fingerprint = fingerprints[stage.name] = stage_fingerprint(stage, checked, inputs, fingerprints)
        target = stage_directory(directory, stage.name, fingerprint)
        reason = why_run(stage.name, target, fingerprint, directory)
        plan.append({"stage": stage.name, "kind": stage.kind, "directory": str(target), "reason": reason})
    return plan


def _checked(recipe: str | Path, overrides: Sequence[str]) -> tuple[Path, Recipe, RunInputs]:
    """A recipe, read and with every outside input found, so that nothing fails for a typo an hour later."""
    path = Path(recipe)
    checked = load_recipe(path, OPTIONS, tuple(overrides))
    inputs = RunInputs(checked, path.parent.resolve())
    inputs.require_all()
    return path, checked, inputs


def run_stage(
    options: StageOptions,
    out: str | Path,
    *,
    data: Mapping[str, DataSpec] | None = None,
    seed: int = 42,
    device: str | None = None,
    show: Show = QUIET,
) -> dict[str, Any]:
    """Run one stage by itself and commit its directory as `out`; relative paths start in the working directory.

    Args:
        options: of any kind of stage, such as `TrainBiOptions`.
        out: must not exist yet.
        data: what `data:KEY` in the options names.
        seed: of everything that is drawn.
        device: such as `cpu`; by default cuda, else mps, else cpu.
        show: how to tell about progress.

    Returns:
        The stage's report, which is also in `out/report.json`.

    Raises:
        ConfigError: `out` exists. Any `MunjangError` of the stage.
    """
    target = Path(out)
    _require_new(target)
    context, inputs = _stage_alone(options, dict(data or {}), seed, device, show)
    context.work = target.with_name(f".work-{target.name}")
    context.fingerprint = stage_fingerprint(options, context.recipe, inputs, {})
    with _team(context):
        make_stage(KINDS[options.kind], options, context, target)
    return read_json(target / REPORT)


def _stage_alone(
    options: StageOptions, data: dict[str, DataSpec], seed: int, device: str | None, show: Show, title: str = ""
) -> tuple[Context, RunInputs]:
    """What a stage outside of a run works with; all of its inputs are found first."""
    from munjang.engine.device import choose_device

    named = next((value for _, value, _ in options.references() if value.startswith(STAGE_PREFIX)), None)
    if named is not None:
        raise UsageError(
            "a stage can be named in a recipe only", got=named, hint="name the folder that the run printed"
        )
    recipe = Recipe(options.name, title or options.name, seed, data, (options,))
    inputs = RunInputs(recipe, Path.cwd())
    inputs.require_all()
    return Context(recipe, Path.cwd(), {}, choose_device(device), show.progress, show.say), inputs


def _require_new(target: Path) -> None:
    if target.exists():
        raise ConfigError(
            "this folder exists already",
            where=target,
            hint=Phrase("name a new one with {}, or delete it", Option("out")),
        )


def name_data(sources: Sequence[str], settings: Mapping[str, Any]) -> tuple[list[str], dict[str, DataSpec]]:
    """Data sources as a stage names them: catalogue names as they are, files with how to read them.

    Args:
        sources: catalogue names or paths.
        settings: fields of `DataSpec` for the paths, such as `scale`.

    Raises:
        UsageError: a name of a recipe, or settings that no file is read with. ConfigError: a wrong setting.
    """
    names, data = [], {}
    for source in sources:
        if source.startswith((DATA_PREFIX, STAGE_PREFIX)):
            raise UsageError(
                "such a name can stand in a recipe only", got=source, hint="name a file, or a set of the catalogue"
            )
        if split_name(source) is not None:
            names.append(source)
        else:
            data[source] = checked_options(DataSpec, source, source=source, **settings)
            names.append(DATA_PREFIX + source)
    if settings and not data:
        given = Phrase.joined(", ", (Phrase("{}", Option(name)) for name in settings))
        raise UsageError(
            Phrase("without effect here: {}", given), hint="how to read applies to files; catalogue names know it"
        )
    return names, data


def name_sets(
    texts: Sequence[str], settings: Mapping[str, Any], *, skip_missing: bool = False, show: Show = QUIET
) -> tuple[list[dict[str, Any]], dict[str, DataSpec]]:
    """Sets to measure on as the stage `evaluate` names them, and how their files are read.

    Args:
        texts: see `munjang.evaluate.naming`.
        settings: fields of `DataSpec` for files, such as `scale`; folders in the layout of BEIR need none.
        skip_missing: leave out sets of the catalogue that are not here.
        show: told what is left out.
    """
    sets = read_sets(list(texts), skip_missing, show.say)
    parts = [(one, part) for one in sets for part in SET_PARTS if part in one]
    plain = [(one, part) for one, part in parts if isinstance(one[part], str)]
    names, data = name_data([one[part] for one, part in plain], settings)
    for (one, part), name in zip(plain, names, strict=True):
        one[part] = name
    for one, part in parts:
        if isinstance(one[part], dict):
            data[one[part]["source"]] = DataSpec(**one[part])
            one[part] = DATA_PREFIX + one[part]["source"]
    return sets, data


def checked_options(kind: type[_Options], place: str, **values: Any) -> _Options:
    """Options of a stage, or how to read a file, from plain values; `place` names them in an error.

    Raises:
        ConfigError: a value is wrong; all of them are listed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError(Phrase.joined("; ", explain_validation(error, kind, place))) from None


def doctor(data: Sequence[str] = (), *, show: Show = QUIET, **settings: Any) -> list[Finding]:
    """Look for mistakes in data sets, a model and a recipe; findings come errors first.

    Args:
        data: catalogue names or paths; name train, dev and test together to find leakage.
        show: how to tell about progress.
        settings: those of `examine`, which also returns what was looked at.
    """
    return examine(data, show=show, **settings).findings


def examine(
    data: Sequence[str] = (),
    *,
    model: str | None = None,
    teacher: str | None = None,
    recipe: str | Path | None = None,
    known_tests: bool = True,
    out: str | Path | None = None,
    show: Show = QUIET,
    **settings: Any,
) -> Examination:
    """The doctor's findings, and what they were found in: how each set was read, tokens, test sets that were compared.

    Malformed rows are left out and are findings themselves; `rejects` says what they will do later.

    Args:
        data: catalogue names or paths; name train, dev and test together to find leakage.
        model: whose settings are looked at, and whose tokenizer is tried on the data. It is never loaded.
        teacher: a model whose vectors `model` shall learn.
        recipe: a TOML file, looked at with the data and models that it names, without running it.
        known_tests: compare what is not held out with the test sets of the catalogue on this machine as well.
        out: a folder to make, with `findings.json` and `report.html`.
        show: how to tell about progress.
        settings: how to read paths, such as `scale=(0, 5)`.

    Raises:
        UsageError: nothing to look at, or an option would have no effect. ConfigError: `out` exists.
        MissingInputError, UnavailableError: what was named is not there. DataError: not one set can be read.
    """
    from munjang.stages.examining import Examination
    from munjang.stages.examining import examine as examine_sets

    if not data and model is None and recipe is None:
        raise UsageError(
            "name at least one data set, a model or a recipe", hint="list the data sets with: munjang data"
        )
    if teacher is not None and model is None:
        raise UsageError("without effect here: --teacher", expected="--model, the student")
    if out is not None:
        _require_new(Path(out))
    names, specs = name_data(data, settings)
    context = Context(Recipe("doctor", "doctor", 42, specs, ()), Path.cwd(), {}, "cpu", show.progress, show.say)
    found = Examination()
    if data or model is not None:
        models = [] if model is None else [model]
        found = examine_sets(context, names, models, teacher, known=known_tests)
    if recipe is not None:
        found = found.merged(_examine_recipe(Path(recipe), known_tests, show))
    if out is not None:
        with new_directory(Path(out), kind="doctor") as folder:
            found.write(folder, " · ".join(["doctor", *data, *map(str, filter(None, (model, recipe)))][:6]))
    return found


def _examine_recipe(path: Path, known: bool, show: Show) -> Examination:
    from munjang.stages.examining import Examination
    from munjang.stages.recipe_checks import examine_recipe, read_recipe

    checked, findings = read_recipe(path)
    found = Examination(findings)
    if checked is not None:
        context = Context(checked, path.parent.resolve(), {}, "cpu", show.progress, show.say)
        examine_recipe(context, found, known=known)
    return found


def convert(
    model: str,
    out: str | Path,
    *,
    to: str | None = None,
    trim_vocab: Sequence[str] = (),
    keep_scripts: Sequence[str] = (),
    held_out: Sequence[str] = (),
    min_count: int = 1,
    pooling: str | None = None,
    max_length: int | None = None,
    seed: int = 42,
    show: Show = QUIET,
    **settings: Any,
) -> dict[str, Any]:
    """Write a model as an ordinary folder for another task, without the pieces that its texts never use, or both.

    Args:
        model: `bundled:e5-small`, a folder, or an id of the hub.
        out: must not exist yet.
        to: `sts`, `nli`, `ranking` or `bi`; see `munjang.models.convert`.
        trim_vocab: data sets that name the pieces to keep; see `munjang.models.trim`.
        keep_scripts: of which all pieces stay besides, such as `hangul`.
        held_out: data sets on which is measured what the trimming covers.
        min_count: how often a piece must occur in `trim_vocab`.
        pooling: of a new head or of the vectors; by default the model's own, else `mean`.
        max_length: tokens; at most, and by default, the model's own limit.
        seed: of a new head.
        show: how to tell about progress.
        settings: how to read paths, such as `scale=(0, 5)`.

    Returns:
        `convert` and `trim`, the reports of the two (None for what was not asked), and `read`, one entry a data set.

    Raises:
        UsageError: nothing was asked, or an option would have no effect. ConfigError: `out` exists, or a value is wrong.
        MissingInputError, UnavailableError, DataError: the model or a data set is missing or damaged, or the result would
            not be the same where it must be; then nothing is written.
    """
    about_vocabulary = {"keep_scripts": keep_scripts, "held_out": held_out, "min_count": min_count != 1}
    about_task = {"pooling": pooling, "max_length": max_length}
    _require_effect(to, trim_vocab, about_task, about_vocabulary)
    target = Path(out)
    _require_new(target)
    require_scripts(keep_scripts)
    folder = resolve_model(model, Path.cwd())
    names, specs = name_data([*trim_vocab, *held_out], settings)
    context = Context(Recipe("convert", "convert", seed, specs, ()), Path.cwd(), {}, "cpu", show.progress, show.say)
    split = len(trim_vocab)
    head = {"pooling": pooling, "max_length": max_length, "seed": seed} if to is not None else None
    texts = {"texts": read_texts(context, names[:split]), "held_out": read_texts(context, names[split:])}
    trim = {**texts, "scripts": keep_scripts, "min_count": min_count} if trim_vocab else None
    with new_directory(target, model=model, to=to) as place:
        reports = write_converted(folder, place, to, head, trim, show.say)
    return {**reports, "read": context.readings}


def _require_effect(
    to: str | None, trim_vocab: Sequence[str], about_task: dict[str, Any], about_vocabulary: dict[str, Any]
) -> None:
    """Refuse a conversion that would do nothing, and options that would have no effect on it."""
    if to is None and not trim_vocab:
        raise UsageError("nothing to do", expected=Phrase("{} or {}", Option("to"), Option("trim_vocab")))
    without = {**({} if to else about_task), **({} if trim_vocab else about_vocabulary)}
    idle = [Phrase("{}", Option(name)) for name, value in without.items() if value]
    if idle:
        missing = ["to"] * (to is None) + ["trim_vocab"] * (not trim_vocab)
        raise UsageError(
            Phrase("without effect here: {}", Phrase.joined(", ", idle)),
            expected=Phrase.joined(" and ", (Phrase("{}", Option(name)) for name in missing)),
        )


def evaluate(
    models: Mapping[str, Any],
    on: Sequence[str],
    out: str | Path,
    *,
    baseline: str | None = None,
    symmetric: bool = True,
    similarities: Sequence[str] = (),
    rerank: int = 100,
    skip_missing: bool = False,
    title: str = "Munjang",
    seed: int = 42,
    device: str | None = None,
    show: Show = QUIET,
    **settings: Any,
) -> tuple[Table, list[Change]]:
    """Measure models on sets into a folder of results, where what was measured before is not measured again.

    Args:
        models: label in the table -> a model, or fields of `munjang.evaluate.options.MeasuredModel`.
        on: sets; see `munjang.evaluate.naming`.
        out: the folder; new, empty, or of earlier evaluations.
        baseline: label of the model that the others are compared with.
        symmetric: let cross-encoders score both orders of a pair.
        similarities: correlate these with the scores too, beside the cosine.
        rerank: how many texts that a bi-encoder found the cross-encoder behind it orders anew.
        skip_missing: leave out sets of the catalogue that are not here.
        title: of the page.
        seed: of clusterings and classifiers.
        device: such as `cpu`; by default cuda, else mps, else cpu.
        show: how to tell about progress.
        settings: how to read files, such as `scale=(0, 5)`.

    Returns:
        The table, and what changed since the evaluation before in the same folder.

    Raises:
        DataError: `out` holds something else, or a set cannot be read. LockedError: `out` is in use.
        ConfigError, MissingInputError, UnavailableError: an option is wrong, or a model or a set is not there.
    """
    from munjang.evaluate.results import Results
    from munjang.stages.evaluating import evaluate_into

    sets, data = name_sets(on, settings, skip_missing=skip_missing, show=show)
    how = {"baseline": baseline, "symmetric": symmetric, "similarities": list(similarities), "rerank": rerank}
    options = checked_options(EvaluateOptions, "evaluate", name="evaluate", models=dict(models), on=sets, **how)
    context, _ = _stage_alone(options, data, seed, device, show, title)
    results = Results(Path(out))
    with lock(results.folder, "evaluation"):
        remove_leftovers(results.folder)
        return evaluate_into(results, options, context)


def report(
    folders: Sequence[str | Path], out: str | Path, *, baseline: str | None = None, title: str = "Munjang"
) -> Table:
    """One page of the results of several folders or runs; of measurements that several hold, the last counts.

    Args:
        folders: results of `evaluate`, or directories of runs with an evaluate stage.
        out: folder for `results.json`, `results.csv` and `report.html`; what they hold already is replaced.
        baseline: label of the model that the others are compared with.
        title: of the page.

    Raises:
        MissingInputError: a folder holds no results. UsageError: no model has the label of the baseline.
    """
    from munjang.evaluate.compare import compare
    from munjang.evaluate.report import write_report
    from munjang.evaluate.results import latest

    measurements, reasons = latest([Path(folder) for folder in folders])
    table = compare(measurements, baseline, reasons=reasons)
    write_report(table, Path(out), title)
    return table


def search(index: str | Path, query: str, *, top: int = 5, rerank: int = 20, device: str | None = None) -> Answer:
    """Find the texts nearest to a query, in both orders. For many queries keep a `Searcher` instead.

    Args:
        index: folder of an index, or directory of a run, whose last index is taken.
        query: what to look for.
        top: hits to return.
        rerank: how many of the nearest the cross-encoder orders anew; 0 for none.
        device: such as `cpu`.
    """
    from munjang.engine.device import choose_device
    from munjang.index.search import Searcher

    return Searcher(find_index(Path(index)), choose_device(device), rerank > 0).search(query, top, rerank)


def find_index(path: Path) -> Path:
    """The index in a folder: itself, or the last index stage of a run."""
    from munjang.index.store import SETTINGS

    if (path / SETTINGS).is_file():
        return path
    stages = read_pointer(path)["stages"].values()
    indexes = [path / s["directory"] for s in stages if (path / s["directory"] / SETTINGS).is_file()]
    return indexes[-1] if indexes else path
