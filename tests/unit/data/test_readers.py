"""Readers: columns by name, scores on a declared scale, and every row kept or rejected with its place."""

from __future__ import annotations

import json
import math
import random
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.config.recipe import DataSpec
from munjang.data.cells import NLI_LABELS
from munjang.data.readers import ALIASES, ROLES, Rows, read_aligned, read_rows
from munjang.data.rows import (
    Document,
    LabelledPair,
    LabelledText,
    ParallelPair,
    PositivePair,
    Qrel,
    RankedList,
    ScoredPair,
    Triplet,
    UnlabelledPair,
)
from munjang.errors import DataError, MissingInputError, MunjangError
from munjang.text import MAX_CHARS

HEAD = "sentence1\tsentence2\tscore\n"


def spec(**more: Any) -> DataSpec:
    """How to read scored pairs on 0..5, leaving malformed rows out."""
    return DataSpec(**{"source": "x", "scale": (0, 5), "rejects": "skip", **more})


def pairs(path: Path, **more: Any) -> Rows:
    """The scored pairs of a file."""
    return read_rows(path, "scored-pairs", spec(**more))


def only_reject(result: Rows) -> str:
    """The one reject of a file whose other rows are good, as a sentence."""
    assert result.report.read == result.report.kept + 1
    (reject,) = result.report.rejects
    return reject.sentence()


def line(**fields: Any) -> str:
    """One line of JSON: a good scored pair with some fields changed."""
    return json.dumps({"sentence1": "가", "sentence2": "나", "score": 1, **fields}) + "\n"


# -- good rows


def test_scores_become_zero_to_one_and_the_report_adds_up(scratch):
    result = pairs(scratch("a.tsv", HEAD + "가\t나\t0\n다\t라\t2.5\n마\t바\t5.000\n"))
    assert result.rows == [ScoredPair("가", "나", 0.0), ScoredPair("다", "라", 0.5), ScoredPair("마", "바", 1.0)]
    assert (result.report.read, result.report.kept, result.report.rejects) == (3, 3, [])
    assert result.report.encoding == "utf-8-sig"


@pytest.mark.parametrize(
    ("scale", "score", "expected"),
    [((1, 5), "3", 0.5), ((-1, 1), "0", 0.5), ((0, 1), "1", 1.0), ((0, 100), " 25 ", 0.25)],
)
def test_any_declared_scale_becomes_zero_to_one(scratch, scale, score, expected):
    assert pairs(scratch("a.tsv", f"{HEAD}가\t나\t{score}\n"), scale=scale).rows[0].score == expected


def test_columns_are_found_by_name_and_not_by_order(scratch):
    path = scratch("a.csv", "score,id,sentence2,note,sentence1\n5,1,나,x,가\n")
    assert pairs(path).rows == [ScoredPair("가", "나", 1.0)]


@pytest.mark.parametrize("role", ["sentence1", "sentence2", "score"])
def test_every_alias_of_a_role_is_found(scratch, role):
    for alias in ALIASES[role]:
        names = {"sentence1": "sentence1", "sentence2": "sentence2", "score": "score", role: alias}
        path = scratch("alias.tsv", "\t".join(names.values()) + "\n가\t나\t5\n")
        assert pairs(path).rows == [ScoredPair("가", "나", 1.0)], alias


def test_a_mapping_wins_over_aliases(scratch):
    path = scratch("a.tsv", "sentence1\tsentence2\tscore\t질문\n가\t나\t5\t다\n")
    assert pairs(path, columns={"sentence1": "질문"}).rows == [ScoredPair("다", "나", 1.0)]


def test_columns_may_be_numbers_without_a_header(scratch):
    path = scratch("a.csv", "가,나,5\n다,라,0\n")
    result = read_rows(path, "scored-pairs", spec(columns={"sentence1": 1, "sentence2": 0, "score": "2"}), header=False)
    assert result.rows == [ScoredPair("나", "가", 1.0), ScoredPair("라", "다", 0.0)]


