"""Folders in the layout of BEIR are found with their judgements, and read by the ordinary readers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.beir import beir_parts
from munjang.data.load import load_rows
from munjang.data.rows import Document, Qrel
from munjang.errors import MissingInputError


def write(folder: Path, titled: bool = True, splits: tuple[str, ...] = ("test",)) -> Path:
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": "d1", "title": "환불", "text": "삼 일 안에 됩니다"},
        {"_id": "d2", "title": "", "text": "배송"},
    ]
    documents = [{k: v for k, v in row.items() if titled or k != "title"} for row in documents]
    queries = [{"_id": "q1", "text": "환불은 언제 되나요", "metadata": {"url": "x"}}]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for split in splits:
        path = folder / "qrels" / f"{split}.tsv"
        path.write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\n", encoding="utf-8")
    return folder


def load(part: dict, kind: str, folder: Path) -> list:
    return load_rows(DataSpec(**part), (kind,), folder).rows


@pytest.mark.parametrize(("titled", "first"), [(True, "환불 삼 일 안에 됩니다"), (False, "삼 일 안에 됩니다")])
def test_the_three_files_are_read_with_titles_before_texts(titled: bool, first: str, tmp_path: Path) -> None:
    parts = beir_parts(str(write(tmp_path / "set", titled)))
    assert load(parts["documents"], "documents", tmp_path) == [Document("d1", first), Document("d2", "배송")]
    assert load(parts["queries"], "documents", tmp_path) == [Document("q1", "환불은 언제 되나요")]
    assert load(parts["qrels"], "qrels", tmp_path) == [Qrel("q1", "d1", 2)]


@pytest.mark.parametrize(
    ("splits", "asked", "chosen"),
    [
        (("dev", "test"), "", "test"),
        (("dev", "test"), ":dev", "dev"),
        (("dev",), "", "dev"),
    ],
)
def test_the_judgements_are_those_of_the_split(splits: tuple, asked: str, chosen: str, tmp_path: Path) -> None:
    parts = beir_parts(str(write(tmp_path / "set", splits=splits)) + asked)
    assert Path(parts["qrels"]["source"]).name == f"{chosen}.tsv"


@pytest.mark.parametrize(("splits", "asked"), [((), ""), (("dev", "train"), ""), (("test",), ":dev")])
def test_judgements_that_are_not_there_are_named(splits: tuple, asked: str, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="there are no judgements") as caught:
        beir_parts(str(write(tmp_path / "set", splits=splits)) + asked)
    assert caught.value.got == (", ".join(splits) or "none")


@pytest.mark.parametrize(
    "source", ["korsts:test", "pairs.tsv", "no-such-folder", ".", "stsb_multi_mt:en:test", ":test"]
)
def test_what_is_no_such_folder_is_left_alone(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert beir_parts(source) is None
