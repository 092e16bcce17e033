"""Recipes and single stages, run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.config.load import load_recipe
from munjang.config.recipe import STAGE_PREFIX, DataSpec, Recipe, StageOptions
from munjang.errors import ConfigError, Option, Phrase, UsageError
from munjang.files import read_json
from munjang.pipeline.run import (
    REPORT,
    StageOutcome,
    make_stage,
    run_recipe,
    stage_directory,
    stage_fingerprint,
    why_run,
)
from munjang.pipeline.stage import Context
from munjang.progress import QUIET, Show
from munjang.stages.inputs import RunInputs
from munjang.stages.registry import KINDS, OPTIONS

if TYPE_CHECKING:
    pass


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
    require_new(target)
    context, inputs = stage_alone(options, dict(data or {}), seed, device, show)
    context.work = target.with_name(f".work-{target.name}")
    context.fingerprint = stage_fingerprint(options, context.recipe, inputs, {})
    with _team(context):
        make_stage(KINDS[options.kind], options, context, target)
    return read_json(target / REPORT)


def stage_alone(
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


def require_new(target: Path) -> None:
    if target.exists():
        raise ConfigError(
            "this folder exists already" if target.is_dir() else "a file of this name exists already",
            where=target,
            hint=Phrase("name a new one with {}, or delete it", Option("out")),
        )
