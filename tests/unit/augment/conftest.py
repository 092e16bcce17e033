"""A cross-encoder with classes."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_nli(tiny_cross: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder with the three classes of NLI and a random head."""
    from munjang.models.convert import convert

    folder = tmp_path_factory.mktemp("classes") / "tiny-nli"
    convert(tiny_cross, "nli", folder)
    return folder
