"""The rows that data sets hold, and what reading them reported.

Scores are always on 0..1 here; files declare their own scale and readers convert.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

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


class ParallelPair(NamedTuple):
    """One sentence in two languages."""

    source: str
    target: str


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
    """What a reader did: rows read = rows kept + rows rejected, and what the door for text changed."""

    source: str
    encoding: str = ""
    read: int = 0
    kept: int = 0
    rejects: list[Reject] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)

    def sentence(self) -> str:
        """One line for the log."""
        line = f"{self.source}: {self.read:,} rows read, {self.kept:,} kept, {len(self.rejects):,} rejected"
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
        }


def pair_key(sentence1: str, sentence2: str) -> tuple[str, str]:
    """The key under which two unordered pairs count as the same pair."""
    first, second = match_key(sentence1), match_key(sentence2)
    return (first, second) if first <= second else (second, first)


def sentences_of(rows: list) -> list[str]:
    """All texts of some rows in order, of whatever kind the rows are."""
    texts: list[str] = []
    for row in rows:
        if isinstance(row, str):
            texts.append(row)
        elif isinstance(row, Document):
            texts.append(row.text)
        else:
            texts.extend((row[0], row[1]))
    return texts
