"""The bundled models, converted once for all tests of models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from munjang.engine.encoder import Encoder
from munjang.models.source import BUNDLED, resolve_model


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Name of a bundled model -> its folder, in a cache of its own that is removed in the end (560 MB)."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUNJANG_CACHE", str(cache))
        folders = {name: resolve_model(f"bundled:{name}") for name in BUNDLED}
    yield folders
    shutil.rmtree(cache)


@pytest.fixture(scope="session")
def e5(bundled: dict[str, Path]) -> Encoder:
    """An encoder over `bundled:e5-small`."""
    return Encoder(bundled["e5-small"])
