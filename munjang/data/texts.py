"""Texts of files as a stream: a row at a time, however large the files are; each row is kept, or rejected with its place.

The readers of `munjang.data.readers` hold all rows of a set, for a training goes through them again and again. What is
only read once, such as a corpus to encode, is not held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from munjang.data.catalog import locate
from munjang.data.cells import BadCellError, read_text
from munjang.data.readers import ALIASES, cell_of
from munjang.data.rows import Reject
from munjang.data.tables import Record, Table, column_name, file_format, flat_names, open_table
from munjang.errors import DataError, Option, Phrase
from munjang.text import MAX_CHARS, Cleaned, TextChanges, clean, is_blank

_USUAL = tuple(dict.fromkeys((*ALIASES["text"], *ALIASES["sentence"])))
_CHUNK = 1 << 20


class TextFile(NamedTuple):
    """A file of texts, and what the catalogue knows of it."""

    name: str
    path: Path
    header: bool = True
    columns: Mapping[str, str] = {}
    """Role -> column, for files whose columns have no names of their own."""


class Wanted(NamedTuple):
    """What is read of each row."""

    texts: tuple[str, ...] = ()
    """Columns of the texts; without any the first of the usual names, or the only column."""
    id: str | None = None
    """Column of the ids, if they are wanted."""
    encoding: str | None = None
    """Forces an encoding; by default it is found for each file."""


class TextRow(NamedTuple):
    """One row of the files, kept or rejected."""

    number: int
    """From 0, over all files in their order, rejected rows included."""
    file: int
    id: str | None
    texts: tuple[str, ...]
    """As the door for text leaves them; empty where the row is rejected."""
    changes: tuple[str, ...]
    """What the door changed; see `munjang.text.clean`. A text that is too long is cut here and not rejected."""
    reject: Reject | None


def find_text_files(sources: Sequence[str], base: Path) -> list[TextFile]:
    """The files that some sources name.

    Args:
        sources: paths, or names of the catalogue.
        base: the folder that relative paths start from.

    Raises:
        MissingInputError, UnavailableError: see `locate`. DataError: a set of two aligned files, or no known format.
    """
    files = []
    for source in sources:
        found = locate(source, base)
        if len(found.paths) > 1:
            named = ", ".join(str(path) for path in found.paths)
            raise DataError("this data set is two aligned files", where=source, got=named, hint="name one of them")
        file_format(found.paths[0])
        files.append(TextFile(found.name, found.paths[0], found.header, found.columns))
    return files


def count_rows(files: Sequence[TextFile]) -> int:
    """About how many rows some files hold, for a display of progress: their line breaks, or what Parquet says."""
    total = 0
    for file in files:
        if file_format(file.path) == "parquet":
            import pyarrow.parquet

            total += pyarrow.parquet.read_metadata(file.path).num_rows
            continue
        with file.path.open("rb") as content:
            while chunk := content.read(_CHUNK):
                total += chunk.count(b"\n")
    return total


def require_columns(files: Sequence[TextFile], wanted: Wanted) -> None:
    """Look at the head of every file, so that the last one is not found to lack a column after hours.

    Raises:
        DataError: a file cannot be read, or has a header without a column that is wanted.
    """
    for file in files:
        _open(file, wanted)


def stream_texts(files: Sequence[TextFile], wanted: Wanted) -> Iterator[TextRow]:
    """The rows of some files, one by one; a JSON file that is one list is held whole while it is read.

    Args:
        files: see `find_text_files`.
        wanted: what to read of each row.

    Raises:
        DataError: see `require_columns`, or a Parquet file is damaged.
    """
    number = 0
    for index, file in enumerate(files):
        table, columns = _open(file, wanted)
        for record in table.records:
            yield _row(number, index, file, record, columns, wanted)
            number += 1


def _open(file: TextFile, wanted: Wanted) -> tuple[Table, list[str] | None]:
    table = open_table(file.path, encoding=wanted.encoding, header=file.header)
    try:
        return table, None if table.columns is None else _columns(table.columns, file, wanted)
    except BadCellError as bad:
        asked = bool(wanted.texts) if bad.role == "text" else True
        raise DataError(
            bad.reason,
            where=file.path,
            expected=None if asked else " or ".join(_USUAL),
            got=f"columns {', '.join(table.columns or ())}",
            hint=None
            if asked
            else Phrase("name it, such as {}", Option("text_column", (table.columns or ["NAME"])[0])),
        ) from None


def _columns(names: Sequence[str], file: TextFile, wanted: Wanted) -> list[str]:
    """Names of the columns that are read, those of the texts first, as the file spells them."""
    spelled = {column_name(name): name for name in names}
    found = []
    for column in wanted.texts:
        known = column_name(file.columns.get(column, column))
        if known not in spelled:
            raise BadCellError("text", f"there is no column {column!r}")
        found.append(spelled[known])
    if not found:
        roles = (file.columns[role] for role in ("text", "sentence") if role in file.columns)
        usual = next((spelled[name] for name in (*roles, *_USUAL) if name in spelled), None)
        if usual is None and len(names) != 1:
            raise BadCellError("text", "there is no column of texts")
        found.append(usual or names[0])
    if wanted.id is not None:
        known = column_name(file.columns.get(wanted.id, wanted.id))
        if known not in spelled:
            raise BadCellError("id", f"there is no column {wanted.id!r}")
        found.append(spelled[known])
    return found


def _row(number: int, index: int, file: TextFile, record: Record, columns: list[str] | None, wanted: Wanted) -> TextRow:
    try:
        if record.fields is None:
            raise BadCellError("", record.problem, record.excerpt)
        # Records without a common header each have columns of their own.
        named = columns or _columns(flat_names(record.fields), file, wanted)
        split = len(named) - (wanted.id is not None)
        read = [_text(column, record.fields) for column in named[:split]]
        key = _text(named[split], record.fields, "id").text if wanted.id is not None else None
    except BadCellError as bad:
        reject = Reject(file.path.name, record.line, bad.role or None, bad.reason, bad.excerpt)
        return TextRow(number, index, None, (), (), reject)
    changes = tuple(dict.fromkeys(change for one in read for change in one.changes))
    return TextRow(number, index, key, tuple(one.text for one in read), changes, None)


def _text(column: str, fields: dict[str, Any], role: str = "text") -> Cleaned:
    """One cell through the door for text; a rejected one is named by its column."""
    value = cell_of(fields, column)
    try:
        if role == "text" and isinstance(value, str) and len(value) > MAX_CHARS and not is_blank(value):
            cleaned = clean(value)
        else:
            changes = TextChanges()
            cleaned = Cleaned(read_text(role, value, changes), tuple(changes.counts))
        if is_blank(cleaned.text):
            raise BadCellError(role, "the text is blank", cleaned.text)
    except BadCellError as bad:
        raise BadCellError(column, bad.reason, bad.excerpt) from None
    return cleaned
