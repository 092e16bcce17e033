"""The sentences of some files, each distinct one once, and which rows they stand in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from munjang.data.rows import Reject
from munjang.data.texts import TextRow, Wanted, find_text_files, require_columns, stream_texts
from munjang.errors import DataError
from munjang.text import match_key

#: Rejects that are kept with their places; all are counted.
_KEPT_REJECTS = 100


@dataclass
class Sentences:
    """What was read."""

    texts: list[str] = field(default_factory=list)
    """As the door for text leaves them, in the order of the files."""
    rows: list[int] = field(default_factory=list)
    """Of each text its row in the files, from 0, rejected ones included."""
    read: int = 0
    rejected: int = 0
    rejects: list[Reject] = field(default_factory=list)
    """The first of them."""
    reasons: Counter[str] = field(default_factory=Counter)

    def report(self) -> dict[str, Any]:
        """What was read as JSON values: read = kept + rejected."""
        return {
            "read": self.read,
            "kept": len(self.texts),
            "rejected": self.rejected,
            "rejected_because": dict(self.reasons),
        }

    def distinct(self) -> tuple[Sentences, list[list[int]]]:
        """Each sentence once, the first that stands there, by `match_key`; and for each the places of all like it."""
        places: dict[str, list[int]] = {}
        for place, text in enumerate(self.texts):
            places.setdefault(match_key(text), []).append(place)
        groups = list(places.values())
        first = [group[0] for group in groups]
        texts, rows = [self.texts[i] for i in first], [self.rows[i] for i in first]
        return Sentences(texts, rows, self.read, self.rejected, self.rejects, self.reasons), groups


def read_sentences(sources: Sequence[str], base: Path, wanted: Wanted = Wanted()) -> Sentences:  # noqa: B008 - immutable
    """Read the texts of some files.

    Args:
        sources: paths, or names of the catalogue.
        base: the folder that relative paths start from.
        wanted: the column of the texts, and the encoding.

    Raises:
        MissingInputError, UnavailableError, DataError: see `munjang.data.texts`; or no row holds a text.
    """
    found = Sentences()
    for row in _kept(sources, base, wanted, found):
        found.texts.append(row.texts[0])
    _require_some(found, sources)
    return found


def read_pairs(
    sources: Sequence[str], base: Path, columns: tuple[str, str], encoding: str | None = None
) -> tuple[Sentences, list[tuple[str, str]]]:
    """Read two texts of every row of some files.

    Args:
        sources, base: see `read_sentences`. columns: of the texts. encoding: forces one.

    Returns:
        What was read, with the first text of each pair; and the pairs.

    Raises:
        MissingInputError, UnavailableError, DataError: see `read_sentences`.
    """
    found, pairs = Sentences(), []
    for row in _kept(sources, base, Wanted(columns, None, encoding), found):
        found.texts.append(row.texts[0])
        pairs.append((row.texts[0], row.texts[1]))
    _require_some(found, sources)
    return found, pairs


def _kept(sources: Sequence[str], base: Path, wanted: Wanted, found: Sentences) -> Iterator[TextRow]:
    """The rows that hold texts; all are counted in `found`."""
    files = find_text_files(sources, base)
    require_columns(files, wanted)
    for row in stream_texts(files, wanted):
        found.read += 1
        if row.reject is None:
            found.rows.append(row.number)
            yield row
            continue
        found.rejected += 1
        found.reasons[row.reject.reason] += 1
        if len(found.rejects) < _KEPT_REJECTS:
            found.rejects.append(row.reject)


def _require_some(found: Sentences, sources: Sequence[str]) -> None:
    if not found.texts:
        why = "; ".join(reason for reason, _ in found.reasons.most_common(2))
        raise DataError("no row holds a text", where=", ".join(sources), got=why or "no rows")
