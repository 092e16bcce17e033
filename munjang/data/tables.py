"""Turns files into records: one dictionary a row, with its line number, or the reason why it has none.

TSV has no quoting: KorSTS and KorNLI hold bare double quotes, and a reader with CSV's default quoting
loses 37% of KorNLI's dev file without a word. CSV is read line by line, and a quote that is not closed
costs its own line only, never the rows after it.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from munjang.data.encodings import MAX_LINE, detect_encoding, numbered_lines
from munjang.errors import DataError, MissingInputError, Option, Phrase, from_os_error

FORMATS = {".tsv": "tsv", ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".parquet": "parquet", ".txt": "txt"}
csv.field_size_limit(MAX_LINE)
#: A quoted CSV field may span this many lines; beyond it the quote counts as a stray one.
_MAX_FIELD_LINES = 20


class Record(NamedTuple):
    """One row of a file: its fields by column name, or (`fields` None) why it cannot be read."""

    line: int
    fields: dict[str, Any] | None
    problem: str = ""
    excerpt: str = ""


class Table(NamedTuple):
    """A file's columns (None where each record has its own), its encoding, and its records, read lazily."""

    columns: list[str] | None
    encoding: str
    records: Iterator[Record]


def file_format(path: Path, declared: str = "auto") -> str:
    """The format of a file: as declared, else by its name."""
    if path.is_dir():
        raise MissingInputError("this is a folder, not a file of rows", where=path)
    if declared != "auto":
        return declared
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise DataError(
            "cannot tell the format from the name of this file",
            where=path,
            expected=", ".join(FORMATS),
            got=path.suffix or "no suffix",
            hint=Phrase("rename it, or declare its format, such as {}", Option("format", "tsv")),
        )
    return found


def open_table(path: Path, declared: str = "auto", encoding: str | None = None, header: bool = True) -> Table:
    """Open a file of rows.

    Args:
        path: a TSV, CSV, JSON (a list of objects), JSONL, Parquet or text file (one sentence a line).
        declared: its format, or `auto` to go by its name.
        encoding: forces an encoding; see `munjang.data.encodings`.
        header: whether the first line of a TSV or CSV names the columns; without it they are "0", "1", ...

    Raises:
        MissingInputError: no such file. DataError: it cannot be decoded or is not of its format.
    """
    kind = file_format(path, declared)
    try:
        if not path.is_file():
            raise MissingInputError(
                "no such file", where=path, hint="check the path; in a recipe relative paths start at its folder"
            )
        if kind == "parquet":
            return _parquet(path)
        encoding = detect_encoding(path, encoding)
        if kind == "json":
            return _json(path, encoding)
        if kind == "jsonl":
            return Table(None, encoding, _jsonl(path, encoding))
        if kind == "txt":
            return Table(["sentence"], encoding, _text(path, encoding))
        return _delimited(path, encoding, kind, header)
    except OSError as error:
        raise from_os_error(error, path, doing="read") from error


def _delimited(path: Path, encoding: str, kind: str, header: bool) -> Table:
    rows = _tsv_rows(path, encoding) if kind == "tsv" else _csv_rows(path, encoding)
    if not header:
        return Table(None, encoding, _numbered_columns(rows))
    first = next(rows, None)
    if first is None:
        raise DataError("this file is empty", where=path, expected="a header line and rows")
    line, cells, problem = first
    if cells is None:
        raise DataError(f"the header cannot be read: {problem}", where=f"{path}:{line}")
    columns = [column_name(cell) for cell in cells]
    _require_distinct(columns, f"{path}:{line}")
    return Table(columns, encoding, _named_columns(rows, columns))


def column_name(name: str) -> str:
    """A column's name as it is compared: NFC, without outer blanks."""
    return unicodedata.normalize("NFC", name).strip()


def _require_distinct(columns: list[str], where: str) -> None:
    repeated = sorted({c for c in columns if columns.count(c) > 1})
    if repeated:
        raise DataError("a column name occurs twice", where=where, got=", ".join(repeated))


def _named_columns(rows: Iterator[tuple[int, list[str] | None, str]], columns: list[str]) -> Iterator[Record]:
    for line, cells, problem in rows:
        if cells is None:
            yield Record(line, None, problem)
        elif len(cells) != len(columns):
            reason = f"expected {len(columns)} columns, got {len(cells)}"
            yield Record(line, None, reason, " | ".join(cells)[:200])
        else:
            yield Record(line, dict(zip(columns, cells, strict=True)))


def _numbered_columns(rows: Iterator[tuple[int, list[str] | None, str]]) -> Iterator[Record]:
    width = None
    for line, cells, problem in rows:
        if cells is None:
            yield Record(line, None, problem)
            continue
        width = width or len(cells)
        if len(cells) != width:
            yield Record(line, None, f"expected {width} columns, got {len(cells)}", " | ".join(cells)[:200])
        else:
            yield Record(line, {str(i): cell for i, cell in enumerate(cells)})


