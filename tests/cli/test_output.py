"""The next command that is printed: one that works where this one did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from munjang.cli.output import program


@pytest.mark.parametrize(
    ("started", "on_path", "expected"),
    [
        ("lib/munjang/__main__.py", [], "{folder}/bin/python -m munjang"),
        ("lib/munjang/__main__.py", ["python"], "python -m munjang"),
        ("lib/munjang/__main__.py", ["python", "munjang"], "python -m munjang"),
        ("bin/munjang", ["munjang"], "munjang"),
        ("bin/munjang", [], "bin/munjang"),
        ("lib/pytest/__main__.py", ["munjang"], "munjang"),
    ],
)
def test_the_program_is_named_as_it_was_started(
    started: str, on_path: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / started)])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    for name in on_path:
        (tmp_path / "bin" / name).touch(mode=0o755)
    assert program() == expected.format(folder=tmp_path)


def test_a_module_knows_that_it_is_one() -> None:
    code = "import runpy, sys; sys.argv[1:] = ['--version']; from munjang.cli import app, output; "
    code += (
        "app.main = lambda: print(output.program()); runpy.run_module('munjang', run_name='__main__', alter_sys=True)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.endswith("-m munjang\n")