KINDS = [
    ("labelled-pairs", "premise\thypothesis\tgold_label\n가\t나\tNeutral\n", [LabelledPair("가", "나", "neutral")]),
    ("triplets", "기준\t부정\t긍정\n가\t다\t나\n", [Triplet("가", "나", "다")]),
    ("positive-pairs", "답변\t질문\n나\t가\n", [PositivePair("가", "나")]),
    ("parallel-pairs", "ko\ten\n가\ta\n", [ParallelPair("가", "a")]),
    (
        "ranked-lists",
        "query\tdocument\tscore\n가\t나\t-1.5\n가\t다\t7\n",
        [RankedList("가", ("나", "다"), (-1.5, 7.0))],
    ),
    ("labelled-texts", "본문\t레이블\n가\t배송\n", [LabelledText("가", "배송")]),
    ("sentences", "문장\n가\n나\n", ["가", "나"]),
    ("documents", "_id\ttext\n01\t가\n", [Document("01", "가")]),
    ("qrels", "query-id\tcorpus-id\tscore\nq\td\t2\n", [Qrel("q", "d", 2)]),
    ("pairs", "문장2\t문장1\n나\t가\n", [UnlabelledPair("가", "나")]),
]


@pytest.mark.parametrize(("kind", "content", "expected"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_every_kind_of_rows_is_read(scratch, kind, content, expected):
    assert read_rows(scratch("kind.tsv", content), kind, DataSpec(source="x")).rows == expected


def test_the_kinds_above_are_all_there_are():
    assert {kind for kind, *_ in KINDS} | {"scored-pairs"} == set(ROLES)


def test_a_text_passes_the_door_and_the_changes_are_counted(scratch):
    decomposed = unicodedata.normalize("NFD", "한국어")
    path = scratch("a.tsv", f"{HEAD} {decomposed}\x00 \t\u3164나\u2028다\t1\n라\t{decomposed}\t1\n")
    result = pairs(path)
    assert result.rows[0][:2] == ("한국어", "나 다")
    assert result.report.changes == {"nfc": 2, "control": 1, "filler": 1, "line-break": 1}


def test_a_lone_surrogate_becomes_a_counted_replacement_character(scratch):
    result = pairs(scratch("a.jsonl", '{"sentence1": "반 \\ud83d", "sentence2": "나", "score": 1}\n'))
    assert result.rows[0].sentence1 == "반 \ufffd"
    assert result.report.changes["surrogate"] == 1


def test_bare_double_quotes_in_tsv_are_kept(scratch):
    path = scratch("a.tsv", HEAD + '그가 말했다, "네.\t"나"\t1\n"다\t라\t2\n')
    assert [row[:2] for row in pairs(path).rows] == [('그가 말했다, "네.', '"나"'), ('"다', "라")]


def test_a_quoted_csv_field_of_several_lines_is_one_text(scratch):
    path = scratch("a.csv", 'sentence1,sentence2,score\n"첫 줄\n둘째 줄","나, 다",1\n라,마,2\n')
    assert [row[:2] for row in pairs(path).rows] == [("첫 줄 둘째 줄", "나, 다"), ("라", "마")]


def test_integers_serve_as_ids(scratch):
    assert read_rows(scratch("a.jsonl", '{"id": 7, "text": "가"}\n'), "documents", DataSpec(source="x")).rows == [
        Document("7", "가")
    ]


@pytest.mark.parametrize(("label", "expected"), [*enumerate(NLI_LABELS), (" Entailment ", "entailment")])
def test_labels_may_be_names_or_the_hubs_numbers(scratch, label, expected):
    path = scratch("a.jsonl", line(label=label))
    assert read_rows(path, "labelled-pairs", DataSpec(source="x")).rows == [LabelledPair("가", "나", expected)]


def test_nested_fields_are_reached_with_a_dot(scratch):
    row = {"sentence1": "가", "sentence2": "나", "labels": {"label": 2.5, "real-label": 2.4}}
    assert pairs(scratch("klue.json", json.dumps([row]))).rows == [ScoredPair("가", "나", 0.5)]
    assert pairs(scratch("klue.jsonl", json.dumps(row))).rows == [ScoredPair("가", "나", 0.5)]


def test_nested_fields_of_parquet_are_reached_with_a_dot(tmp_path):
    row = {"guid": "a", "sentence1": "가", "sentence2": "나", "labels": {"label": 2.5, "real-label": 2.4}}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "klue.parquet")
    assert pairs(tmp_path / "klue.parquet").rows == [ScoredPair("가", "나", 0.5)]


def test_parquet_comes_back_as_it_was_written(tmp_path):
    rows = [{"sentence1": f"문장 {i}", "sentence2": f'"둘" {i}', "score": i % 6} for i in range(5000)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    result = pairs(tmp_path / "a.parquet")
    assert result.rows == [ScoredPair(r["sentence1"], r["sentence2"], r["score"] / 5) for r in rows]
    assert result.report.encoding == "parquet"


@pytest.mark.parametrize("score", [None, float("nan"), float("inf"), 5.5])
def test_a_wrong_score_in_parquet_is_rejected(tmp_path, score):
    columns = {"sentence1": ["가", "다"], "sentence2": ["나", "라"], "score": [1.0, score]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    assert only_reject(pairs(tmp_path / "a.parquet")).startswith("a.parquet:2:score: ")


# -- rejects

BAD_SCORES = [
    ("nan", "finite"),
    ("NaN", "finite"),
    ("inf", "finite"),
    ("-Infinity", "finite"),
    ("1e999", "finite"),
    ("9" * 400, "finite"),
    ("", "number"),
    ("  ", "number"),
    ("4,5", "decimal point, not a comma"),
    ("5점", "number"),
    ("4.5.1", "number"),
    ("true", "number"),
    ("0x3", "number"),
    ("-0.001", "outside the declared scale 0 to 5"),
    ("5.001", "outside the declared scale 0 to 5"),
    ("0_4", "number"),
    ("\ufeff4", "number"),
]


@pytest.mark.parametrize(("score", "part"), BAD_SCORES, ids=[score[:10] or "empty" for score, _ in BAD_SCORES])
def test_a_wrong_score_is_rejected_with_its_place(scratch, score, part):
    reject = only_reject(pairs(scratch("bad.tsv", f"{HEAD}가\t나\t1\n다\t라\t{score}\n")))
    assert reject.startswith("bad.tsv:3:score: ")
    assert part in reject


@pytest.mark.parametrize("score", [True, False, None, [], {}, [4], "4,5", "", "x", 6, -1, 10**400], ids=repr)
def test_a_wrong_score_in_json_is_rejected(scratch, score):
    assert only_reject(pairs(scratch("bad.jsonl", line() + line(score=score)))).startswith("bad.jsonl:2:score: ")


def test_a_number_without_a_comma_gets_no_hint_about_commas(scratch):
    assert "comma" not in only_reject(pairs(scratch("bad.tsv", f"{HEAD}가\t나\t1\n다\t라\tx,y\n")))


BLANK = ["", " ", "\u3164", "\u115f\u1160", "\u200b", "\ufeff\u00ad", "\u2800", "\x00\x01", "\u3000\u3164 "]


@pytest.mark.parametrize("text", BLANK, ids=ascii)
@pytest.mark.parametrize("column", ["sentence1", "sentence2"])
def test_a_text_without_anything_visible_is_rejected(scratch, text, column):
    path = scratch("blank.jsonl", line() + line(**{column: text}))
    assert only_reject(pairs(path)).startswith(f"blank.jsonl:2:{column}: the text is blank")


@pytest.mark.parametrize("value", [None, 3, 1.5, True, ["가"], {"a": "가"}], ids=repr)
def test_a_value_that_is_no_text_is_rejected(scratch, value):
    assert only_reject(pairs(scratch("bad.jsonl", line() + line(sentence2=value)))).startswith(
        "bad.jsonl:2:sentence2: "
    )


def test_a_field_that_a_json_line_lacks_is_a_rejected_row_wherever_it_stands(scratch):
    short = '{"sentence1": "가", "sentence2": "나"}\n'
    assert only_reject(pairs(scratch("a.jsonl", line() + short))).startswith("a.jsonl:2:score: ")
    assert only_reject(pairs(scratch("a.jsonl", short + line()))).startswith("a.jsonl:1:")


def test_a_text_over_the_limit_is_rejected_with_its_length(scratch):
    at, over = "가" * MAX_CHARS, "가" * (MAX_CHARS + 1)
    result = pairs(scratch("long.tsv", f"{HEAD}{at}\t나\t1\n{over}\t나\t1\n"))
    assert result.rows[0].sentence1 == at
    assert only_reject(result).startswith("long.tsv:3:sentence1: the text has 32,769 characters")


@pytest.mark.parametrize("label", ["", "entails", 3, -1, True, None, 0.0, ["neutral"]], ids=repr)
def test_a_wrong_label_is_rejected(scratch, label):
    good = line(label="neutral")
    result = read_rows(scratch("bad.jsonl", good + line(label=label)), "labelled-pairs", spec())
    assert only_reject(result).startswith("bad.jsonl:2:label: expected one of entailment, neutral, contradiction")


@pytest.mark.parametrize(
    "relevance", ["-1", "1.5", '"1.5"', '""', '"1_0"', '"x"', "null", "[]", "true", "1e999"], ids=repr
)
def test_a_wrong_relevance_is_rejected(scratch, relevance):
    rows = [f'{{"query_id": "q", "doc_id": "d", "relevance": {value}}}\n' for value in ("1", relevance)]
    result = read_rows(scratch("bad.jsonl", "".join(rows)), "qrels", spec())
    assert only_reject(result).startswith("bad.jsonl:2:relevance: ")


def test_a_truth_value_is_no_id(scratch):
    result = read_rows(scratch("a.jsonl", '{"id": 1, "text": "가"}\n{"id": true, "text": "나"}\n'), "documents", spec())
    assert only_reject(result).startswith("a.jsonl:2:id: ")


@pytest.mark.parametrize(
    ("bad", "where"),
    [("다\t라\t9", ":3:score"), ("다\t \t1", ":3:sentence2"), ("다\t라", ":3"), ("다\t라\t1\t2", ":3"), ("", ":3")],
    ids=repr,
)
def test_the_first_reject_stops_with_its_place_unless_told_to_skip(scratch, bad, where):
    path = scratch("stop.tsv", f"{HEAD}가\t나\t1\n{bad}\n마\t바\t1\n")
    with pytest.raises(DataError) as caught:
        pairs(path, rejects="stop")
    assert caught.value.where == f"{path}{where}"
    assert 'rejects = "skip"' in caught.value.hint
    assert caught.value.exit_status == 65
    result = pairs(path)
    assert (result.report.read, result.report.kept, len(result.report.rejects)) == (3, 2, 1)
    assert [row.sentence1 for row in result.rows] == ["가", "마"]


def test_stopping_is_the_default(scratch):
    with pytest.raises(DataError):
        read_rows(scratch("a.tsv", HEAD + "가\t나\t9\n"), "scored-pairs", DataSpec(source="x", scale=(0, 5)))


def test_an_open_quote_in_csv_costs_its_own_row_only(scratch):
    rows = ['"열린,나,1', "다,라,2", "마,바,3", '"사, 아",자,4']
    result = pairs(scratch("open.csv", "sentence1,sentence2,score\n" + "\n".join(rows) + "\n"))
    assert [row.sentence1 for row in result.rows] == ["다", "마", "사, 아"]
    assert only_reject(result).startswith("open.csv:2: a double quote is not closed")


def test_a_message_shows_little_of_a_hostile_row_and_nothing_raw(scratch):
    path = scratch("hostile.tsv", f"{HEAD}가\t나\t\x1b[2J{'9' * 5000}\n")
    with pytest.raises(DataError) as caught:
        pairs(path, rejects="stop")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


# -- files that are refused


@pytest.mark.parametrize(
    "content", [HEAD, HEAD + "가\t나\t9\n", HEAD + "\n\n"], ids=["no rows", "no good rows", "blank"]
)
def test_a_file_of_which_nothing_is_left_is_refused(scratch, content):
    with pytest.raises(DataError, match="no rows were left"):
        pairs(scratch("none.tsv", content))


def test_a_scale_that_is_not_declared_is_refused(scratch):
    with pytest.raises(DataError, match="scale of the scores is not declared") as caught:
        pairs(scratch("a.tsv", HEAD + "가\t나\t1\n"), scale=None)
    assert "scale = [0, 5]" in caught.value.hint


def test_a_column_that_is_missing_is_refused_with_those_found(scratch):
    path = scratch("columns.tsv", "질문\t답\tscore\n가\t나\t1\n")
    with pytest.raises(DataError, match="no column for sentence1") as caught:
        pairs(path)
    assert caught.value.got == "columns 질문, 답, score"
    assert "sentence1 or text1" in caught.value.expected
    assert "columns = {sentence1 = " in caught.value.hint


def test_a_mapped_column_that_is_missing_is_refused_with_those_found(scratch):
    path = scratch("columns.tsv", HEAD + "가\t나\t1\n")
    with pytest.raises(DataError, match="no column '질문' for sentence1") as caught:
        pairs(path, columns={"sentence1": "질문"})
    assert caught.value.got == "columns sentence1, sentence2, score"


def test_a_role_that_does_not_exist_is_refused_with_those_that_do(scratch):
    with pytest.raises(DataError, match="roles do not exist") as caught:
        pairs(scratch("a.tsv", HEAD + "가\t나\t1\n"), columns={"sentense1": "x"})
    assert (caught.value.expected, caught.value.got) == ("sentence1, sentence2, score", "sentense1")


def test_two_roles_for_one_column_are_refused(scratch):
    with pytest.raises(DataError, match="two roles"):
        pairs(scratch("a.tsv", HEAD + "가\t나\t1\n"), columns={"sentence2": "sentence1"})


def test_a_missing_file_is_a_missing_input(tmp_path):
    with pytest.raises(MissingInputError):
        pairs(tmp_path / "gone.tsv")


# -- samples


def test_a_sample_is_drawn_by_the_seed_and_keeps_the_order(scratch):
    path = scratch("many.tsv", "sentence\n" + "".join(f"문장 {i:03}\n" for i in range(200)))
    drawn = [read_rows(path, "sentences", DataSpec(source="x", sample=20), seed=seed) for seed in (1, 1, 2)]
    assert drawn[0].rows == drawn[1].rows != drawn[2].rows
    assert len(set(drawn[0].rows)) == 20
    assert drawn[0].rows == sorted(drawn[0].rows)
    assert drawn[0].report.read == drawn[0].report.kept == 200


def test_a_sample_larger_than_the_file_is_the_file(scratch):
    path = scratch("few.txt", "가\n나\n")
    assert read_rows(path, "sentences", DataSpec(source="x", sample=5)).rows == ["가", "나"]


# -- aligned files


def aligned(scratch, source: str, target: str) -> tuple[Path, Path]:
    """Two files to be read line by line."""
    return scratch("a.ko", source), scratch("a.en", target)


def test_aligned_files_become_pairs_line_by_line(scratch):
    result = read_aligned(*aligned(scratch, "가\n나\tx\n", "a\nb"), DataSpec(source="pairs"))
    assert result.rows == [ParallelPair("가", "a"), ParallelPair("나 x", "b")]
    assert (result.report.read, result.report.kept) == (2, 2)


def test_aligned_files_of_different_lengths_are_refused_with_both(scratch):
    with pytest.raises(DataError, match="not aligned") as caught:
        read_aligned(*aligned(scratch, "가\n나\n다\n", "a\nb\n"), DataSpec(source="pairs"))
    assert caught.value.got == "3 and 2 lines"


@pytest.mark.parametrize(("source", "target", "role"), [("\n나", "a\nb", "source"), ("가\n나", "a\n\u3164", "target")])
def test_a_blank_line_of_an_aligned_file_is_a_reject_with_its_side(scratch, source, target, role):
    result = read_aligned(*aligned(scratch, source, target), DataSpec(source="pairs", rejects="skip"))
    assert (result.report.read, result.report.kept) == (2, 1)
    assert [reject.column for reject in result.report.rejects] == [role]


def test_aligned_files_without_lines_are_refused(scratch):
    with pytest.raises(DataError):
        read_aligned(*aligned(scratch, "", ""), DataSpec(source="pairs"))


def test_aligned_files_may_have_different_encodings(scratch):
    korean = scratch("b.ko", "한 남자가 큰 플루트를 연주하고 있다.\n".encode("cp949"))
    assert read_aligned(korean, scratch("b.en", "café\n"), DataSpec(source="pairs")).rows[0].target == "café"


# -- any bytes

cell = st.one_of(
    st.sampled_from(["가나다", '"네"', "\u3164", "", "4,5", "nan", "5", "2.5", "-1", "a b", "\u2028", "\x00"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8),
)
row = st.lists(cell, min_size=2, max_size=4) | st.tuples(cell, cell, st.sampled_from(["0", "5", "3.2"]))
endings = st.sampled_from(["\n", "\r\n", "\r"])


def check(path: Path, kind: str, **more: Any) -> Rows | None:
    """Read a file; whatever it holds, there are rows that add up, or a named error."""
    try:
        result = read_rows(path, kind, spec(**more))
    except MunjangError as caught:
        error = caught
    else:
        error = None
    if error is not None:
        assert str(path) in str(error)
        return None
    report = result.report
    assert report.read == report.kept + len(report.rejects)
    if not report.handed_on:
        assert report.kept == len(result.rows)
    if kind == "scored-pairs":
        assert all(r.sentence1 and r.sentence2 and 0 <= r.score <= 1 for r in result.rows)
    return result


@given(
    rows=st.lists(row, max_size=8),
    end=endings,
    last=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_tsv_rows_read_are_the_lines_of_the_file(scratch, physical_lines, rows, end, last, encoding):
    text = end.join([HEAD.strip(), "가\t나\t1", *map("\t".join, rows)]) + (end if last else "")
    path = scratch("rows.tsv", text.encode(encoding))
    result = check(path, "scored-pairs")
    assert result is not None
    assert result.report.read + 1 == physical_lines(path, result.report.encoding)
    assert result.rows[0] == ScoredPair("가", "나", 0.2)


@given(rows=st.lists(row, max_size=8), end=endings)
def test_csv_rows_add_up_and_the_first_good_row_is_kept(scratch, rows, end):
    text = end.join(["sentence1,sentence2,score", "가,나,1", *map(",".join, rows)]) + end
    result = check(scratch("rows.csv", text), "scored-pairs")
    assert result is not None
    assert result.rows[0] == ScoredPair("가", "나", 0.2)


json_value = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6) | st.just([])
)
json_row = st.dictionaries(st.sampled_from(["sentence1", "sentence2", "score", "x"]), json_value).map(json.dumps)


@given(
    rows=st.lists(json_row | st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8), max_size=8)
)
def test_json_rows_read_are_the_lines_of_the_file(scratch, physical_lines, rows):
    path = scratch("rows.jsonl", line() + "".join(text + "\n" for text in rows))
    result = check(path, "scored-pairs")
    assert result is not None
    assert result.report.read == physical_lines(path, result.report.encoding) == len(rows) + 1


@pytest.mark.parametrize("kind", [kind for kind in ROLES if kind != "scored-pairs"])
@given(rows=st.lists(st.dictionaries(st.sampled_from(sorted(ALIASES)), json_value | st.floats()), max_size=5))
def test_any_values_are_rows_or_rejects_of_every_kind(scratch, kind, rows):
    first = {"sentence1": "a", "sentence2": "b", "label": 0, "source": "a", "target": "b", "sentence": "a"}
    first |= {"id": "a", "text": "b", "query_id": "q", "doc_id": "d", "relevance": 1}
    first |= {"anchor": "a", "positive": "b", "negative": "c"}
    first |= {"query": "q", "documents": ["a", "b"], "scores": [1, 2]}
    content = "".join(json.dumps(r) + "\n" for r in [first, *rows])
    result = check(scratch("values.jsonl", content), kind)
    assert result is not None
    assert result.report.read == len(rows) + 1


@pytest.fixture(scope="module")
def real_heads(real_data) -> dict[str, bytes]:
    """The first lines of real files, by the format to read them in."""
    files = {
        "tsv": real_data / "korsts" / "sts-dev.tsv",
        "csv": real_data / "stsb-en" / "stsb-en-dev.csv",
        "json": real_data / "klue-sts-sample" / "klue-sts-v1.1_dev.head40.json",
    }
    heads = {kind: b"".join(file.read_bytes().splitlines(keepends=True)[:60]) for kind, file in files.items()}
    heads["json"] = files["json"].read_bytes()
    heads["csv"] = b"sentence1,sentence2,score\n" + heads["csv"]
    heads["jsonl"] = b"".join(json.dumps(r).encode() + b"\n" for r in json.loads(heads["json"])[:20])
    return heads


@pytest.mark.parametrize("kind", ["tsv", "csv", "json", "jsonl"])
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6))
def test_damaged_real_files_raise_nothing_but_named_errors(scratch, physical_lines, real_heads, kind, seed, count):
    draw = random.Random(seed)
    content = bytearray(real_heads[kind])
    for _ in range(count):
        at = draw.randrange(len(content))
        content[at : at + draw.choice([0, 1, 1, 1, 40])] = draw.choice(
            [b"", b'"', b"\t", b"\n", b"\x00", b"\xff", b",", b"{", b"9"]
        )
    path = scratch(f"damaged.{kind}", bytes(content))
    result = check(path, "scored-pairs")
    if result is not None and kind in ("tsv", "jsonl"):
        assert result.report.read + (kind == "tsv") == physical_lines(path, result.report.encoding)


def test_the_real_heads_themselves_are_read_whole(scratch, real_heads):
    read = {kind: check(scratch(f"whole.{kind}", content), "scored-pairs") for kind, content in real_heads.items()}
    assert {kind: len(result.rows) for kind, result in read.items()} == {"tsv": 59, "csv": 60, "json": 40, "jsonl": 20}
    assert all(math.isfinite(row.score) for result in read.values() for row in result.rows)