def _tsv_rows(path: Path, encoding: str) -> Iterator[tuple[int, list[str] | None, str]]:
    for number, line in numbered_lines(path, encoding):
        if line is None:
            yield number, None, f"the line is longer than {MAX_LINE:,} characters"
        else:
            yield number, line.split("\t"), ""


def _csv_rows(path: Path, encoding: str) -> Iterator[tuple[int, list[str] | None, str]]:
    """Rows of a CSV file; a record may span lines only where its quotes balance soon and its width fits."""
    lines = numbered_lines(path, encoding)
    waiting: list[tuple[int, str | None]] = []
    width = None

    def pull() -> tuple[int, str | None] | None:
        return waiting.pop(0) if waiting else next(lines, None)

    while (item := pull()) is not None:
        number, text = item
        if text is None:
            yield number, None, f"the line is longer than {MAX_LINE:,} characters"
            continue
        cells = _csv_cells(text)
        stray = cells is None and not _is_open(text)
        taken: list[tuple[int, str | None]] = []
        joined = text
        while cells is None and not stray and len(taken) < _MAX_FIELD_LINES and (follower := pull()) is not None:
            taken.append(follower)
            if follower[1] is None:
                break
            joined += "\n" + follower[1]
            candidate = _csv_cells(joined)
            if candidate is not None:
                # Complete, but of another width: the quote was a stray one, and no further line mends that.
                cells = candidate if width is None or len(candidate) == width else None
                break
            if not _is_open(joined):
                break
        if cells is None:
            waiting[:0] = taken
            yield number, None, "a double quote is not closed, or text follows a closed one"
        else:
            width = width or len(cells)
            yield number, cells, ""


def _csv_cells(text: str) -> list[str] | None:
    """The cells of one complete CSV record, or None if a quote is open or misplaced."""
    try:
        rows = list(csv.reader([line + "\n" for line in text.split("\n")], strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else [""] if not rows else None


def _is_open(text: str) -> bool:
    """True if a record that cannot be read may become whole with further lines: its last quote is still open."""
    try:
        list(csv.reader([line + "\n" for line in text.split("\n")], strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _text(path: Path, encoding: str) -> Iterator[Record]:
    for number, line in numbered_lines(path, encoding):
        if line is None:
            yield Record(number, None, f"the line is longer than {MAX_LINE:,} characters")
        else:
            yield Record(number, {"sentence": line})


def _load_json(text: str) -> tuple[Any, str]:
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_distinct_keys), ""
    except RecursionError:
        return None, "nested too deeply"
    except ValueError as error:
        return None, f"not JSON: {error}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON knows")


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} occurs twice")
    return found


def _jsonl(path: Path, encoding: str) -> Iterator[Record]:
    for number, line in numbered_lines(path, encoding):
        if line is None:
            yield Record(number, None, f"the line is longer than {MAX_LINE:,} characters")
            continue
        value, problem = _load_json(line) if line.strip() else (None, "the line is empty")
        if problem or not isinstance(value, dict):
            yield Record(number, None, problem or f"expected an object, got {type(value).__name__}", line[:200])
        else:
            yield Record(number, value)


def _json(path: Path, encoding: str) -> Table:
    value, problem = _load_json(path.read_text(encoding=encoding))
    if problem:
        raise DataError(problem, where=path)
    if not isinstance(value, list):
        raise DataError("this file must hold a list of objects", where=path, got=type(value).__name__)
    records = (
        Record(n, v)
        if isinstance(v, dict)
        else Record(n, None, f"expected an object, got {type(v).__name__}", str(v)[:200])
        for n, v in enumerate(value, 1)
    )
    return Table(None, encoding, records)


def flat_names(fields: dict[str, Any]) -> list[str]:
    """The columns of a record; a nested object gives `outer.inner` and no column of its own."""
    names = []
    for name, value in fields.items():
        names.extend([f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name])
    return names


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    failures = (pyarrow.ArrowException, OSError, UnicodeDecodeError, ValueError)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
    except failures as error:
        raise DataError("this is not a Parquet file, or a damaged one", where=path, got=_first_line(error)) from error
    _require_distinct(list(schema.names), str(path))
    columns = flat_names(
        {f.name: {c.name: None for c in f.type} if pyarrow.types.is_struct(f.type) else None for f in schema}
    )

    def records() -> Iterator[Record]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(number, row)
        except failures as error:
            raise DataError(
                "this Parquet file is damaged", where=f"{path}:{number + 1}", got=_first_line(error)
            ) from error

    return Table(columns, "parquet", records())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
