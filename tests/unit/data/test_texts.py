"""A stream of texts: columns are found or refused by name, rows are numbered over all files, nothing is held."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from munjang.data.texts import TextFile, Wanted, count_rows, find_text_files, require_columns, stream_texts
from munjang.errors import DataError, MissingInputError

Write = Callable[[str, bytes | str], Path]


def texts(path: Path, **wanted: object) -> list[tuple[str, ...]]:
    return [row.texts for row in stream_texts([TextFile(path.name, path)], Wanted(**wanted))]


@pytest.mark.parametrize(
    ("header", "wanted", "expected"),
    [
        ("text\tother", (), "a"),
        ("other\t본문", (), "b"),
        ("sentence\ttext", (), "b"),
        ("left\tright", ("right",), "b"),
    ],
)
def test_the_column_is_the_one_that_is_named_or_usual(
    header: str, wanted: tuple[str, ...], expected: str, scratch: Write
) -> None:
    assert texts(scratch("in.tsv", f"{header}\na\tb\n"), texts=wanted) == [(expected,)]


def test_a_single_column_needs_no_name(scratch: Write) -> None:
    assert texts(scratch("in.csv", 'anything\n"a, b"\n')) == [("a, b",)]


def test_a_column_in_another_spelling_of_hangul_is_the_same(scratch: Write) -> None:
    import unicodedata

    nfd = unicodedata.normalize("NFD", "질문")
    assert texts(scratch("in.tsv", f"a\t{nfd}\n1\t환불\n"), texts=("질문",)) == [("환불",)]


def test_records_of_json_have_columns_of_their_own(scratch: Write) -> None:
    records = [{"text": "a"}, {"other": {"inner": "b"}, "more": "c"}, {"text": 5}, {"text": None}, {"text": ["x"]}]
    path = scratch("in.jsonl", "".join(json.dumps(r) + "\n" for r in records) + "{\n\n")
    rows = list(stream_texts([TextFile("in", path)], Wanted()))
    assert [row.texts for row in rows] == [("a",), (), (), (), (), (), ()]
    assert [row.reject and row.reject.line for row in rows] == [None, 2, 3, 4, 5, 6, 7]
    assert texts(path, texts=("other.inner",))[1] == ("b",)


def test_ids_may_be_numbers_and_must_be_there(scratch: Write) -> None:
    path = scratch("in.jsonl", '{"id": 7, "text": "a"}\n{"id": "", "text": "b"}\n{"text": "c"}\n')
    rows = list(stream_texts([TextFile("in", path)], Wanted(id="id")))
    assert [row.id for row in rows] == ["7", None, None]
    assert [row.reject.column for row in rows[1:] if row.reject] == ["id", "id"]


def test_sets_of_the_catalogue_are_files(tmp_path: Path) -> None:
    files = find_text_files(["support-queries", "support:test"], tmp_path)
    assert count_rows(files[:1]) >= 80
    assert all(row.texts for row in stream_texts(files[:1], Wanted()))
    with pytest.raises(DataError, match="no column of texts"):
        require_columns(files, Wanted())
    require_columns(files[1:], Wanted(("sentence1", "sentence2")))
    with pytest.raises(MissingInputError):
        find_text_files(["gone.tsv"], tmp_path)


def test_marks_without_a_letter_at_the_cut_are_no_text(scratch: Write) -> None:
    path = scratch("in.txt", "\u0301" * 40_000 + "가\n환불\n")
    assert texts(path) == [(), ("환불",)]
