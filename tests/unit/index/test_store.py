"""An index comes back as it was written, says which models it belongs to, and is refused when it is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from munjang.data.rows import Document
from munjang.errors import DataError, MissingInputError
from munjang.files import new_directory
from munjang.index.store import SETTINGS, open_index, write_index

DOCUMENTS = [
    Document("h1", "환불은 사흘 안에 됩니다"),
    Document("h2", '쉼표, "따옴표"\t탭'),
    Document("3", "🙂 <b>굵게</b>"),
]
VECTORS = np.eye(3, 4, dtype=np.float64)


def write(folder: Path, documents: list[Document] = DOCUMENTS, vectors: np.ndarray = VECTORS, **values: Path) -> Path:
    """A committed index of three documents whose models are named but not there."""
    with new_directory(folder) as out:
        model, reranker = values.get("model", folder.parent / "bi"), values.get("reranker")
        write_index(out, documents, vectors, home=out, model=model, model_fingerprint="f" * 32, reranker=reranker)
    return folder


def test_an_index_comes_back_as_it_was_written(tmp_path: Path) -> None:
    index = open_index(write(tmp_path / "stages" / "index", reranker=tmp_path / "stages" / "cross"))
    assert index.documents == DOCUMENTS
    assert isinstance(index.vectors, np.memmap)
    assert index.vectors.dtype == np.float32
    assert np.array_equal(index.vectors, VECTORS)
    assert index.model == str(tmp_path / "stages" / "bi")
    assert index.model_fingerprint == "f" * 32
    assert index.reranker == str(tmp_path / "stages" / "cross")
    assert open_index(write(tmp_path / "other")).reranker is None


def test_the_settings_say_how_much_there_is(tmp_path: Path) -> None:
    settings = json.loads((write(tmp_path / "index") / SETTINGS).read_text(encoding="utf-8"))
    assert (settings["format"], settings["documents"], settings["dimension"]) == (1, 3, 4)


def test_two_documents_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="same id") as caught:
        write(tmp_path / "index", [*DOCUMENTS[:2], DOCUMENTS[0]])
    assert caught.value.got == "h1"
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_moved_still_opens(tmp_path: Path) -> None:
    stages = tmp_path / "run" / "stages"
    write(stages / "05-index", model=stages / "03-bi" / "model", reranker=stages / "02-cross" / "model")
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    index = open_index(moved / "stages" / "05-index")
    assert index.model == str(moved / "stages" / "03-bi" / "model")
    assert index.reranker == str(moved / "stages" / "02-cross" / "model")


def test_a_model_outside_the_run_keeps_its_place(tmp_path: Path) -> None:
    model = tmp_path / "models" / "bi"
    write(tmp_path / "deep" / "run" / "stages" / "05-index", model=model)
    moved = (tmp_path / "deep" / "run").rename(tmp_path / "run")
    assert open_index(moved / "stages" / "05-index").model == str(model)


def test_a_run_reached_through_a_link_can_be_moved_too(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    stages = tmp_path / "link" / "run" / "stages"
    write(stages / "05-index", model=tmp_path / "disk" / "run" / "stages" / "03-bi")
    moved = (tmp_path / "disk" / "run").rename(tmp_path / "moved")
    assert open_index(moved / "stages" / "05-index").model == str(moved / "stages" / "03-bi")


def test_relative_paths_start_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write(Path("stages/index"), model=Path("stages/bi"))
    monkeypatch.chdir("/")
    assert open_index(tmp_path / "work" / "stages" / "index").model == str(tmp_path / "work" / "stages" / "bi")


@pytest.mark.parametrize("content", [None, {}, {"documents.parquet": b"x"}])
def test_a_folder_without_an_index_is_a_missing_input(tmp_path: Path, content: dict[str, bytes] | None) -> None:
    folder = tmp_path / "index"
    if content is not None:
        folder.mkdir()
    for name, data in (content or {}).items():
        (folder / name).write_bytes(data)
    with pytest.raises(MissingInputError, match="no index here") as caught:
        open_index(folder)
    assert "index build" in caught.value.hint


@pytest.mark.parametrize("name", ["documents.parquet", "vectors.npy", SETTINGS])
def test_a_flipped_byte_is_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "index") / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name} has changed") as caught:
        open_index(path.parent)
    assert caught.value.where == str(path.parent)


@pytest.mark.parametrize("name", ["documents.parquet", "vectors.npy", "manifest.json"])
def test_a_missing_file_is_found(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "index")
    (folder / name).unlink()
    with pytest.raises(DataError, match="missing"):
        open_index(folder)


def test_another_format_is_refused(tmp_path: Path) -> None:
    with new_directory(tmp_path / "index") as out:
        (out / SETTINGS).write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(DataError, match="another format") as caught:
        open_index(tmp_path / "index")
    assert (caught.value.expected, caught.value.got) == ("1", "2")


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_pickled_vectors_are_never_loaded(tmp_path: Path) -> None:
    folder = write(tmp_path / "index")
    with new_directory(tmp_path / "hostile") as out:
        for name in (SETTINGS, "documents.parquet"):
            (out / name).write_bytes((folder / name).read_bytes())
        np.save(out / "vectors.npy", np.array([Trap(tmp_path / "sprung")], object), allow_pickle=True)
    with pytest.raises((DataError, ValueError)):
        open_index(tmp_path / "hostile")
    assert not (tmp_path / "sprung").exists()
