"""Fixtures for all tests: the real data, files to read, and Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

import munjang.errors

REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("munjang", deadline=None, max_examples=60)
settings.load_profile("munjang")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public data sets: `MUNJANG_DATA`, else the folder `shared/data` beside the repository."""
    folder = Path(os.environ.get("MUNJANG_DATA") or REPOSITORY.parent / "shared" / "data").expanduser()
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not here: {folder} does not exist; set MUNJANG_DATA")
    return folder


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes | str], Path]:
    """Writes a file and returns its path; the same name is overwritten, so that property tests can use it."""
    folder = tmp_path_factory.mktemp("scratch")

    def write(name: str, content: bytes | str) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture(scope="session")
def physical_lines() -> Callable[[Path, str], int]:
    """Counts the lines of a file without the package: LF, CR and CRLF end one."""

    def count(path: Path, encoding: str) -> int:
        text = path.read_bytes().decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        return text.count("\n") + (not text.endswith("\n") and text != "")

    return count


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.Popen[str]]:
    """Starts Python code in a process of its own, with this package on its path."""

    def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        root = str(Path(munjang.errors.__file__).parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
