"""Runs: each stage once, skipped when done, made again with the reason when anything that decides it changes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from munjang.config.recipe import Neutral, Recipe, Reference, StageOptions
from munjang.errors import DataError, LockedError, MunjangError
from munjang.files import MANIFEST, damage, lock, read_manifest
from munjang.pipeline.run import (
    POINTER,
    REPORT,
    StageOutcome,
    peak_memory_mb,
    read_pointer,
    run_recipe,
    stage_directory,
    why_run,
)
from munjang.pipeline.stage import Context, StageKind

Words = Annotated[str, Reference(("words",))]


class ReadOptions(StageOptions):
    """Makes words."""

    kind: ClassVar[str] = "read"
    produces: ClassVar[str] = "words"

    source: Words
    upper: bool = False
    batch_size: Annotated[int, Neutral()] = 8


class JoinOptions(StageOptions):
    """Joins words of earlier stages."""

    kind: ClassVar[str] = "join"
    produces: ClassVar[str] = "words"

    parts: list[Words] = Field(min_length=1)
    by_label: dict[str, Words] = Field(default_factory=dict)
    glue: str = " "
    watched: Annotated[str | None, Reference(("words",), neutral=True)] = None


class World:
    """Inputs outside the run as a dictionary, and a record of which stages ran."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.texts = {"a": "가 나", "b": "다"}
        self.ran: list[str] = []
        self.said: list[str] = []
        self.fail: set[str] = set()
        self.kinds = {
            "read": StageKind(ReadOptions, self._read),
            "join": StageKind(JoinOptions, self._join),
        }

    def fingerprint(self, value: str, accepts: tuple[str, ...]) -> Any:
        assert accepts == ("words",)
        return {"text": self.texts[value]}

    def _read(self, options: ReadOptions, context: Context, out: Path) -> dict[str, Any]:
        self._started(options)
        text = self.texts[options.source]
        (out / "words.txt").write_text(text.upper() if options.upper else text, encoding="utf-8")
        return {"length": len(text)}

    def _join(self, options: JoinOptions, context: Context, out: Path) -> dict[str, Any]:
        (out / "deep").mkdir()
        (out / "deep" / "half.txt").write_text("half", encoding="utf-8")
        self._started(options)
        folders = [context.stages[p.removeprefix("stage:")] for p in [*options.parts, *options.by_label.values()]]
        text = options.glue.join((f / "words.txt").read_text(encoding="utf-8") for f in folders)
        (out / "words.txt").write_text(text, encoding="utf-8")
        return {"text": text}

    def _started(self, options: StageOptions) -> None:
        self.ran.append(options.name)
        if options.name in self.fail:
            raise DataError("planted")

    def run(self, *stages: StageOptions, seed: int = 1, name: str = "words") -> list[StageOutcome]:
        self.ran, self.said = [], []
        recipe = Recipe(name, name, seed, {}, stages)
        context = Context(recipe, self.run_dir, {}, "cpu", say=self.said.append)
        return run_recipe(recipe, self.kinds, self, context, self.run_dir)

    def pointer(self) -> dict[str, Any]:
        return json.loads((self.run_dir / POINTER).read_text(encoding="utf-8"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "run")


A, B = ReadOptions(name="a", source="a"), ReadOptions(name="b", source="b")
JOINED = JoinOptions(name="joined", parts=["stage:a", "stage:b"])
LAST = JoinOptions(name="last", parts=["stage:joined"])
CHAIN = (A, B, JOINED, LAST)


def changed(stage: StageOptions, **values: Any) -> StageOptions:
    return type(stage).model_validate({**stage.model_dump(), **values})


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


# -- what runs


def test_stages_run_in_order_and_hand_their_results_on(world: World) -> None:
    outcomes = world.run(*CHAIN)
    assert world.ran == ["a", "b", "joined", "last"]
    assert [o.name for o in outcomes] == world.ran
    assert [o.reason for o in outcomes] == ["new"] * 4
    assert all(o.ran for o in outcomes)
    assert outcomes[2].report["text"] == "가 나 다"
    assert (outcomes[3].directory / "words.txt").read_text(encoding="utf-8") == "가 나 다"
    assert world.said == [f"[{n}/4] {name} (new)" for n, name in enumerate(world.ran, 1)]


def test_every_result_is_a_committed_directory_with_its_report(world: World) -> None:
    for number, outcome in enumerate(world.run(*CHAIN), 1):
        assert outcome.directory == stage_directory(world.run_dir, outcome.name, outcome.fingerprint)
        assert damage(outcome.directory) is None
        kind = "read" if number < 3 else "join"
        meta = {"stage": outcome.name, "kind": kind, "fingerprint": outcome.fingerprint}
        assert read_manifest(outcome.directory)["meta"] == meta
        report = json.loads((outcome.directory / REPORT).read_text(encoding="utf-8"))
        assert report == outcome.report
        assert {"seconds", "peak_mb", "read"} < set(report)
        assert len(outcome.fingerprint) == 32


def test_nothing_is_made_or_written_twice(world: World) -> None:
    first = world.run(*CHAIN)
    before = tree(world.run_dir)
    second = world.run(*CHAIN)
    assert world.ran == world.said == []
    assert [o.reason for o in second] == ["done"] * 4
    assert not any(o.ran for o in second)
    assert [(o.directory, o.report) for o in second] == [(o.directory, o.report) for o in first]
    assert tree(world.run_dir) == before


def test_the_pointer_names_every_stage(world: World) -> None:
    outcomes = world.run(*CHAIN, name="support")
    pointer = world.pointer()
    assert pointer["recipe"] == "support"
    assert {name: entry["fingerprint"] for name, entry in pointer["stages"].items()} == {
        o.name: o.fingerprint for o in outcomes
    }
    assert [world.run_dir / entry["directory"] for entry in pointer["stages"].values()] == [
        o.directory for o in outcomes
    ]


def test_a_run_that_was_moved_is_still_done(world: World, tmp_path: Path) -> None:
    world.run(*CHAIN)
    world.run_dir = world.run_dir.rename(tmp_path / "moved")
    assert [o.reason for o in world.run(*CHAIN)] == ["done"] * 4


def test_a_lost_pointer_is_written_again_from_the_results(world: World) -> None:
    world.run(*CHAIN)
    before = world.pointer()
    (world.run_dir / POINTER).unlink()
    world.run(*CHAIN)
    assert world.ran == []
    assert world.pointer() == before


# -- what changes a fingerprint


def test_a_changed_option_makes_a_new_result_and_all_that_read_it(world: World) -> None:
    first = world.run(*CHAIN)
    second = world.run(A, changed(B, upper=True), JOINED, LAST)
    assert world.ran == ["b", "joined", "last"]
    assert [o.reason for o in second] == ["done", *["made again: its options or inputs changed"] * 3]
    assert world.said[0] == "[2/4] b (made again: its options or inputs changed)"
    assert first[0].directory == second[0].directory
    for old, new in zip(first[1:], second[1:], strict=True):
        assert old.directory != new.directory
        assert damage(old.directory) is None


def test_going_back_to_old_options_finds_the_old_result(world: World) -> None:
    first = world.run(*CHAIN)
    world.run(A, changed(B, upper=True), JOINED, LAST)
    other = world.pointer()
    back = world.run(*CHAIN)
    assert world.ran == []
    assert [o.directory for o in back] == [o.directory for o in first]
    entries = world.pointer()["stages"]
    assert {n: e["fingerprint"] for n, e in entries.items()} == {o.name: o.fingerprint for o in first}
    assert entries != other["stages"]


def test_an_option_that_cannot_change_the_result_is_no_reason_to_run(world: World) -> None:
    world.run(*CHAIN)
    outcomes = world.run(changed(A, batch_size=9), B, JOINED, LAST)
    assert [o.reason for o in outcomes] == ["done"] * 4


def test_another_seed_makes_everything_anew(world: World) -> None:
    first = world.run(*CHAIN, seed=1)
    second = world.run(*CHAIN, seed=2)
    assert world.ran == ["a", "b", "joined", "last"]
    assert {o.directory for o in first}.isdisjoint(o.directory for o in second)
    world.run(*CHAIN, seed=1)
    assert world.ran == []


def test_another_content_of_an_input_makes_its_readers_anew(world: World) -> None:
    world.run(*CHAIN)
    world.texts["b"] = "라"
    outcomes = world.run(*CHAIN)
    assert world.ran == ["b", "joined", "last"]
    assert outcomes[2].report["text"] == "가 나 라"
    world.texts["b"] = "다"
    assert [o.reason for o in world.run(*CHAIN)] == ["done"] * 4


def test_a_newer_version_of_a_stage_makes_its_result_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(*CHAIN)
    monkeypatch.setattr(JoinOptions, "version", 2)
    world.run(*CHAIN)
    assert world.ran == ["joined", "last"]


def test_a_stage_that_does_not_read_a_changed_one_stays(world: World) -> None:
    other = JoinOptions(name="other", parts=["stage:b"])
    world.run(A, B, JOINED, other)
    world.run(changed(A, upper=True), B, JOINED, other)
    assert world.ran == ["a", "joined"]


def test_the_order_of_inputs_and_their_labels_count(world: World) -> None:
    stages = [
        JOINED,
        changed(JOINED, parts=["stage:b", "stage:a"]),
        changed(JOINED, parts=["stage:a", "stage:b", "stage:b"]),
        changed(JOINED, parts=["stage:a"], by_label={"x": "stage:b"}),
        changed(JOINED, parts=["stage:a"], by_label={"y": "stage:b"}),
        changed(JOINED, glue=""),
    ]
    fingerprints = {world.run(A, B, stage)[2].fingerprint for stage in stages}
    assert len(fingerprints) == len(stages)


def test_an_input_that_is_only_watched_does_not_decide_the_result(world: World) -> None:
    watching = changed(JOINED, watched="a")
    world.run(A, B, watching)
    fingerprint = world.pointer()["stages"]["joined"]["fingerprint"]
    world.texts["a"] = "가 나 또"
    reads_b = JoinOptions(name="joined", parts=["stage:b"], watched="a")
    before = world.run(B, reads_b)[1].fingerprint
    world.texts["a"] = "그 밖에"
    assert world.run(B, reads_b)[1].fingerprint == before != fingerprint


def test_a_stage_put_in_front_makes_nothing_else_anew(world: World) -> None:
    first = world.run(*CHAIN)
    second = world.run(ReadOptions(name="front", source="b", upper=True), *CHAIN)
    assert [o.fingerprint for o in second[1:]] == [o.fingerprint for o in first]
    assert world.ran == ["front"]


FINGERPRINT = """
import sys
from pathlib import Path
from typing import Annotated, ClassVar
from munjang.config.recipe import Neutral, Recipe, Reference, StageOptions
from munjang.pipeline.run import stage_fingerprint

class Options(StageOptions):
    kind: ClassVar[str] = "test"
    produces: ClassVar[str] = "words"
    parts: dict[str, Annotated[str, Reference(("words",))]]
    choices: tuple[str, ...]
    rate: float = 1e-4

class Inputs:
    def fingerprint(self, value, accepts):
        return {"z": value, "a": [1, 2.5, "가"], "path": None}

stage = Options(name="x", parts={"나": "stage:one", "a": "b"}, choices=("q", "w"))
print(stage_fingerprint(stage, Recipe("r", "r", 3, {}, (stage,)), Inputs(), {"one": "f" * 32}))
"""


def test_fingerprints_depend_on_neither_hash_seed_nor_working_directory(
    python: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for seed, folder in (("1", tmp_path), ("2", Path("/")), ("3", tmp_path), ("77", tmp_path)):
        monkeypatch.chdir(folder)
        output, problems = python(FINGERPRINT, PYTHONHASHSEED=seed).communicate()
        assert len(output.strip()) == 32, problems
        found.add(output)
    assert len(found) == 1


def test_the_name_of_a_stage_does_not_count_for_those_that_read_it(world: World) -> None:
    first = world.run(*CHAIN)
    second = world.run(changed(A, name="renamed"), B, changed(JOINED, parts=["stage:renamed", "stage:b"]), LAST)
    assert [o.fingerprint for o in second] == [o.fingerprint for o in first]
    assert world.ran == ["renamed"]


# -- damage


def _flip(folder: Path) -> None:
    path = folder / "words.txt"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def _truncate_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:-20])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (_flip, "words.txt has changed since it was written"),
    "a deleted file": (lambda f: (f / "words.txt").unlink(), "words.txt is missing"),
    "a deleted report": (lambda f: (f / REPORT).unlink(), "report.json is missing"),
    "a lengthened file": (lambda f: (f / "words.txt").open("a").write("!"), "instead of"),
    "a truncated manifest": (_truncate_manifest, "its manifest is missing or damaged"),
    "an empty manifest": (lambda f: (f / MANIFEST).write_bytes(b""), "its manifest is missing or damaged"),
    "a manifest that is a list": (lambda f: (f / MANIFEST).write_bytes(b"[]"), "its manifest is missing or damaged"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "its manifest is missing or damaged"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_result_is_made_again_with_the_reason(world: World, how: str) -> None:
    first = world.run(*CHAIN)
    harm, reason = DAMAGE[how]
    harm(first[2].directory)
    second = world.run(*CHAIN)
    assert world.ran == ["joined"]
    assert second[2].reason.startswith("made again: ")
    assert reason in second[2].reason
    assert reason in world.said[0]
    assert second[2].directory == first[2].directory
    assert second[2].report["text"] == "가 나 다"
    assert damage(second[2].directory) is None
    assert [o.reason for o in world.run(*CHAIN)] == ["done"] * 4


def test_a_result_that_was_deleted_is_made_again_with_the_reason(world: World) -> None:
    first = world.run(*CHAIN)
    shutil.rmtree(first[2].directory)
    second = world.run(*CHAIN)
    assert world.ran == ["joined"]
    assert second[2].directory == first[2].directory
    assert second[2].reason.startswith("made again: ")
    assert "options or inputs changed" not in second[2].reason


def test_a_result_of_another_recipe_under_the_same_name_is_replaced(world: World) -> None:
    outcome = world.run(A)[0]
    other = outcome.fingerprint[:8] + "0" * 24
    assert why_run("a", outcome.directory, other, world.run_dir) == "made again: it belongs to another recipe"
    assert why_run("a", outcome.directory, outcome.fingerprint, world.run_dir) == "done"


@pytest.fixture(scope="module")
def manifest_of_a_result(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, StageOutcome, bytes]:
    world = World(tmp_path_factory.mktemp("flips") / "run")
    outcome = world.run(A)[0]
    return world, outcome, (outcome.directory / MANIFEST).read_bytes()


def verdict(outcome: StageOutcome, run_dir: Path) -> str:
    try:
        return why_run(outcome.name, outcome.directory, outcome.fingerprint, run_dir)
    except MunjangError as error:
        return f"refused: {error.what}"


@settings(max_examples=300)
@given(data=st.data())
def test_any_flipped_byte_of_a_manifest_is_seen_or_harmless(
    manifest_of_a_result: tuple[World, StageOutcome, bytes], data: st.DataObject
) -> None:
    world, outcome, whole = manifest_of_a_result
    place = data.draw(st.integers(0, len(whole) - 1))
    content = bytearray(whole)
    content[place] = data.draw(st.integers(0, 255))
    path = outcome.directory / MANIFEST
    path.write_bytes(content)
    reason = verdict(outcome, world.run_dir)
    # A flipped format number looks like that of a newer Munjang, and a name or a blank may not matter.
    assert reason.startswith(("made again: ", "refused: this directory was written by a newer")) or reason == "done"
    if reason == "done":
        assert json.loads(content)["meta"]["fingerprint"] == outcome.fingerprint
        assert json.loads(content)["files"] == json.loads(whole)["files"]


# -- failures


def test_a_stage_that_raises_leaves_the_earlier_ones_done_and_nothing_of_itself(world: World) -> None:
    world.fail = {"joined"}
    with pytest.raises(DataError, match="planted"):
        world.run(*CHAIN)
    assert world.ran == ["a", "b", "joined"]
    assert list(world.pointer()["stages"]) == ["a", "b"]
    assert sorted(p.name.split("-")[0] for p in (world.run_dir / "stages").iterdir()) == ["a", "b"]
    assert not list(world.run_dir.rglob(".tmp-*"))
    world.fail = set()
    assert [o.reason for o in world.run(*CHAIN)] == ["done", "done", "new", "new"]
    assert world.ran == ["joined", "last"]


def test_a_failed_change_keeps_the_old_result_and_the_old_pointer(world: World) -> None:
    first = world.run(*CHAIN)
    pointer = world.pointer()
    world.fail = {"b"}
    with pytest.raises(DataError):
        world.run(A, changed(B, upper=True), JOINED, LAST)
    assert world.pointer() == pointer
    assert [o.directory for o in world.run(*CHAIN)] == [o.directory for o in first]


def test_what_a_killed_process_left_is_cleared(world: World) -> None:
    world.run(*CHAIN)
    left = world.run_dir / "stages" / ".tmp-03-joined-00000000-1"
    left.mkdir()
    (left / "half.bin").write_bytes(b"x")
    (world.run_dir / ".tmp-run.json-1").write_text("{")
    assert [o.reason for o in world.run(*CHAIN)] == ["done"] * 4
    assert not list(world.run_dir.rglob(".tmp-*"))


def test_a_report_that_is_not_json_commits_nothing(world: World) -> None:
    world.kinds["read"] = StageKind(ReadOptions, lambda options, context, out: {"dev": float("nan")})
    with pytest.raises(ValueError, match="JSON compliant"):
        world.run(A)
    assert list((world.run_dir / "stages").iterdir()) == []


def test_two_processes_do_not_share_a_run(world: World) -> None:
    world.run(A)
    with lock(world.run_dir), pytest.raises(LockedError) as caught:
        world.run(A)
    assert str(os.getpid()) in caught.value.what
    assert world.ran == []
    assert [o.reason for o in world.run(A)] == ["done"]


def test_the_run_is_locked_while_a_stage_works(world: World) -> None:
    refused = []

    def inside(options: ReadOptions, context: Context, out: Path) -> dict[str, Any]:
        try:
            with lock(world.run_dir):
                pass
        except LockedError as error:
            refused.append(error.exit_status)
        return {}

    world.kinds["read"] = StageKind(ReadOptions, inside)
    world.run(A)
    assert refused == [75]
    with lock(world.run_dir):
        pass


@pytest.mark.parametrize("content", ['{"format": 1, "sta', "[]", "{}", '{"stages": []}', '{"stages": {"a": 1}}'])
def test_a_damaged_pointer_is_written_anew_and_nothing_runs_again(world: World, content: str) -> None:
    world.run(A)
    good = (world.run_dir / POINTER).read_text(encoding="utf-8")
    (world.run_dir / POINTER).write_text(content, encoding="utf-8")
    assert not any(outcome.ran for outcome in world.run(A))
    assert (world.run_dir / POINTER).read_text(encoding="utf-8") == good


def test_the_pointer_forgets_stages_that_left_the_recipe(world: World) -> None:
    world.run(A, B)
    world.run(A)
    assert list(read_pointer(world.run_dir)["stages"]) == [A.name]


def test_the_peak_of_memory_is_in_megabytes() -> None:
    block = bytearray(64 << 20)
    assert 64 < peak_memory_mb() < 1 << 20
    assert len(block) == 64 << 20


def begun(world: World, *names: str) -> list[Path]:
    """Checkpoints as a killed training leaves them."""
    folders = [world.run_dir / "work" / name for name in names]
    for folder in folders:
        (folder / "step-00000001").mkdir(parents=True)
        (folder / "step-00000001" / "tensors.safetensors").write_bytes(b"half")
    return folders


def test_what_was_begun_under_other_options_goes_when_the_stage_is_made(world: World) -> None:
    outcome = world.run(A)[0]
    own = f"a-{outcome.fingerprint[:8]}"
    shutil.rmtree(outcome.directory)
    old, present, longer, other = begun(world, "a-0123abcd", own, "a-b-0123abcd", "b-0123abcd")
    world.run(A)
    assert not old.exists()
    assert not present.exists()
    assert longer.exists(), "it is of the stage a-b"
    assert other.exists(), "its stage has not been made"
    assert [line for line in world.said if "removed" in line] == [
        "  removed work/a-0123abcd: begun under other options or inputs"
    ]


def test_what_was_begun_under_other_options_outlives_a_stage_that_fails(world: World) -> None:
    (old,) = begun(world, "a-0123abcd")
    world.fail = {"a"}
    with pytest.raises(DataError):
        world.run(A)
    assert old.exists()


def test_what_was_begun_under_other_options_outlives_a_look_at_a_finished_result(world: World) -> None:
    fingerprint = world.run(A)[0].fingerprint
    old, finished = begun(world, "a-0123abcd", f"a-{fingerprint[:8]}")
    world.run(A)  # a kill may have come between the commit and the removal
    assert world.ran == []
    assert old.exists()
    assert not finished.exists()
    assert (old / "step-00000001" / "tensors.safetensors").read_bytes() == b"half"


def test_a_changed_input_makes_what_was_begun_stale_too(world: World) -> None:
    first = world.run(*CHAIN)[2].fingerprint
    begun(world, f"joined-{first[:8]}")
    world.texts["a"] = "라"
    world.run(*CHAIN)
    assert not (world.run_dir / "work").exists()
