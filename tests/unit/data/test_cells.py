"""Rows for training: triplets, positive pairs, and ranked lists in both of their forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.config.recipe import DataSpec
from munjang.data.readers import ALIASES, ROLES, Rows, read_rows
from munjang.data.rows import Document, LabelledText, PositivePair, RankedList, Triplet
from munjang.errors import DataError
from munjang.text import match_key


def read(path: Path, kind: str, **more: Any) -> Rows:
    """The rows of a file, malformed ones left out; the report adds up."""
    result = read_rows(path, kind, DataSpec(**{"source": "x", "rejects": "skip", **more}))
    assert result.report.read == result.report.kept + len(result.report.rejects)
    return result


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def rejects(result: Rows) -> list[str]:
    return [reject.sentence() for reject in result.report.rejects]


# -- triplets and positive pairs

ROWS = {
    "triplets": ({"anchor": "가", "positive": "나", "negative": "다"}, Triplet("가", "나", "다")),
    "positive-pairs": ({"anchor": "가", "positive": "나"}, PositivePair("가", "나")),
    "ranked-lists": (
        {"query": "가", "documents": ["나", "다"], "scores": [1, -2.5]},
        RankedList("가", ("나", "다"), (1.0, -2.5)),
    ),
    "labelled-texts": ({"text": "가", "label": "배송"}, LabelledText("가", "배송")),
}


@pytest.mark.parametrize("kind", ROWS)
def test_json_lines_lists_and_parquet_hold_the_same_rows(scratch, tmp_path, kind):
    fields, expected = ROWS[kind]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([fields] * 2), tmp_path / "a.parquet")
    paths = [scratch("a.jsonl", jsonl(fields, fields)), scratch("a.json", json.dumps([fields] * 2))]
    for path in [*paths, tmp_path / "a.parquet"]:
        result = read(path, kind)
        assert result.rows == [expected, expected], path
        assert (result.report.kept, result.report.handed_on) == (2, {})


@pytest.mark.parametrize(("kind", "role"), [(kind, role) for kind in ROWS for role in ROLES[kind]])
def test_every_alias_of_a_role_is_found(scratch, kind, role):
    fields, expected = ROWS[kind]
    for alias in ALIASES[role]:
        renamed = {alias if name == role else name: value for name, value in fields.items()}
        assert read(scratch("alias.jsonl", jsonl(renamed)), kind).rows == [expected], alias


@pytest.mark.parametrize("kind", ROLES)
def test_no_name_stands_for_two_roles_of_one_kind(kind):
    names = [name for role in ROLES[kind] for name in ALIASES[role]]
    assert len(names) == len(set(names))


def test_columns_in_the_order_of_simcse_are_read_by_their_names(scratch):
    path = scratch("nli.csv", "hard_neg,sent0,sent1\n다,가,나\n")
    assert read(path, "triplets").rows == [Triplet("가", "나", "다")]


@pytest.mark.parametrize("kind", ["triplets", "positive-pairs"])
@pytest.mark.parametrize("value", [None, "", "\u3164", 3, ["가"], {}], ids=repr)
def test_a_side_that_is_no_text_is_rejected_with_its_place(scratch, kind, value):
    fields, expected = ROWS[kind]
    for role in ROLES[kind]:
        result = read(scratch("bad.jsonl", jsonl(fields, {**fields, role: value})), kind)
        assert result.rows == [expected]
        assert rejects(result)[0].startswith(f"bad.jsonl:2:{role}: ")


@pytest.mark.parametrize("column", ["negatives", "neg", "hard_negative"])
def test_a_list_of_negatives_is_refused_with_what_to_do(scratch, column):
    path = scratch("kure.jsonl", jsonl({"query": "가", "positive": "나", column: ["다", "라"]}))
    with pytest.raises(DataError, match="got a list of 2; write one row for each of them") as caught:
        read(path, "triplets", rejects="stop")
    assert caught.value.where == f"{path}:1:{column}"


# -- ranked lists, one a record


@pytest.mark.parametrize(
    ("change", "column", "part"),
    [
        ({"query": " "}, "query", "blank"),
        ({"query": ["가"]}, "query", "one text"),
        ({"documents": ["나"], "scores": [1]}, "documents", "at least two documents, got 1"),
        ({"documents": [], "scores": []}, "documents", "at least two documents, got 0"),
        ({"documents": ["나", " 나"]}, "documents", "twice"),
        ({"documents": ["Na", "na"]}, "documents", "twice"),
        ({"documents": ["나", ""]}, "documents", "blank"),
        ({"documents": ["나", None]}, "documents", "missing"),
        ({"documents": ["나", 3]}, "documents", "expected a text, got int"),
        ({"documents": ["나", ["다"]]}, "documents", "list"),
        ({"documents": None}, "scores", "list of 2"),
        ({"documents": {"a": 1}}, "scores", "list of 2"),
        ({"documents": "나"}, "scores", "one score beside one document, got a list of 2"),
        ({"scores": 1}, "scores", "list of 2 scores, got int"),
        ({"scores": None}, "scores", "list of 2 scores, got none"),
        ({"scores": [1]}, "scores", "expected 2 scores, one for each document, got 1"),
        ({"scores": [1, 2, 3]}, "scores", "got 3"),
        ({"scores": [1, None]}, "scores", "missing"),
        ({"scores": [1, True]}, "scores", "true or false"),
        ({"scores": [1, "x"]}, "scores", "expected a number"),
        ({"scores": [1, "4,5"]}, "scores", "decimal point, not a comma"),
        ({"scores": [1, 10**400]}, "scores", "expected a number"),
        ({"scores": [1, [2]]}, "scores", "expected a number"),
        ({"scores": [1, "nan"]}, "scores", "finite"),
        ({"scores": ["-inf", 1]}, "scores", "finite"),
    ],
    ids=str,
)
def test_a_wrong_list_is_rejected_with_its_column_and_reason(scratch, change, column, part):
    fields, expected = ROWS["ranked-lists"]
    result = read(scratch("bad.jsonl", jsonl(fields, {**fields, **change})), "ranked-lists")
    assert result.rows == [expected]
    (reject,) = rejects(result)
    assert reject.startswith(f"bad.jsonl:2:{column}: ")
    assert part in reject


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_in_parquet_that_is_not_finite_is_rejected(tmp_path, score):
    rows = [{"query": "가", "documents": ["나", "다"], "scores": [1.0, value]} for value in (0.0, score)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    result = read(tmp_path / "a.parquet", "ranked-lists")
    assert len(result.rows) == 1
    assert rejects(result)[0].startswith("a.parquet:2:scores: the score is not a finite number")


def test_scores_are_kept_as_they_are_whatever_the_scale(scratch):
    path = scratch("a.jsonl", jsonl({"query": "가", "documents": ["나", "다", "라"], "scores": [1e300, -7, "0.5"]}))
    assert read(path, "ranked-lists", scale=(0, 1)).rows[0].scores == (1e300, -7.0, 0.5)


def test_two_lists_of_one_query_stay_two(scratch):
    lists = [{"query": "가", "documents": ["나", f"다 {n}"], "scores": [1, 0]} for n in range(2)]
    assert len(read(scratch("a.jsonl", jsonl(*lists)), "ranked-lists").rows) == 2


# -- ranked lists, one document a line

HEAD = "query\tdocument\tscore\n"


def test_lines_of_one_query_are_gathered_where_it_first_appears(scratch):
    path = scratch("long.tsv", HEAD + "가\t나\t1\n라\t마\t2\n가\t다\t-3\n라\t나\t4\n")
    result = read(path, "ranked-lists")
    assert result.rows == [RankedList("가", ("나", "다"), (1.0, -3.0)), RankedList("라", ("마", "나"), (2.0, 4.0))]
    assert result.report.sentence().endswith("4 rows read, 4 kept, 0 rejected (ranked lists: 2 rows)")


def test_both_forms_may_stand_in_one_file(scratch):
    whole = {"query": "가", "documents": ["나", "다"], "scores": [1, 0]}
    lines = [{"query": "가", "documents": text, "scores": 2} for text in ("나", "라")]
    result = read(scratch("a.jsonl", jsonl(lines[0], whole, lines[1])), "ranked-lists")
    assert result.rows == [RankedList("가", ("나", "라"), (2.0, 2.0)), RankedList("가", ("나", "다"), (1.0, 0.0))]


def test_what_cannot_be_gathered_is_rejected_in_the_order_of_the_lines(scratch):
    body = "하나\t나\t1\n가\t나\t1\n가\t다\tx\n가\t라\t3\n가\t 나\t5\n바\t나\t1\n바\t나\t1\n"
    result = read(scratch("bad.tsv", HEAD + body), "ranked-lists")
    assert result.rows == [RankedList("가", ("나", "라"), (1.0, 3.0))]
    only = "a ranked list needs at least two documents, and this is the only one of its query: 나"
    again = "this document has come for this query before: 나"
    assert rejects(result) == [
        f"bad.tsv:2:document: {only}",
        "bad.tsv:4:score: expected a number: x",
        f"bad.tsv:6:document: {again}",
        f"bad.tsv:7:document: {only}",
        f"bad.tsv:8:document: {again}",
    ]
    assert (result.report.read, result.report.kept) == (7, 2)


@pytest.mark.parametrize(("body", "line"), [("가\t나\t1\n가\t나\t2\n가\t다\t1\n", 3), ("가\t나\t1\n", 2)])
def test_a_line_that_cannot_be_gathered_stops_with_its_place(scratch, body, line):
    path = scratch("stop.tsv", HEAD + body)
    with pytest.raises(DataError) as caught:
        read(path, "ranked-lists", rejects="stop")
    assert caught.value.where == f"{path}:{line}:document"
    assert 'rejects = "skip"' in caught.value.hint


def test_a_list_written_into_a_cell_is_no_list(scratch):
    path = scratch("cell.tsv", 'query\tdocuments\tscores\n가\t["나", "다"]\t[1, 2]\n')
    with pytest.raises(DataError, match="expected a number"):
        read(path, "ranked-lists", rejects="stop")


words = st.text(st.sampled_from("가나다 Aa"), min_size=1, max_size=3).filter(str.strip)


@given(st.lists(st.tuples(words, words, st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=20))
def test_every_line_is_in_one_list_or_rejected(scratch, lines):
    good = [("문장", "하나", 1.0), ("문장", "둘", 2.0)]
    path = scratch("any.tsv", HEAD + "".join(f"{q}\t{d}\t{s!r}\n" for q, d, s in good + lines))
    result = read(path, "ranked-lists")
    assert result.report.read == len(lines) + 2
    assert sum(len(row.documents) for row in result.rows) == result.report.kept
    assert len({row.query for row in result.rows}) == len(result.rows)
    written = {(q.strip(), d.strip(), s) for q, d, s in good + lines}
    for row in result.rows:
        assert len({match_key(text) for text in row.documents}) == len(row.documents) == len(row.scores) >= 2
        assert {(row.query, d, s) for d, s in zip(row.documents, row.scores, strict=True)} <= written


json_value = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.sampled_from(["가", "", "1", "nan"])
nested = json_value | st.lists(json_value, max_size=4)


@given(st.lists(st.fixed_dictionaries({}, optional={r: nested for r in ROLES["ranked-lists"]}), max_size=6))
def test_any_nested_values_are_lists_or_rejects(scratch, rows):
    path = scratch("nested.jsonl", jsonl(ROWS["ranked-lists"][0], *rows))
    result = read(path, "ranked-lists")
    assert result.report.read == len(rows) + 1
    for row in result.rows:
        assert len(row.documents) == len(row.scores) >= 2
        assert all(abs(score) < float("inf") for score in row.scores)


def test_a_reject_keeps_little_of_a_long_value(scratch):
    row = {"anchor": "가", "positive": "나", "negative": ["다" * 50] * 500}
    result = read(scratch("long.jsonl", jsonl(ROWS["triplets"][0], row)), "triplets")
    assert len(result.report.rejects[0].excerpt) == 200


# -- labelled texts and titles


def test_a_label_is_a_name_or_a_whole_number(scratch):
    cells = ("배송", " 환불 ", 3, True, 1.5, "", None, ["배송"])
    found = read(scratch("a.jsonl", jsonl(*({"sentence": "가", "label": cell} for cell in cells))), "labelled-texts")
    assert found.rows == [LabelledText("가", label) for label in ("배송", "환불", "3")]
    assert [line.split(": ", 1)[0] for line in rejects(found)] == [f"a.jsonl:{n}:label" for n in (4, 5, 6, 7, 8)]


def test_a_title_goes_before_the_text_where_it_is_mapped(scratch):
    rows = [
        {"_id": "1", "title": "환불", "text": "삼 일 안에 됩니다"},
        {"_id": "2", "title": "", "text": "글만"},
        {"_id": "3", "title": "제목만", "text": ""},
        {"_id": "4", "text": "제목 없음"},
        {"_id": "5", "title": " ", "text": " "},
    ]
    path = scratch("corpus.jsonl", jsonl(*rows))
    found = read(path, "documents", columns={"title": "title"})
    texts = ["환불 삼 일 안에 됩니다", "글만", "제목만", "제목 없음"]
    assert found.rows == [Document(str(n), text) for n, text in enumerate(texts, 1)]
    assert rejects(found) == ["corpus.jsonl:5:text: the text is blank:  "]
    unmapped = read(path, "documents").rows
    assert [row.text for row in unmapped] == ["삼 일 안에 됩니다", "글만", "제목 없음"]


def test_a_title_that_is_mapped_has_to_be_there(scratch):
    with pytest.raises(DataError, match="no column 'name' for title"):
        read(scratch("a.tsv", "id\ttext\n1\t가\n"), "documents", columns={"title": "name"})
