"""Runs a recipe: each stage is a directory, what is done is skipped, what was killed is redone.

The directory of a run holds `run.json`, a small pointer from stage names to directories, `stages/`, one committed
directory a result, and while a training is under way `work/` with its checkpoints. A result is named by its
fingerprint: the stage's kind, version and options, the fingerprints of the stages that it reads, and the content of
its files. So a changed option or a changed file makes a new directory, and going back to the old options finds the
old one. What a stage has begun under other options is kept until it is finished under the new ones: who goes back
before that goes on from there.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from munjang.config.recipe import STAGE_PREFIX, Recipe, StageOptions
from munjang.files import (
    canonical_json,
    damage,
    digest_bytes,
    lock,
    new_directory,
    read_json,
    read_manifest,
    write_json,
)
from munjang.files import remove_leftovers as remove_leftovers_in
from munjang.pipeline.stage import Context, Inputs, StageKind

POINTER = "run.json"
REPORT = "report.json"
WORK = "work"


@dataclass(frozen=True)
class StageOutcome:
    """What happened to one stage in this call."""

    name: str
    directory: Path
    fingerprint: str
    reason: str
    """Why it ran, or `done` if it was skipped."""
    report: dict[str, Any]

    @property
    def ran(self) -> bool:
        """False if a finished result was found."""
        return self.reason != "done"


def run_recipe(
    recipe: Recipe, kinds: Mapping[str, StageKind], inputs: Inputs, context: Context, run_dir: Path
) -> list[StageOutcome]:
    """Bring every stage of a recipe to its end.

    Args:
        recipe: checked.
        kinds: functions by kind.
        inputs: knows the files and models outside the run.
        context: passed to the stages; its `stages` is filled as they finish.
        run_dir: the run's directory, created if need be.

    Returns:
        One outcome a stage, in order. All of them `done` means that there was nothing to do.

    Raises:
        LockedError: another process works in `run_dir`. Any `MunjangError` of a stage.
    """
    walk = _Walk(recipe, kinds, inputs, context, run_dir)
    with lock(run_dir) if context.team.leads else nullcontext():
        if context.team.leads:
            remove_leftovers_in(run_dir)
            remove_leftovers_in(run_dir / "stages")
        context.team.wait()
        return [walk.bring(number, stage) for number, stage in enumerate(recipe.stages, 1)]


@dataclass
class _Walk:
    """One pass over a recipe's stages."""

    recipe: Recipe
    kinds: Mapping[str, StageKind]
    inputs: Inputs
    context: Context
    run_dir: Path
    fingerprints: dict[str, str] = field(default_factory=dict)

    def bring(self, number: int, stage: StageOptions) -> StageOutcome:
        """Find a stage's finished result, or make it."""
        fingerprint = stage_fingerprint(stage, self.recipe, self.inputs, self.fingerprints)
        directory = stage_directory(self.run_dir, stage.name, fingerprint)
        team = self.context.team
        reason = team.agree(why_run(stage.name, directory, fingerprint, self.run_dir) if team.leads else "")
        if reason != "done":
            self.context.say(f"[{number}/{len(self.recipe.stages)}] {stage.name} ({reason})")
            self._make(stage, directory, fingerprint)
        # Also where nothing ran: a kill may have come between a commit and its pointer, and going back to old
        # options finds a result that the pointer has left.
        if team.leads:
            self._point(stage.name, directory, fingerprint)
            self._clear_work(stage.name, directory, made=reason != "done")
        self.fingerprints[stage.name] = fingerprint
        self.context.stages[stage.name] = directory
        return StageOutcome(stage.name, directory, fingerprint, reason, read_json(directory / REPORT))

    def _make(self, stage: StageOptions, directory: Path, fingerprint: str) -> None:
        if directory.exists() and self.context.team.leads:
            shutil.rmtree(directory)
        self.context.work = self.run_dir / WORK / directory.name
        self.context.fingerprint = fingerprint
        make_stage(self.kinds[stage.kind], stage, self.context, directory)

    def _clear_work(self, name: str, directory: Path, *, made: bool) -> None:
        """Remove checkpoints from which nobody goes on any more.

        Those of a finished result, which a kill may have left. And if it was made just now, what the stage has begun
        under other options or inputs; where it was found finished, that may be what the user comes back to.
        """
        work = self.run_dir / WORK
        shutil.rmtree(work / directory.name, ignore_errors=True)
        # By the whole name: `bi-sts-0123abcd` is of another stage than `bi-0123abcd`.
        of_stage = re.compile(rf"{re.escape(name)}-[0-9a-f]{{8}}")
        for old in sorted(work.glob(f"{name}-*")) if made else ():
            if of_stage.fullmatch(old.name):
                shutil.rmtree(old, ignore_errors=True)
                self.context.say(f"  removed {WORK}/{old.name}: begun under other options or inputs")
        with suppress(OSError):
            work.rmdir()

    def _point(self, name: str, directory: Path, fingerprint: str) -> None:
        path = self.run_dir / POINTER
        pointer = read_pointer(self.run_dir)
        entry = {"directory": directory.relative_to(self.run_dir).as_posix(), "fingerprint": fingerprint}
        known = {stage.name for stage in self.recipe.stages}
        if pointer["stages"].get(name) != entry or not known.issuperset(pointer["stages"]):
            # Names that have left the recipe go, so that a search finds no index of an older one.
            named = {**pointer["stages"], name: entry}
            stages = {stage.name: named[stage.name] for stage in self.recipe.stages if stage.name in named}
            write_json(path, {"format": 1, "recipe": self.recipe.name, "stages": stages})


