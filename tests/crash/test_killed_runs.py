"""A run that is killed anywhere goes on where it was, and ends with what an unbroken run ends with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RECIPE = """
name = "tiny"
seed = 5

[[stage]]
name = "doctor"
kind = "doctor"
data = ["support:dev", "support:test"]
model = "{bi}"

[[stage]]
name = "cross"
kind = "train.cross"
model = "{bi}"
train = ["support:train"]
dev = "support:dev"
epochs = 1
evaluations = 1

[[stage]]
name = "pairs"
kind = "mine"
model = "{bi}"
sentences = ["support:train"]
exclude = ["support:dev"]
max_pairs = 60

[[stage]]
name = "silver"
kind = "label"
model = "stage:cross"
pairs = "stage:pairs"
force = true

[[stage]]
name = "bi"
kind = "train.bi"
model = "{bi}"
train = ["support:train", "stage:silver"]
dev = "support:dev"
exclude = ["support:test"]
epochs = 1
evaluations = 1

[[stage]]
name = "result"
kind = "evaluate"
models = {{ "zero-shot" = "{bi}", "bi" = "stage:bi", "cross" = "stage:cross" }}
on = ["support:test"]
baseline = "zero-shot"

[[stage]]
name = "index"
kind = "index"
model = "stage:bi"
documents = ["support-queries"]
reranker = "stage:cross"
"""
STAGES = ("doctor", "cross", "pairs", "silver", "bi", "result", "index")


@pytest.fixture(scope="module")
def recipe(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = RECIPE.format(bi=tiny_bi)
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "munjang", "run", str(recipe), "--out", str(out), "--device", "cpu"]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def finish(recipe: Path, out: Path) -> str:
    process = start(recipe, out)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return printed


def same(found: object, expected: object) -> bool:
    """Equal, numbers up to the rounding of another process: a matrix product depends on where its operands lie."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(same(found[k], expected[k]) for k in expected)
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, abs=0.1)
    return found == expected


def results(out: Path) -> dict[str, object]:
    """Every number of a run that must not depend on how often it was killed."""
    pointer = json.loads((out / "run.json").read_text(encoding="utf-8"))
    reports = {}
    for name, entry in pointer["stages"].items():
        report = json.loads((out / entry["directory"] / "report.json").read_text(encoding="utf-8"))
        reports[name] = untimed(report)
    return reports


def untimed(value: object) -> object:
    """A report without what a clock or a meter said."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in ("seconds", "peak_mb", "speed")}
    return [untimed(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def unbroken(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    finish(recipe, out)
    return out


def kill_when(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the run neither ended nor reached the moment of the kill"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


KILLS = [(stage, moment) for stage in STAGES for moment in ("in", "after")]
EVERY_TIME = {("cross", "in"), ("bi", "in"), ("index", "after")}


@pytest.mark.parametrize(
    ("stage", "moment"), [pytest.param(*k, marks=() if k in EVERY_TIME else pytest.mark.nightly) for k in KILLS]
)
def test_a_run_killed_at_any_stage_completes_with_the_same_figures(
    stage: str, moment: str, recipe: Path, unbroken: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(recipe, out)
    pattern = f".tmp-{stage}-*" if moment == "in" else f"{stage}-*"
    kill_when(process, lambda: any((out / "stages").glob(pattern)))
    printed = finish(recipe, out)
    assert same(results(out), results(unbroken))
    assert not list(out.rglob(".tmp-*"))
    assert ("nothing to do" in printed) == ((stage, moment) == (STAGES[-1], "after"))
    assert "nothing to do" in finish(recipe, out)


def test_a_second_process_in_the_same_run_is_told_who_holds_it(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = start(recipe, out)
    try:
        while not (out / "stages").exists():
            assert first.poll() is None
            time.sleep(0.01)
        second = start(recipe, out)
        _, errors = second.communicate(timeout=120)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 75
    assert f"process {first.pid}" in errors


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on_and_leaves_nothing_half_written(
    number: signal.Signals, status: int, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(recipe, out)
    while not any((out / "stages").glob(".tmp-cross-*")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status
    assert "goes on from there" in errors
    assert "Traceback" not in errors
    assert not list(out.rglob(".tmp-*"))


def test_damaged_results_are_made_again_and_said(recipe: Path, unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(unbroken, out)
    silver = next(out.glob("stages/silver-*/pairs.parquet"))
    content = bytearray(silver.read_bytes())
    content[len(content) // 2] ^= 1
    silver.write_bytes(content)
    process = start(recipe, out)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "pairs.parquet has changed since it was written" in errors
    assert "1 of 7 stages ran" in printed
    assert same(results(out), results(unbroken))


_NIGHTLY = pytest.mark.nightly


@pytest.mark.parametrize(
    "limit", [pytest.param(20_000, marks=_NIGHTLY), 300_000, pytest.param(2_000_000, marks=_NIGHTLY)]
)
def test_a_disk_that_fills_ends_with_one_message_and_nothing_half_written(
    limit: int, recipe: Path, unbroken: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code = (
        "import resource, sys; from munjang.cli.app import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY));"
        f"main(['run', {str(recipe)!r}, '--out', {str(out)!r}, '--device', 'cpu'])"
    )
    stopped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert stopped.returncode == 74, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.stderr.count("error:") == 1
    assert not list(out.rglob(".tmp-*"))
    finish(recipe, out)
    assert same(results(out), results(unbroken))
