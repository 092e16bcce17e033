"""Tables: every line of a file is a record or a problem with its line number, and none is lost."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
import tracemalloc
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from munjang.data.encodings import MAX_LINE
from munjang.data.tables import FORMATS, Record, file_format, open_table
from munjang.errors import DataError, MissingInputError, MunjangError


def records(path: Path, declared: str = "auto", header: bool = True) -> list[Record]:
    """All records of a file."""
    return list(open_table(path, declared, header=header).records)


# -- formats


@pytest.mark.parametrize(("suffix", "kind"), FORMATS.items())
def test_the_name_tells_the_format(suffix, kind):
    assert file_format(Path(f"a{suffix}")) == kind
    assert file_format(Path(f"A{suffix.upper()}")) == kind


def test_a_declared_format_wins_over_the_name():
    assert file_format(Path("a.csv"), "tsv") == "tsv"


@pytest.mark.parametrize("name", ["a", "a.xlsx", "a.tsv.gz", ".tsv", "a."])
def test_a_name_without_a_known_format_is_refused_with_the_known_ones(name):
    with pytest.raises(DataError, match=r"\.jsonl") as caught:
        file_format(Path(name))
    assert "format = " in caught.value.hint


def test_a_missing_file_and_a_folder_are_missing_inputs(tmp_path):
    (tmp_path / "folder.tsv").mkdir()
    for name in ("gone.tsv", "folder.tsv"):
        with pytest.raises(MissingInputError, match=name):
            open_table(tmp_path / name)


# -- TSV


def test_tsv_has_no_quoting(scratch):
    path = scratch("quotes.tsv", 'a\tb\n"열린\t그가 "네" 했다\n""\t"b"\n')
    assert records(path) == [
        Record(2, {"a": '"열린', "b": '그가 "네" 했다'}),
        Record(3, {"a": '""', "b": '"b"'}),
    ]


def test_a_ragged_line_is_a_problem_with_its_number_and_the_next_ones_survive(scratch):
    path = scratch("ragged.tsv", "a\tb\n1\t2\n1\n\n1\t2\t3\n3\t4")
    found = records(path)
    assert [(r.line, r.problem) for r in found] == [
        (2, ""),
        (3, "expected 2 columns, got 1"),
        (4, "expected 2 columns, got 1"),
        (5, "expected 2 columns, got 3"),
        (6, ""),
    ]
    assert found[3].excerpt == "1 | 2 | 3"


def test_without_a_header_columns_are_numbered_and_the_first_line_is_a_row(scratch):
    path = scratch("bare.tsv", "가\t나\n다\n라\t마\n")
    assert open_table(path, header=False).columns is None
    assert records(path, header=False) == [
        Record(1, {"0": "가", "1": "나"}),
        Record(2, None, "expected 2 columns, got 1", "다"),
        Record(3, {"0": "라", "1": "마"}),
    ]


@pytest.mark.parametrize("name", ["header.tsv", "header.csv"])
def test_a_column_named_twice_is_refused_with_its_name_and_place(scratch, name):
    separator = "\t" if name.endswith("tsv") else ","
    path = scratch(name, separator.join(["score", "a", "score"]) + "\n")
    with pytest.raises(DataError, match="twice") as caught:
        open_table(path)
    assert caught.value.got == "score"
    assert caught.value.where == f"{path}:1"


@pytest.mark.parametrize("name", ["empty.tsv", "empty.csv"])
@pytest.mark.parametrize("content", ["", "\ufeff"], ids=["nothing", "a mark"])
def test_an_empty_file_is_refused(scratch, name, content):
    with pytest.raises(DataError, match="empty"):
        open_table(scratch(name, content))


def test_blanks_around_column_names_do_not_count(scratch):
    assert open_table(scratch("blanks.csv", "\ufeff a , b\n1,2\n")).columns == ["a", "b"]


def test_a_column_name_is_the_same_composed_and_decomposed(scratch):
    path = scratch("nfd.tsv", unicodedata.normalize("NFD", "문장1\t점수\n"))
    assert open_table(path).columns == ["문장1", "점수"]


@pytest.mark.parametrize("header", ["x" * (MAX_LINE + 1) + "\ta", '"a,b'], ids=["too long", "an open quote"])
def test_a_header_that_cannot_be_read_is_named_as_the_cause(scratch, header):
    path = scratch("header.csv", f"{header}\n1,2\n3,4\n")
    with pytest.raises(DataError) as caught:
        records(path)
    assert caught.value.where == f"{path}:1"


# -- CSV


def test_csv_reads_quoted_separators_quotes_and_line_breaks(scratch):
    path = scratch("quoted.csv", 'a,b\n"하나, 둘","그는 ""네"" 했다"\n"첫 줄\n둘째 줄\n\n넷째 줄",b\nc,d\n')
    assert records(path) == [
        Record(2, {"a": "하나, 둘", "b": '그는 "네" 했다'}),
        Record(3, {"a": "첫 줄\n둘째 줄\n\n넷째 줄", "b": "b"}),
        Record(7, {"a": "c", "b": "d"}),
    ]


@pytest.mark.parametrize("bad", ['"열린,나', '열린,"나', '"열린', '"가"나,다', '"가" ,나'])
def test_a_misplaced_quote_costs_its_own_line_only(scratch, bad):
    path = scratch("open.csv", f'a,b\n1,2\n{bad}\n3,4\n"5, 5",6\n7,"8"\n')
    found = records(path)
    assert [(r.line, tuple(r.fields.values()) if r.fields else None) for r in found] == [
        (2, ("1", "2")),
        (3, None),
        (4, ("3", "4")),
        (5, ("5, 5", "6")),
        (6, ("7", "8")),
    ]
    assert "quote" in found[1].problem


def test_a_quote_left_open_for_many_lines_loses_none_of_them(scratch):
    rows = "".join(f"{i},{i}\n" for i in range(200))
    found = records(scratch("open.csv", f'a,b\n"open,1\n{rows}'))
    assert [r.line for r in found if r.fields is None] == [2]
    assert [r.fields["a"] for r in found if r.fields] == [str(i) for i in range(200)]


def test_two_stray_quotes_far_apart_are_no_field_that_swallows_the_rows_between(scratch):
    rows = "".join(f"{i},{i}\n" for i in range(200))
    found = records(scratch("far.csv", f'a,b\n"열린\n{rows}닫힌",1\n'))
    assert [r.line for r in found if r.fields is None] == [2]
    assert [r.fields["a"] for r in found if r.fields] == [*map(str, range(200)), '닫힌"']


def test_a_ragged_row_after_a_field_of_several_lines_has_its_line_in_the_file(scratch):
    found = records(scratch("after.csv", 'a,b\n"x\ny",1\n1,2,3\n4,5\n'))
    assert [(r.line, r.problem) for r in found] == [(2, ""), (4, "expected 2 columns, got 3"), (5, "")]


def test_carriage_returns_end_rows_and_are_kept_out_of_fields(scratch):
    for end in ("\n", "\r\n", "\r"):
        path = scratch("ends.csv", end.join(["a,b", '1,"x', 'y"', "2,z", ""]))
        assert [r.fields for r in records(path)] == [{"a": "1", "b": "x\ny"}, {"a": "2", "b": "z"}]


cells = st.text(
    st.sampled_from("가나다 ab1.\u2028\x85'") | st.characters(codec="utf-8", exclude_characters='\r\n,"'), min_size=1
)


@given(rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12), bad=st.sets(st.integers(0, 15)))
def test_every_good_row_survives_whichever_other_lines_have_an_open_quote(scratch, rows, bad):
    lines = ['"열린,나,1' if i in bad else ",".join(row) for i, row in enumerate(rows)]
    found = records(scratch("open.csv", "a,b,c\n" + "\n".join(lines) + "\n"))
    assert [tuple(r.fields.values()) for r in found if r.fields] == [row for i, row in enumerate(rows) if i not in bad]
    assert [r.line for r in found] == list(range(2, len(rows) + 2))


free = st.text(st.sampled_from('가a ,"\n') | st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@given(
    rows=st.lists(st.tuples(free, free), min_size=1, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@example(rows=[("a\n" * 15, '"'), ("", ",")], quoting=csv.QUOTE_MINIMAL)
def test_what_the_csv_module_writes_is_read_back(scratch, rows, quoting):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows([("a", "b"), *rows])
    # A lone U+FEFF at the start would be a byte order mark; the header keeps it from being one.
    assert [tuple(r.fields.values()) if r.fields else r for r in records(scratch("round.csv", text.getvalue()))] == rows


def test_a_field_of_200_kb_is_not_called_an_open_quote(scratch):
    (record,) = records(scratch("wide.csv", f"a,b\n{'x' * 200_000},1\n"))
    assert record.fields == {"a": "x" * 200_000, "b": "1"} or "quote" not in record.problem


@pytest.mark.parametrize("line", ['"\n', 'a,"bcdefghijklmnop\n', '","\n'], ids=repr)
def test_a_file_full_of_quotes_is_read_in_reasonable_time(scratch, line):
    """The goal is 2 s a megabyte; the bound leaves a slow machine five times that."""
    path = scratch("storm.csv", "a,b,c\n" + line * (200_000 // len(line)))
    start = time.process_time()
    assert len(records(path)) >= 1
    assert time.process_time() - start < 2


# -- JSONL and JSON

WRONG_LINES = [
    ("", "empty"),
    ("   ", "empty"),
    ("{", "not JSON"),
    ("[1]", "expected an object, got list"),
    ("3", "expected an object, got int"),
    ('"x"', "expected an object, got str"),
    ("null", "expected an object, got NoneType"),
    ('{"a": NaN}', "NaN"),
    ('{"a": Infinity}', "Infinity"),
    ('{"a": -Infinity}', "-Infinity"),
    ('{"a": 1} x', "not JSON"),
    ("{'a': 1}", "not JSON"),
    ('{"a": 1,}', "not JSON"),
    ('{"a": "\t"}', "not JSON"),
    ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    ('{"a": ' + "[" * 100_000 + "}", "deep"),
    ('{"a": ' * 100_000, "deep"),
    ('{"a": 1, "b": 2, "a": 3}', "a"),
]


@pytest.mark.parametrize(("line", "part"), WRONG_LINES, ids=[line[:24] or "empty" for line, _ in WRONG_LINES])
def test_a_wrong_json_line_is_a_problem_and_the_next_one_survives(scratch, line, part):
    first, second = records(scratch("wrong.jsonl", f'{line}\n{{"a": 1}}\n'))
    assert (first.line, first.fields) == (1, None)
    assert part in first.problem
    assert len(first.excerpt) <= 200
    assert second == Record(2, {"a": 1})


def test_json_lines_keep_their_values(scratch):
    path = scratch("good.jsonl", '{"a": "가\\u2028", "b": 1.5, "c": null, "d": {"e": [1]}}\n')
    assert records(path) == [Record(1, {"a": "가\u2028", "b": 1.5, "c": None, "d": {"e": [1]}})]


def test_a_json_list_of_objects_is_numbered_by_its_elements(scratch):
    path = scratch("list.json", '[{"a": 1},\n\n 3, {"a": 2}]')
    assert records(path) == [
        Record(1, {"a": 1}),
        Record(2, None, "expected an object, got int", "3"),
        Record(3, {"a": 2}),
    ]


@pytest.mark.parametrize(
    "content",
    [
        '{"a": 1}',
        "3",
        "",
        "[",
        '[{"a": NaN}]',
        "[" * 100_000,
        "[" + "9" * 5000 + "]",
        '[{"a": 1}] x',
        '[{"a": 1, "a": 2}]',
    ],
    ids=lambda content: content[:20],
)
def test_a_json_file_of_another_shape_is_refused_or_its_row_is(scratch, content):
    path = scratch("wrong.json", content)
    try:
        fields = [r.fields for r in records(path)]
    except DataError:
        fields = [None]
    assert fields == [None]


# -- text, long lines


def test_a_text_file_is_one_sentence_a_line(scratch):
    path = scratch("raw.txt", '가\t나\n"다\n\n라')
    assert open_table(path).columns == ["sentence"]
    assert records(path) == [Record(i, {"sentence": s}) for i, s in enumerate(["가\t나", '"다', "", "라"], 1)]


@pytest.mark.parametrize(
    ("name", "head", "row"),
    [("a.tsv", "a\tb\n", "1\t2"), ("a.csv", "a,b\n", "1,2"), ("a.jsonl", "", '{"a": 1}'), ("a.txt", "", "가")],
)
@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
def test_a_line_that_is_too_long_is_a_problem_and_the_next_one_survives(scratch, name, head, row, quote):
    path = scratch(name, f"{head}{row}\n{quote}{'x' * (MAX_LINE + 1)}{quote}\n{row}\n")
    first, second, third = records(path)
    assert second.fields is None
    assert "longer than 1,000,000 characters" in second.problem
    assert (second.line, third.line) == (first.line + 1, first.line + 2)
    assert third.fields == first.fields


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "txt"])
def test_a_file_of_one_long_line_is_read_in_bounded_memory(tmp_path, kind):
    path = tmp_path / f"long.{kind}"
    with path.open("wb") as file:
        file.write(b"a\n" if kind in ("tsv", "csv") else b"")
        file.truncate(40_000_000)
    tracemalloc.start()
    try:
        assert [r.fields for r in records(path)] == [None]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000


# -- Parquet


def test_parquet_keeps_names_values_and_order(tmp_path):
    rows = [{"문장": f"문장 {i}", "score": i / 10, "labels": {"label": i}, "none": None} for i in range(5000)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    table = open_table(tmp_path / "a.parquet")
    assert table.encoding == "parquet"
    assert table.columns[:2] == ["문장", "score"]
    assert list(table.records) == [Record(i, row) for i, row in enumerate(rows, 1)]


def test_a_parquet_column_named_twice_is_refused(tmp_path):
    columns = [pyarrow.array(["가"]), pyarrow.array([1.0]), pyarrow.array([5.0])]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_arrays(columns, names=["a", "score", "score"]), tmp_path / "a.parquet"
    )
    with pytest.raises(DataError, match="twice"):
        records(tmp_path / "a.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"a\tb\n" * 100], ids=repr)
def test_what_is_no_parquet_file_is_refused(scratch, content):
    with pytest.raises(DataError, match=r"not\.parquet"):
        records(scratch("not.parquet", content))


@pytest.fixture(scope="module")
def parquet(tmp_path_factory) -> bytes:
    """The bytes of a small Parquet file."""
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    columns = {"sentence1": [f"문장 {i}" for i in range(60)], "score": [i / 12 for i in range(60)]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path.read_bytes()


@given(changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_damaged_parquet_file_raises_nothing_but_a_named_error(scratch, parquet, changes):
    content = bytearray(parquet)
    for place, change in changes:
        content[int(place * len(content))] ^= change
    with contextlib.suppress(MunjangError):
        records(scratch("damaged.parquet", bytes(content)))


# -- any bytes

junk = st.one_of(
    st.text(st.sampled_from('가a\t,"\r\n\u2028\x00{}[]:1'), max_size=60).map(str.encode),
    st.text(max_size=40).map(str.encode),
    st.binary(max_size=60),
    st.text(st.sampled_from('가나\t,\n"'), max_size=40).map(lambda text: text.encode("cp949")),
    st.text(st.sampled_from('가나\t,\n"'), max_size=40).map(lambda text: text.encode("utf-16")),
)


@pytest.mark.parametrize("header", [True, False], ids=["header", "no header"])
@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "json", "txt"])
@given(content=junk)
def test_any_bytes_give_records_or_a_named_error_and_no_line_is_lost(scratch, physical_lines, kind, header, content):
    path = scratch(f"any.{kind}", content)
    try:
        table = open_table(path, header=header)
        found = list(table.records)
    except MunjangError:
        return
    assert all((r.fields is None) == bool(r.problem) for r in found)
    named = table.columns is not None and kind in ("tsv", "csv")
    lines = physical_lines(path, table.encoding)
    if kind in ("tsv", "jsonl", "txt"):
        assert [r.line for r in found] == list(range(1 + named, lines + 1))
    if kind == "csv":
        assert all(1 <= r.line <= lines for r in found)
        assert [r.line for r in found] == sorted({r.line for r in found})


objects = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def strict_object(line: str) -> dict | None:
    """The object on a line, or None where it is not an object of strict JSON."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        value = json.loads(line, parse_constant=refuse)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


others = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=8)


@given(lines=st.lists(objects.map(json.dumps) | others))
def test_json_lines_are_read_as_the_json_module_reads_them(scratch, lines):
    found = records(scratch("objects.jsonl", "".join(line + "\n" for line in lines)))
    assert [(r.line, r.fields) for r in found] == list(enumerate(map(strict_object, lines), 1))
