"""Turns records into rows: columns by role, scores on a declared scale, every reject counted and listed.

Column names decide, never column order: a swapped order silently trains another task
(sentence-transformers issue 2791).
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from munjang.config.recipe import DataSpec
from munjang.data.rows import Document, LabelledPair, ParallelPair, Qrel, ReadReport, Reject, ScoredPair
from munjang.data.tables import Record, column_name, flat_names, open_table
from munjang.errors import DataError
from munjang.text import MAX_CHARS, TextChanges, is_blank

#: nDCG's gain is 2^relevance - 1: judgements have a handful of grades, not thousands.
MAX_RELEVANCE = 20
NLI_LABELS = ("entailment", "neutral", "contradiction")

#: Names under which a role is found where the user maps nothing; the first that a file has is taken.
ALIASES: dict[str, tuple[str, ...]] = {
    "sentence1": ("sentence1", "text1", "sent1", "s1", "premise", "anchor", "문장1"),
    "sentence2": ("sentence2", "text2", "sent2", "s2", "hypothesis", "문장2"),
    "score": ("score", "similarity_score", "similarity", "labels.label", "점수"),
    "label": ("label", "gold_label", "labels", "레이블"),
    "sentence": ("sentence", "text", "문장", "본문"),
    "source": ("source", "ko", "src"),
    "target": ("target", "en", "tgt"),
    "id": ("id", "_id", "guid"),
    "text": ("text", "sentence", "본문"),
    "query_id": ("query_id", "query-id", "qid"),
    "doc_id": ("doc_id", "corpus-id", "docid"),
    "relevance": ("relevance", "score", "rel"),
}
ROLES: dict[str, tuple[str, ...]] = {
    "scored-pairs": ("sentence1", "sentence2", "score"),
    "labelled-pairs": ("sentence1", "sentence2", "label"),
    "parallel-pairs": ("source", "target"),
    "sentences": ("sentence",),
    "documents": ("id", "text"),
    "qrels": ("query_id", "doc_id", "relevance"),
}


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,9}", re.ASCII)


class _BadCellError(Exception):
    """A cell that cannot become part of a row; carries its role and the reason."""

    def __init__(self, role: str, reason: str, excerpt: object = "") -> None:
        self.role, self.reason, self.excerpt = role, reason, str(excerpt)


class Rows(NamedTuple):
    """The rows of one data set and what reading them reported."""

    rows: list
    report: ReadReport


def read_rows(path: Path, kind: str, spec: DataSpec, *, header: bool = True, seed: int = 42) -> Rows:
    """Read a file as rows of one kind.

    Args:
        path: the file.
        kind: a key of `ROLES`, such as `scored-pairs`.
        spec: columns, scale, encoding and what a reject does.
        header: False for a TSV or CSV whose first line is a row; columns are then "0", "1", ...
        seed: draws `spec.sample` rows.

    Returns:
        Rows in the file's order, with a report in which read = kept + rejected.

    Raises:
        DataError: a row is malformed and `spec.rejects` is `stop`; a column or the scale is missing; nothing is left.
    """
    table = open_table(path, spec.format, spec.encoding, header)
    report = ReadReport(str(path), table.encoding)
    changes = TextChanges()
    build = _builder(kind, spec, changes, path)
    # A table with a header says its columns; of records without one, the first that has them all does.
    columns = _columns(kind, spec, table.columns, path) if table.columns is not None else None
    rows = []
    for record in table.records:
        report.read += 1
        try:
            if columns is None and record.fields is not None:
                columns = _columns(kind, spec, flat_names(record.fields), path)
            rows.append(build(record, columns))
        except DataError as error:
            report.rejects.append(Reject(path.name, record.line, None, error.what, error.got or ""))
            if spec.rejects == "stop":
                error.where = f"{path}:{record.line}"
                error.args = (error.sentence(),)
                raise
        except _BadCellError as bad:
            column = (columns or {}).get(bad.role, bad.role) or None
            reject = Reject(path.name, record.line, column, bad.reason, bad.excerpt)
            report.rejects.append(reject)
            if spec.rejects == "stop":
                raise _stopped(reject, path) from None
    return _finished(rows, report, changes, spec.sample, seed)


def _finished(rows: list, report: ReadReport, changes: TextChanges, sample: int | None, seed: int) -> Rows:
    report.kept, report.changes = len(rows), changes.counts
    if not rows:
        first = f", the first because: {report.rejects[0].sentence()}" if report.rejects else ""
        got = f"{report.read} read, {len(report.rejects)} rejected{first}"
        raise DataError("no rows were left after reading", where=report.source, expected="at least one row", got=got)
    if sample is not None and sample < len(rows):
        picked = sorted(random.Random(seed).sample(range(len(rows)), sample))
        rows = [rows[i] for i in picked]
    return Rows(rows, report)


def _stopped(reject: Reject, path: Path) -> DataError:
    place = f"{path}:{reject.line}" + (f":{reject.column}" if reject.column else "")
    return DataError(
        reject.reason,
        where=place,
        got=repr(reject.excerpt[:80]) if reject.excerpt else None,
        hint='mend the row, or leave such rows out and have them counted with rejects = "skip"',
    )


def _columns(kind: str, spec: DataSpec, names: list[str], path: Path) -> dict[str, str]:
    unknown = sorted(set(spec.columns) - set(ROLES[kind]))
    if unknown:
        raise DataError(
            "these roles do not exist for this kind of rows",
            where=path,
            expected=", ".join(ROLES[kind]),
            got=", ".join(unknown),
        )
    found = {}
    spelled = {column_name(name): name for name in names}
    for role in ROLES[kind]:
        wanted = spec.columns.get(role)
        candidates = ALIASES[role] if wanted is None else (column_name(str(wanted)),)
        column = next((spelled[c] for c in candidates if c in spelled), None)
        if column is None:
            what = f"there is no column for {role}" if wanted is None else f"there is no column {wanted!r} for {role}"
            raise DataError(
                what,
                where=path,
                expected=" or ".join(candidates),
                got=f"columns {', '.join(names)}",
                hint=f'map it, such as columns = {{{role} = "{names[0] if names else "NAME"}"}}',
            )
        found[role] = column
    if len(set(found.values())) < len(found):
        raise DataError(
            "two roles name the same column", where=path, got=", ".join(f"{r} = {c}" for r, c in found.items())
        )
    return found


def _builder(
    kind: str, spec: DataSpec, changes: TextChanges, path: Path
) -> Callable[[Record, dict[str, str] | None], Any]:
    if kind == "scored-pairs" and spec.scale is None:
        raise DataError(
            "the scale of the scores is not declared",
            where=path,
            hint="say what the lowest and highest score are, such as scale = [0, 5]",
        )

    def cells(record: Record, columns: dict[str, str] | None) -> dict[str, Any]:
        if record.fields is None or columns is None:
            raise _BadCellError("", record.problem, record.excerpt)
        return {role: _cell(record.fields, column) for role, column in columns.items()}

    def build(record: Record, columns: dict[str, str] | None) -> Any:
        row = cells(record, columns)
        text = {role: _text(role, row[role], changes) for role in row if role not in ("score", "label", "relevance")}
        if kind == "scored-pairs":
            return ScoredPair(text["sentence1"], text["sentence2"], _score(row["score"], *(spec.scale or (0.0, 1.0))))
        if kind == "labelled-pairs":
            return LabelledPair(text["sentence1"], text["sentence2"], _label(row["label"]))
        if kind == "parallel-pairs":
            return ParallelPair(text["source"], text["target"])
        if kind == "documents":
            return Document(text["id"], text["text"])
        if kind == "qrels":
            return Qrel(text["query_id"], text["doc_id"], _relevance(row["relevance"]))
        return text["sentence"]

    return build


def _cell(fields: dict[str, Any], column: str) -> Any:
    if column in fields:
        return fields[column]
    outer, _, inner = column.partition(".")
    nested = fields.get(outer)
    return nested.get(inner) if isinstance(nested, dict) else None


def _text(role: str, value: Any, changes: TextChanges) -> str:
    if value is None:
        raise _BadCellError(role, "the text is missing")
    if isinstance(value, int) and not isinstance(value, bool) and role.endswith("id"):
        value = str(value)
    if not isinstance(value, str):
        raise _BadCellError(role, f"expected a text, got {type(value).__name__}", value)
    if len(value) > MAX_CHARS:
        raise _BadCellError(role, f"the text has {len(value):,} characters, more than {MAX_CHARS:,}", value[:80])
    if is_blank(value):
        raise _BadCellError(role, "the text is blank", value)
    return changes.clean(value)


def _score(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or value is None:
        raise _BadCellError(
            "score", "the score is missing" if value is None else "expected a number, got true or false", value
        )
    try:
        # float() alone would take "0_4" for 4.
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        text = str(value)
        hint = (
            "; write a decimal point, not a comma"
            if text.replace(",", ".", 1).replace(".", "", 1).isdigit() and "," in text
            else ""
        )
        raise _BadCellError("score", f"expected a number from {low:g} to {high:g}{hint}", value) from None
    if not math.isfinite(number):
        raise _BadCellError("score", "the score is not a finite number", value)
    if not low <= number <= high:
        raise _BadCellError("score", f"the score is outside the declared scale {low:g} to {high:g}", value)
    return (number - low) / (high - low)


def _label(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(NLI_LABELS):
        return NLI_LABELS[value]
    if isinstance(value, str) and value.strip().lower() in NLI_LABELS:
        return value.strip().lower()
    raise _BadCellError("label", f"expected one of {', '.join(NLI_LABELS)}", value)


def _relevance(value: Any) -> int:
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    if not whole and not (isinstance(value, str) and _WHOLE.fullmatch(value.strip())):
        raise _BadCellError("relevance", "expected a whole number of 0 or more", value)
    number = int(value)
    if not 0 <= number <= MAX_RELEVANCE:
        raise _BadCellError("relevance", f"relevance must lie between 0 and {MAX_RELEVANCE}", value)
    return number


def read_aligned(source: Path, target: Path, spec: DataSpec, seed: int = 42) -> Rows:
    """Read two text files that are aligned by line as parallel pairs.

    Args:
        source, target: the two files.
        spec: encoding, what a reject does, and how many rows to draw.
        seed: draws `spec.sample` rows.

    Raises:
        DataError: the files have different numbers of lines; a line is blank and `spec.rejects` is `stop`.
    """
    tables = [open_table(p, "txt", spec.encoding) for p in (source, target)]
    lines = [list(table.records) for table in tables]
    if len(lines[0]) != len(lines[1]):
        raise DataError(
            "these two files are not aligned: their numbers of lines differ",
            where=f"{source}, {target}",
            got=f"{len(lines[0]):,} and {len(lines[1]):,} lines",
        )
    changes = TextChanges()
    report = ReadReport(f"{source}, {target}", tables[0].encoding, read=len(lines[0]))
    rows = []
    for left, right in zip(*lines, strict=True):
        try:
            rows.append(
                ParallelPair(
                    *(_aligned_text(r, record, changes) for r, record in (("source", left), ("target", right)))
                )
            )
        except _BadCellError as bad:
            file = target if bad.role == "target" else source
            reject = Reject(file.name, left.line, bad.role, bad.reason, bad.excerpt)
            report.rejects.append(reject)
            if spec.rejects == "stop":
                raise _stopped(reject, file) from None
    return _finished(rows, report, changes, spec.sample, seed)


def _aligned_text(role: str, record: Record, changes: TextChanges) -> str:
    if record.fields is None:
        raise _BadCellError(role, record.problem)
    return _text(role, record.fields["sentence"], changes)
