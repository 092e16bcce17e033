"""A training that is killed at any point, and again and again, ends with the very weights of an unbroken one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

#: Loads the libraries once and forks a child for every training, so that a kill costs a second and not ten.
DRIVER = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path

import torch

torch.set_num_threads(1)
from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.files import digest_file, digest_folder
from munjang.train.bi import train_bi
from munjang.train.checkpoint import Checkpoints
from munjang.train.examples import TrainRows
from munjang.train.objectives import BI_OBJECTIVES
from munjang.train.options import TrainBiOptions

start, root, kind, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
rows = load_rows(DataSpec(source="support:train"), ("scored-pairs",), Path()).rows[:48]
sets = [TrainRows("t", "scored-pairs", rows, BI_OBJECTIVES["cosent"])]
options = TrainBiOptions(
    name="m", model="m", train=["t"], dev="d", batch_size=4, epochs=5, evaluations=3, learning_rate=1e-3, ema=0.9,
    checkpoint_seconds=0,
)


def train(folder, said):
    done = []

    def progress(step, total, note=""):
        said.append(step)

    report_of = Checkpoints(folder / "work", "this", said.append)
    found = report_of.load()
    done += [None] * (0 if found is None else 1 + len(found[2]["report"]["curve"]))

    def scored(encoder):
        number = len(done)
        done.append(None)
        return [10.0, 30.0, 40.0, 20.0][number]

    return train_bi(
        options, sets, scored, start=start, out=folder / "model", seed=7, device="cpu", progress=progress,
        checkpoints=report_of,
    )


def kill_at_call(number):
    # Every flush, rename and unlink of a commit is a point where the power may go.
    calls = [0]

    def counted(function):
        def call(*arguments, **more):
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return call

    for name in ("fsync", "rename", "replace", "rmdir", "unlink", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))


def child(folder, limit=None, call=None):
    pid = os.fork()
    if pid == 0:
        try:
            if call is not None:
                kill_at_call(call)
            said = []
            report = train(folder, said)
            (folder / "report.json").write_text(json.dumps([report.as_dict(), said]))
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if limit is not None:
        time.sleep(limit)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def result(folder):
    report, said = json.loads((folder / "report.json").read_text())
    return digest_folder(folder / "model"), report


unbroken = root / "unbroken"
unbroken.mkdir(parents=True)
began = time.monotonic()
assert child(unbroken) == 0
took = time.monotonic() - began
expected = result(unbroken)
draw = random.Random(count)
outcome = {"points": 0, "killed": 0, "wrong": [], "steps": expected[1]["steps"], "resumed": 0}
for number in range(count):
    folder = root / str(number)
    folder.mkdir()
    kills = 1 + number % 3
    for _ in range(kills):
        point = {"limit": draw.uniform(0.0, took)} if kind == "time" else {"call": draw.randrange(1, 900)}
        status = child(folder, **point)
        outcome["points"] += 1
        outcome["killed"] += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
        if not os.WIFSIGNALED(status):
            break
    outcome["resumed"] += any((folder / "work").glob("step-*")) if (folder / "work").is_dir() else 0
    shutil.rmtree(folder / "model", ignore_errors=True)
    assert child(folder) == 0
    if result(folder) != expected:
        outcome["wrong"].append(number)
    shutil.rmtree(folder)
print(json.dumps(outcome))
"""


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("time", 10),
        ("call", 10),
        pytest.param("time", 60, marks=pytest.mark.nightly),
        pytest.param("call", 60, marks=pytest.mark.nightly),
    ],
)
def test_a_training_killed_anywhere_ends_with_the_same_bits(
    kind: str, count: int, tiny_bi: Path, tmp_path: Path, python: Callable[..., subprocess.Popen[str]]
) -> None:
    process = python(DRIVER, tiny_bi, tmp_path / "runs", kind, count, OMP_NUM_THREADS="1")
    printed, errors = process.communicate(timeout=3000)
    assert process.returncode == 0, errors
    outcome = json.loads(printed.splitlines()[-1])
    assert outcome["wrong"] == []
    assert outcome["steps"] >= 50
    # Most of the drawn moments do fall into a training, and most of them after a first checkpoint.
    assert outcome["killed"] >= outcome["points"] // 2 >= count // 2
    assert outcome["resumed"] >= count // 2
