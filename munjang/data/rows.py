"""The rows that data sets hold, and what reading them reported.

Scores are always on 0..1 here; files declare their own scale and readers convert.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from munjang.text import match_key, printable


class ScoredPair(NamedTuple):
    """Two sentences and how similar they are, 0 (unrelated) to 1 (the same meaning)."""

    sentence1: str
    sentence2: str
    score: float


class LabelledPair(NamedTuple):
    """A premise, a hypothesis and one of `entailment`, `neutral`, `contradiction` (NLI)."""

    sentence1: str
    sentence2: str
    label: str


class Triplet(NamedTuple):
    """A text, one that it shall be near to, and one that it shall be far from."""

    anchor: str
    positive: str
    negative: str


class UnlabelledPair(NamedTuple):
    """Two sentences of which nobody has said yet how similar they are."""

    sentence1: str
    sentence2: str


class PositivePair(NamedTuple):
    """Two texts that belong together, such as a question and its answer, without a score."""

    anchor: str
    positive: str


class ParallelPair(NamedTuple):
    """One sentence in two languages."""

    source: str
    target: str


class RankedList(NamedTuple):
    """A query, its candidate texts, and for each a relevance or a teacher's raw score: any finite number, no scale.

    There are as many scores as documents, at least two of each, and no document comes twice.
    """

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...]


class LabelledText(NamedTuple):
    """A text and its class, such as a topic: any name, compared letter by letter."""

    text: str
    label: str


class Document(NamedTuple):
    """A text with its id: a query, or a text to be found."""

    id: str
    text: str


class Qrel(NamedTuple):
    """A relevance judgement: 0 not relevant, 1 related, 2 answers the query."""

    query_id: str
    doc_id: str
    relevance: int


@dataclass(frozen=True)
class Reject:
    """A row that was not kept, with its place and the reason."""

    file: str
    line: int
    column: str | None
    reason: str
    excerpt: str = ""

    def sentence(self) -> str:
        """`file:line:column: reason: excerpt` on one line, safe for a terminal."""
        place = printable(f"{self.file}:{self.line}" + (f":{self.column}" if self.column else ""))
        return f"{place}: {self.reason}" + (f": {printable(self.excerpt, 80)}" if self.excerpt else "")


@dataclass
class ReadReport:
    """What a reader did: rows read = rows kept + rows rejected, and what the door for text changed.

    The rows are those of the file. Where fewer are handed on (a part, a sample, lines gathered into lists), `handed_on`
    says after which choice how many were left.
    """

    source: str
    encoding: str = ""
    read: int = 0
    kept: int = 0
    rejects: list[Reject] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """The first text of each change, as the file has it."""
    handed_on: dict[str, int] = field(default_factory=dict)
    """Choice, such as `part 0.9-1`, -> rows left after it, in the order in which they were made."""

    def sentence(self) -> str:
        """One line for the log."""
        line = f"{self.source}: {self.read:,} rows read, {self.kept:,} kept, {len(self.rejects):,} rejected"
        if self.handed_on:
            line += " (" + "; ".join(f"{choice}: {count:,} rows" for choice, count in self.handed_on.items()) + ")"
        if self.changes:
            line += " (" + ", ".join(f"{name} in {count:,}" for name, count in sorted(self.changes.items())) + ")"
        return line

    def as_dict(self) -> dict[str, object]:
        """The report as JSON values, with every reject up to 10,000."""
        return {
            "source": self.source,
            "encoding": self.encoding,
            "read": self.read,
            "kept": self.kept,
            "rejected": len(self.rejects),
            "rejects": [reject.sentence() for reject in self.rejects[:10_000]],
            "changes": dict(self.changes),
            "handed_on": dict(self.handed_on),
        }


def pair_key(sentence1: str, sentence2: str) -> tuple[str, str]:
    """The key under which two unordered pairs count as the same pair."""
    first, second = match_key(sentence1), match_key(sentence2)
    return (first, second) if first <= second else (second, first)


def texts_of(row: Any) -> tuple[str, ...]:
    """All texts of one row, of whatever kind it is; a relevance judgement holds ids and none.

    Raises:
        TypeError: the row is of no known kind; taking its first two fields for texts would hide the others.
    """
    if isinstance(row, str):
        return (row,)
    if isinstance(row, Document | LabelledText):
        return (row.text,)
    if isinstance(row, RankedList):
        return (row.query, *row.documents)
    if isinstance(row, ScoredPair | LabelledPair):
        return row[:2]
    if isinstance(row, Triplet | PositivePair | ParallelPair | UnlabelledPair):
        return tuple(row)
    if isinstance(row, Qrel):
        return ()
    raise TypeError(f"a row of the type {type(row).__name__} has no known texts")


def pairs_of(row: Any) -> list[tuple[str, str]]:
    """The pairs of texts that one row compares: a triplet holds two, a ranked list one for each document."""
    texts = texts_of(row)
    return [(texts[0], other) for other in texts[1:]]


def sentences_of(rows: list) -> list[str]:
    """All texts of some rows in order, of whatever kind the rows are."""
    return [text for row in rows for text in texts_of(row)]
