"""Bulk encoding that is killed anywhere goes on; the end is the same to the byte, and no shard is made twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import munjang
from munjang.engine.shards import read_encoding

#: Encodes with a stub. argv: file, out, rows a shard, log of encoded texts, and where to die: `shard N` (after so many
#: shards of this process were committed) or `event N` (before the Nth file is opened, made, renamed or removed); with
#: `limit N` no file may be longer than N bytes.
CODE = """
import os, signal, sys
from pathlib import Path
from munjang.data.texts import TextFile, Wanted
from munjang.engine import bulk
from munjang.progress import QUIET
from stub_model import StubModel

source, out, rows, log, what, when = sys.argv[1:]
left = int(when)

def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

class Logging(StubModel):
    def encode(self, texts, *others, **named):
        if what != "limit":
            with open(log, "a") as file:
                file.write("".join(text + chr(10) for text in texts))
        return super().encode(texts, *others, **named)

if what == "shard":
    plain = bulk.write_shard
    bulk.write_shard = lambda *arguments: (plain(*arguments), step())
job = bulk.Job("stub", "f" * 32, shard_rows=int(rows), wanted=Wanted((), "id"))
if what == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(when), resource.RLIM_INFINITY))
if what == "event":
    def heard(event, arguments):
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.link", "os.rmdir", "os.chmod", "os.listdir"):
            step()
    sys.addaudithook(heard)
bulk.encode_files([TextFile("in.tsv", Path(source))], Path(out), job, Logging, QUIET)
"""

Start = Callable[..., tuple[int, str]]


@pytest.fixture
def start(python: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Start:
    """Encodes `in.tsv` in a process of its own; returns its exit status and what it said."""
    paths = os.pathsep.join([str(Path(munjang.__file__).parents[1]), str(Path(__file__).parents[1])])

    def call(rows: int, out: str, what: str = "shard", when: int = 0) -> tuple[int, str]:
        process = python(
            CODE, tmp_path / "in.tsv", tmp_path / out, rows, tmp_path / "log", what, when, PYTHONPATH=paths
        )
        _, problems = process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL) or what == "limit", problems
        return process.returncode, problems

    return call


def write(path: Path, rows: int) -> None:
    # Every eleventh text is blank.
    lines = (f"k{i}\t{'' if i % 11 == 5 else f'문장 {i}'}\n" for i in range(rows))
    path.write_text("id\ttext\n" + "".join(lines), encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def require_whole(tmp_path: Path, rows: int) -> None:
    """The result is that of an unbroken run: no row twice, none missing, the same bytes, and nothing beside it."""
    ids = [key for block in read_encoding(tmp_path / "out") for key in block.ids]
    assert ids == [f"k{i}" for i in range(rows) if i % 11 != 5]
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tsv", "log", "out", "unbroken"]


def encoded(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text(encoding="utf-8").split("\n")[:-1]


SIZES = [pytest.param(2_000, 200, 10, id="2k"), pytest.param(20_000, 500, 50, id="20k", marks=pytest.mark.nightly)]


@pytest.mark.parametrize(("rows", "shard", "kills"), SIZES)
def test_killed_behind_every_shard_nothing_is_made_twice(
    rows: int, shard: int, kills: int, start: Start, tmp_path: Path
) -> None:
    write(tmp_path / "in.tsv", rows)
    assert start(shard, "unbroken")[0] == 0
    (tmp_path / "log").unlink()
    for _ in range(rows // shard):
        assert start(shard, "out", "shard", 1)[0] == -signal.SIGKILL
        assert not (tmp_path / "out").exists()
    assert start(shard, "out", "shard", 1)[0] == 0
    texts = encoded(tmp_path)
    assert len(texts) == len(set(texts)) == rows - len(range(5, rows, 11))
    require_whole(tmp_path, rows)


@pytest.mark.parametrize(("rows", "shard", "kills"), SIZES)
def test_killed_at_random_moments_at_most_one_shard_is_lost(
    rows: int, shard: int, kills: int, start: Start, tmp_path: Path
) -> None:
    write(tmp_path / "in.tsv", rows)
    assert start(shard, "unbroken")[0] == 0
    (tmp_path / "log").unlink()
    drawn = random.Random(11)
    killed = before = 0
    while killed < kills:
        # From the first file that is opened to the last that is removed: an unbroken run has 44 such events a shard.
        if start(shard, "out", "event", drawn.randint(1, 44 * rows // shard))[0] == 0:
            require_whole(tmp_path, rows)
            (tmp_path / "log").unlink()
            for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
            (tmp_path / "out").rmdir()
            before = 0
            continue
        killed += 1
        # What is encoded again is at most the one shard that was under way.
        made = encoded(tmp_path) if (tmp_path / "log").exists() else []
        assert len(made) - len(set(made)) - before <= shard
        before = len(made) - len(set(made))
    assert start(shard, "out")[0] == 0
    require_whole(tmp_path, rows)


def begin(folder: Path, model: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "munjang", "encode", "in.tsv", "--model", str(model), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--shard-rows", "100", "--device", "cpu"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(munjang.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def unbroken(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `in.tsv` and its encoding by a real model in one go, as `out`."""
    folder = tmp_path_factory.mktemp("unbroken")
    write(folder / "in.tsv", 3_000)
    process = begin(folder, tiny_bi, folder / "out")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return folder


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_how_to_go_on(
    number: signal.Signals, status: int, tiny_bi: Path, unbroken: Path, tmp_path: Path
) -> None:
    process = begin(unbroken, tiny_bi, tmp_path / "out")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out.part").glob("shard-*"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "finished shards are kept in out.part; the same command goes on to out" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "out.part").glob(".tmp-*"))
    rest = begin(unbroken, tiny_bi, tmp_path / "out")
    printed, said = rest.communicate(timeout=240)
    assert rest.returncode == 0, said
    assert "shards were there before" in printed
    assert contents(tmp_path / "out") == contents(unbroken / "out")


@pytest.mark.parametrize("limit", [100, 5_000, 12_000])
def test_a_disk_that_fills_is_one_error_and_the_next_call_goes_on(limit: int, start: Start, tmp_path: Path) -> None:
    write(tmp_path / "in.tsv", 2_000)
    assert start(200, "unbroken")[0] == 0
    status, said = start(200, "out", "limit", limit)
    assert status == 1
    assert said.rstrip().splitlines()[-1].startswith("munjang.errors.DiskError")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob(".tmp-*"))
    assert start(200, "out")[0] == 0
    require_whole(tmp_path, 2_000)