def read_pointer(run_dir: Path) -> dict[str, Any]:
    """The pointer of a run; an empty one where it is missing or damaged, for results are found by fingerprint."""
    try:
        pointer = json.loads((run_dir / POINTER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        pointer = None
    if not isinstance(pointer, dict) or not isinstance(pointer.get("stages"), dict):
        return {"format": 1, "stages": {}}
    return {
        **pointer,
        "stages": {k: v for k, v in pointer["stages"].items() if isinstance(v, dict) and "directory" in v},
    }


def make_stage(kind: StageKind, stage: StageOptions, context: Context, directory: Path) -> None:
    """Run a stage and commit its directory; of a team, the process that leads writes and the others help.

    Args:
        kind: with the stage's function.
        stage: its options.
        context: with `work` and `fingerprint` set; `work` is removed when the stage is done.
        directory: must not exist.
    """
    if context.team.leads:
        manifest = {"stage": stage.name, "kind": stage.kind, "fingerprint": context.fingerprint}
        with new_directory(directory, **manifest) as out:
            write_report(kind, stage, context, out)
        if context.work is not None:
            shutil.rmtree(context.work, ignore_errors=True)
    elif kind.together:
        with tempfile.TemporaryDirectory() as out:
            kind.run(stage, context, Path(out))
    context.team.wait()


def write_report(kind: StageKind, stage: StageOptions, context: Context, out: Path) -> dict[str, Any]:
    """Run a stage's function and write its report: seconds, peak memory, what was read, and what the stage says."""
    started = time.monotonic()
    context.readings.clear()
    said = kind.run(stage, context, out)
    seconds = round(time.monotonic() - started, 1)
    report = {"seconds": seconds, "peak_mb": peak_memory_mb(), **said, "read": list(context.readings)}
    write_json(out / REPORT, report)
    return report


def stage_directory(run_dir: Path, name: str, fingerprint: str) -> Path:
    """Where the result of a stage lies: its name and the start of its fingerprint, whatever its place in the recipe."""
    return run_dir / "stages" / f"{name}-{fingerprint[:8]}"


def stage_fingerprint(stage: StageOptions, recipe: Recipe, inputs: Inputs, fingerprints: Mapping[str, str]) -> str:
    """The name of a stage's result: 32 hexadecimal digits of everything that decides it.

    Args:
        stage: its options.
        recipe: for the data and the seed.
        inputs: fingerprints what lies outside the run.
        fingerprints: of the stages before this one.
    """
    named = []
    for option, value, reference in stage.references():
        if reference.neutral:
            continue
        if value.startswith(STAGE_PREFIX):
            named.append([option, fingerprints[value[len(STAGE_PREFIX) :]]])
        else:
            named.append([option, inputs.fingerprint(value, reference.accepts)])
    parts = {
        "kind": stage.kind,
        "version": stage.version,
        "seed": recipe.seed,
        "arguments": stage.fingerprint_arguments(),
        "inputs": named,
    }
    return digest_bytes(canonical_json(parts).encode())


def why_run(name: str, directory: Path, fingerprint: str, run_dir: Path) -> str:
    """`done` if a whole result with this fingerprint is there, else why the stage has to run."""
    if directory.is_dir():
        problem = damage(directory)
        manifest = read_manifest(directory) if problem is None else None
        if problem is None and manifest is not None and manifest["meta"].get("fingerprint") == fingerprint:
            return "done"
        return f"made again: {problem or 'it belongs to another recipe'}"
    entry = read_pointer(run_dir)["stages"].get(name)
    if entry is None:
        return "new"
    changed = entry.get("fingerprint") != fingerprint
    return "made again: its options or inputs changed" if changed else "made again: its result is gone"


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, in MB; it never falls, so the last stage's is the run's."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))
