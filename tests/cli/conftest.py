"""What tests of several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from munjang.cli.app import run_command


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in the test's folder; returns its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run_command([str(a) for a in arguments])
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return call
