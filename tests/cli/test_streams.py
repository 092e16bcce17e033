"""What the shell does to the streams: closed pipes, a full disk behind stdout, a terminal without Hangul."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def munjang(*arguments: object, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    words = " ".join(f"'{a}'" for a in (sys.executable, "-m", "munjang", *arguments))
    command = ["bash", "-c", f"{words} {shell}"]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("arguments", [["data"], ["data", "--json"]])
def test_a_full_disk_behind_stdout_is_a_refusal_of_the_disk(arguments: list[str]) -> None:
    finished = munjang(*arguments, shell="> /dev/full")
    assert finished.returncode == 74
    assert finished.stderr.count("error:") == 1
    assert "Traceback" not in finished.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    finished = munjang("data", "--json", shell="| head -c 10; exit ${PIPESTATUS[0]}")
    assert finished.returncode == 0
    assert "Traceback" not in finished.stderr


def test_work_goes_on_where_nobody_reads_its_words(tmp_path: Path) -> None:
    finished = munjang("doctor", "support:train", "support:dev", "--json", shell="2> >(exit 0)")
    assert finished.returncode == 0
    assert json.loads(finished.stdout)["findings"] == []


@pytest.mark.parametrize("as_json", [True, False])
def test_a_terminal_without_hangul_still_gets_every_answer(as_json: bool, tiny_bi: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("환불은 삼 일 안에 됩니다\n배송은 이틀 걸립니다\n", encoding="utf-8")
    made = munjang("index", "build", texts, "--model", tiny_bi, "--out", tmp_path / "index", "--device", "cpu")
    assert made.returncode == 0
    found = munjang("search", tmp_path / "index", "환불", "--device", "cpu", *(["--json"] if as_json else []), **ASCII)
    assert found.returncode == 0, found.stderr
    if as_json:
        assert json.loads(found.stdout)["query"] == "환불"


def test_a_folder_left_by_a_killed_command_goes_with_the_next(tmp_path: Path, tiny_bi: Path) -> None:
    orphan = tmp_path / ".tmp-result-999999999"
    mine = tmp_path / f".tmp-result-{os.getpid()}"
    orphan.mkdir()
    mine.mkdir()
    half = tmp_path / "result" / "measurements" / ".tmp-key-999999999"
    half.mkdir(parents=True)
    finished = munjang("evaluate", tiny_bi, "--on", "support:dev", "--out", tmp_path / "result", "--device", "cpu")
    assert finished.returncode == 0
    assert not half.exists()
    (tmp_path / "result").rename(tmp_path / "other")
    finished = munjang("doctor", "support:dev", "--out", tmp_path / "result")
    assert finished.returncode == 0
    assert not orphan.exists()
    assert mine.exists()
