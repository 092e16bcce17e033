"""An index in a run, as the stages of a recipe would leave it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import Document
from munjang.engine.encoder import Encoder
from munjang.files import new_directory
from munjang.index.search import encode_documents
from munjang.index.store import write_index
from munjang.models.folder import fingerprint_model

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    """120 help texts with ids."""
    return load_rows(DataSpec(source="support-help"), ("documents",), Path()).rows[:120]


@pytest.fixture(scope="session")
def build(tiny_bi: Path, tiny_cross: Path, documents: list[Document]) -> Build:
    """Makes a run with copies of the tiny models and an index over some documents; returns the index's folder."""
    encoder = Encoder(tiny_bi)

    def make(run: Path, texts: list[Document] = documents, reranker: bool = True) -> Path:
        stages = run / "stages"
        for source, target in ((tiny_bi, "01-bi/model"), (tiny_cross, "02-cross/model")):
            shutil.copytree(source, stages / target, dirs_exist_ok=True)
        bi, cross = stages / "01-bi" / "model", stages / "02-cross" / "model"
        with new_directory(stages / "03-index") as out:
            write_index(
                out,
                texts,
                encode_documents(texts, encoder),
                home=out,
                model=bi,
                model_fingerprint=fingerprint_model(bi),
                reranker=cross if reranker else None,
            )
        return stages / "03-index"

    return make
