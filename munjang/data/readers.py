"""Turns records into rows: columns by role, scores on a declared scale, every reject counted and listed.

Column names decide, never column order: a swapped order silently trains another task
(sentence-transformers issue 2791).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from munjang.config.recipe import DataSpec
from munjang.data.cells import BadCellError, build_row, read_text
from munjang.data.parts import part_name, take_part
from munjang.data.rows import ParallelPair, RankedList, ReadReport, Reject
from munjang.data.tables import Record, column_name, flat_names, open_table
from munjang.errors import DataError, Option, Phrase
from munjang.text import TextChanges, match_key

#: Names under which a role is found where the user maps nothing; the first that a file has is taken.
ALIASES: dict[str, tuple[str, ...]] = {
    "sentence1": ("sentence1", "text1", "sent1", "s1", "premise", "anchor", "문장1"),
    "sentence2": ("sentence2", "text2", "sent2", "s2", "hypothesis", "문장2"),
    "score": ("score", "similarity_score", "similarity", "labels.label", "점수"),
    "label": ("label", "gold_label", "labels", "레이블"),
    "anchor": ("anchor", "query", "question", "sent0", "기준", "질문"),
    "positive": ("positive", "pos", "sent1", "answer", "document", "passage", "paraphrase", "긍정", "답변"),
    # The plural names hold lists, which are refused with a reason; unknown, they would be dropped without a word.
    "negative": ("negative", "neg", "hard_negative", "hard_neg", "negatives", "hard_negatives", "부정"),
    "query": ("query", "question", "질의", "질문"),
    "documents": ("documents", "document", "passages", "passage", "docs", "candidates", "문서"),
    "scores": ("scores", "score", "labels", "label", "relevances", "relevance", "점수"),
    "sentence": ("sentence", "text", "문장", "본문"),
    "source": ("source", "ko", "src"),
    "target": ("target", "en", "tgt"),
    "id": ("id", "_id", "guid"),
    "text": ("text", "sentence", "본문"),
    "query_id": ("query_id", "query-id", "qid"),
    "doc_id": ("doc_id", "corpus-id", "docid"),
    "relevance": ("relevance", "score", "rel"),
}
#: The kinds of rows, in the order in which an option that takes several of them tries the columns of a file.
ROLES: dict[str, tuple[str, ...]] = {
    "scored-pairs": ("sentence1", "sentence2", "score"),
    "labelled-pairs": ("sentence1", "sentence2", "label"),
    "triplets": ("anchor", "positive", "negative"),
    "positive-pairs": ("anchor", "positive"),
    "parallel-pairs": ("source", "target"),
    "ranked-lists": ("query", "documents", "scores"),
    "labelled-texts": ("text", "label"),
    "sentences": ("sentence",),
    "documents": ("id", "text"),
    "qrels": ("query_id", "doc_id", "relevance"),
    "pairs": ("sentence1", "sentence2"),
}
#: Roles that count only where they are mapped, for files have such columns for other reasons too.
MAPPED_ROLES: dict[str, tuple[str, ...]] = {"documents": ("title",)}


def roles_of(kind: str) -> tuple[str, ...]:
    """All roles that columns may be mapped to for a kind of rows, those that need not be there last."""
    return (*ROLES[kind], *MAPPED_ROLES.get(kind, ()))


class Rows(NamedTuple):
    """The rows of one data set and what reading them reported."""

    rows: list
    report: ReadReport
    kind: str = ""
    """A key of `ROLES`."""


@dataclass
class _Reading:
    """A reading under way: how to read, and what it reports."""

    spec: DataSpec
    report: ReadReport
    changes: TextChanges = field(default_factory=TextChanges)

    def reject(self, path: Path, line: int, column: str | None, bad: BadCellError) -> None:
        """Count a row that is not kept; the end of the reading where a reject stops."""
        reject = Reject(path.name, line, column, bad.reason, bad.excerpt)
        self.report.rejects.append(reject)
        if self.spec.rejects == "stop":
            raise _stopped(reject, path) from None


def read_rows(path: Path, kind: str, spec: DataSpec, *, header: bool = True, seed: int = 42) -> Rows:
    """Read a file as rows of one kind.

    Args:
        path: the file.
        kind: a key of `ROLES`, such as `scored-pairs`.
        spec: columns, scale, encoding, what a reject does, and the part and sample to take.
        header: False for a TSV or CSV whose first line is a row; columns are then "0", "1", ...
        seed: draws `spec.sample` rows.

    Returns:
        Rows in the file's order, with a report in which read = kept + rejected.

    Raises:
        DataError: a row is malformed and `spec.rejects` is `stop`; a column or the scale is missing; nothing is left.
    """
    if kind == "scored-pairs" and spec.scale is None:
        hint = Phrase("say what the lowest and highest score are, such as {}", Option("scale", [0, 5]))
        raise DataError("the scale of the scores is not declared", where=path, hint=hint)
    table = open_table(path, spec.format, spec.encoding, header)
    reading = _Reading(spec, ReadReport(str(path), table.encoding))
    # A table with a header says its columns; of records without one, the first that has them all does.
    columns = _columns(kind, spec, table.columns, path) if table.columns is not None else None
    rows, lines = [], []
    for record in table.records:
        reading.report.read += 1
        try:
            if columns is None and record.fields is not None:
                columns = _columns(kind, spec, flat_names(record.fields), path)
            cells = _cells(record, columns)
            rows.append(build_row(kind, cells, spec.scale or (0.0, 1.0), reading.changes))
            lines.append(record.line)
        except DataError as error:
            reading.report.rejects.append(Reject(path.name, record.line, None, error.what, error.got or ""))
            if spec.rejects == "stop":
                error.where = f"{path}:{record.line}"
                error.args = (error.sentence(),)
                raise
        except BadCellError as bad:
            reading.reject(path, record.line, (columns or {}).get(bad.role, bad.role) or None, bad)
    if kind == "ranked-lists":
        column = (columns or {}).get("documents")
        rows = _gathered(rows, lines, lambda line, bad: reading.reject(path, line, column, bad))
        reading.report.rejects.sort(key=lambda reject: reject.line)
    return _finished(rows, reading, seed)


def _cells(record: Record, columns: Mapping[str, str] | None) -> dict[str, Any]:
    if record.fields is None or columns is None:
        raise BadCellError("", record.problem, record.excerpt)
    return {role: cell_of(record.fields, column) for role, column in columns.items()}


def cell_of(fields: dict[str, Any], column: str) -> Any:
    """The cell of a column of a record, `outer.inner` for one of a nested object; None where there is none."""
    if column in fields:
        return fields[column]
    outer, _, inner = column.partition(".")
    nested = fields.get(outer)
    return nested.get(inner) if isinstance(nested, dict) else None


def _gathered(
    rows: list[RankedList], lines: list[int], reject: Callable[[int, BadCellError], None]
) -> list[RankedList]:
    """Ranked lists with the lines of the long form gathered by query, where the query first appears.

    Args:
        rows: as `build_row` makes them; those of a single document are lines of the long form.
        lines: the line of each row.
        reject: told of lines that are not kept: a document that comes again, and the only document of a query.
    """
    found: dict[object, dict[str, tuple[int, RankedList]]] = {}
    for line, row in zip(lines, rows, strict=True):
        if len(row.documents) > 1:
            found[line] = {"": (line, row)}
            continue
        known, key = found.setdefault(row.query, {}), match_key(row.documents[0])
        if key in known:
            reject(line, BadCellError("documents", "this document has come for this query before", row.documents[0]))
        else:
            known[key] = (line, row)
    lists = []
    for group in found.values():
        parts = [row for _, row in group.values()]
        documents = tuple(document for row in parts for document in row.documents)
        if len(documents) > 1:
            lists.append(RankedList(parts[0].query, documents, tuple(s for row in parts for s in row.scores)))
            continue
        reason = "a ranked list needs at least two documents, and this is the only one of its query"
        reject(next(iter(group.values()))[0], BadCellError("documents", reason, documents[0]))
    return lists


def _finished(rows: list, reading: _Reading, seed: int) -> Rows:
    spec, report = reading.spec, reading.report
    report.kept, report.changes = report.read - len(report.rejects), reading.changes.counts
    report.examples = reading.changes.examples
    if len(rows) < report.kept:
        report.handed_on["ranked lists"] = len(rows)
    if spec.part is not None:
        rows = take_part(rows, spec.part)
        report.handed_on[part_name(spec.part)] = len(rows)
    if not rows:
        got = f"{report.read} read, {len(report.rejects)} rejected"
        if spec.part is not None and report.kept:
            got += f", none of the others in {part_name(spec.part)}"
        if report.rejects:
            got += f", the first because: {report.rejects[0].sentence()}"
        raise DataError("no rows were left after reading", where=report.source, expected="at least one row", got=got)
    if spec.sample is not None and spec.sample < len(rows):
        picked = sorted(random.Random(seed).sample(range(len(rows)), spec.sample))
        rows = [rows[i] for i in picked]
        report.handed_on["sample"] = len(rows)
    return Rows(rows, report)


def _stopped(reject: Reject, path: Path) -> DataError:
    place = f"{path}:{reject.line}" + (f":{reject.column}" if reject.column else "")
    return DataError(
        reject.reason,
        where=place,
        got=repr(reject.excerpt[:80]) if reject.excerpt else None,
        hint=Phrase("mend the row, or leave such rows out and have them counted with {}", Option("rejects", "skip")),
    )


def find_column(role: str, spec: DataSpec, names: list[str]) -> str | None:
    """The column of a role among those of a file: the one that is mapped, else the first of its usual names."""
    spelled = {column_name(name): name for name in names}
    return next((spelled[c] for c in _candidates(role, spec) if c in spelled), None)


def _candidates(role: str, spec: DataSpec) -> tuple[str, ...]:
    wanted = spec.columns.get(role)
    return ALIASES[role] if wanted is None else (column_name(str(wanted)),)


def _columns(kind: str, spec: DataSpec, names: list[str], path: Path) -> dict[str, str]:
    mapped = tuple(role for role in MAPPED_ROLES.get(kind, ()) if role in spec.columns)
    unknown = sorted(set(spec.columns) - {*ROLES[kind], *mapped})
    if unknown:
        raise DataError(
            "these roles do not exist for this kind of rows",
            where=path,
            expected=", ".join(ROLES[kind]),
            got=", ".join(unknown),
        )
    found = {}
    for role in (*ROLES[kind], *mapped):
        wanted = spec.columns.get(role)
        column = find_column(role, spec, names)
        if column is None:
            what = f"there is no column for {role}" if wanted is None else f"there is no column {wanted!r} for {role}"
            raise DataError(
                what,
                where=path,
                expected=" or ".join(_candidates(role, spec)),
                got=f"columns {', '.join(names)}",
                hint=Phrase("map it, such as {}", Option("columns", {role: names[0] if names else "NAME"})),
            )
        found[role] = column
    if len(set(found.values())) < len(found):
        raise DataError(
            "two roles name the same column", where=path, got=", ".join(f"{r} = {c}" for r, c in found.items())
        )
    return found


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
    reading = _Reading(spec, ReadReport(f"{source}, {target}", tables[0].encoding, read=len(lines[0])))
    rows = []
    for left, right in zip(*lines, strict=True):
        try:
            sides = (("source", left), ("target", right))
            rows.append(ParallelPair(*(_aligned_text(role, record, reading.changes) for role, record in sides)))
        except BadCellError as bad:
            reading.reject(target if bad.role == "target" else source, left.line, bad.role, bad)
    return _finished(rows, reading, seed)


def _aligned_text(role: str, record: Record, changes: TextChanges) -> str:
    if record.fields is None:
        raise BadCellError(role, record.problem)
    return read_text(role, record.fields["sentence"], changes)
