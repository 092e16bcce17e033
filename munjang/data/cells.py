"""Turns the cells of one record into a row, or says which of them cannot become part of one, and why."""

from __future__ import annotations

import math
import re
from typing import Any

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
from munjang.text import MAX_CHARS, TextChanges, is_blank, match_key

#: nDCG's gain is the relevance itself: judgements have a handful of grades, and a number in the thousands is an id.
MAX_RELEVANCE = 20
NLI_LABELS = ("entailment", "neutral", "contradiction")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,9}", re.ASCII)


class BadCellError(Exception):
    """A cell that cannot become part of a row; carries its role and the reason."""

    def __init__(self, role: str, reason: str, excerpt: object = "") -> None:
        self.role, self.reason, self.excerpt = role, reason, str(excerpt)[:200]


def build_row(kind: str, cells: dict[str, Any], scale: tuple[float, float], changes: TextChanges) -> Any:
    """The row that some cells make.

    Args:
        kind: a key of `munjang.data.readers.ROLES`.
        cells: role -> cell, for each role of the kind.
        scale: lowest and highest score of scored pairs.
        changes: counts what the door for text changes.

    Returns:
        A row of `munjang.data.rows`, or a string for sentences. A line of a ranked list in the long form gives a
        `RankedList` of one document, still to be gathered with the others of its query.

    Raises:
        BadCellError: a cell is wrong.
    """

    def text(role: str) -> str:
        return read_text(role, cells[role], changes)

    if kind == "scored-pairs":
        return ScoredPair(text("sentence1"), text("sentence2"), _score(cells["score"], *scale))
    if kind == "labelled-pairs":
        return LabelledPair(text("sentence1"), text("sentence2"), _label(cells["label"]))
    if kind == "triplets":
        return Triplet(text("anchor"), text("positive"), text("negative"))
    if kind == "pairs":
        return UnlabelledPair(text("sentence1"), text("sentence2"))
    if kind == "positive-pairs":
        return PositivePair(text("anchor"), text("positive"))
    if kind == "parallel-pairs":
        return ParallelPair(text("source"), text("target"))
    if kind == "ranked-lists":
        return _ranked_list(text("query"), cells["documents"], cells["scores"], changes)
    if kind == "labelled-texts":
        return LabelledText(text("text"), _class_name(cells["label"], changes))
    if kind == "documents":
        return Document(text("id"), _titled_text(cells, changes))
    if kind == "qrels":
        return Qrel(text("query_id"), text("doc_id"), _relevance(cells["relevance"]))
    return text("sentence")


def read_text(role: str, value: Any, changes: TextChanges) -> str:
    """One text, through the door for text; a whole number serves as an id.

    Raises:
        BadCellError: it is missing, blank, too long, or no text.
    """
    if value is None:
        raise BadCellError(role, "the text is missing")
    if isinstance(value, int) and not isinstance(value, bool) and role.endswith("id"):
        value = str(value)
    if isinstance(value, list):
        raise BadCellError(
            role, f"expected one text, got a list of {len(value):,}; write one row for each of them", value
        )
    if not isinstance(value, str):
        raise BadCellError(role, f"expected a text, got {type(value).__name__}", value)
    if len(value) > MAX_CHARS:
        raise BadCellError(role, f"the text has {len(value):,} characters, more than {MAX_CHARS:,}", value[:80])
    if is_blank(value):
        raise BadCellError(role, "the text is blank", value)
    return changes.clean(value)


def _titled_text(cells: dict[str, Any], changes: TextChanges) -> str:
    """A document's text, its title before it where there is one; either may be blank, not both."""
    title, body = cells.get("title"), cells["text"]
    if not isinstance(title, str) or is_blank(title):
        return read_text("text", body, changes)
    title = read_text("title", title, changes)
    return (
        title
        if body is None or (isinstance(body, str) and is_blank(body))
        else f"{title} {read_text('text', body, changes)}"
    )


def _class_name(value: Any, changes: TextChanges) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return read_text("label", value, changes)


def _ranked_list(query: str, documents: Any, scores: Any, changes: TextChanges) -> RankedList:
    if not isinstance(documents, list):
        # The long form: one document a line.
        if isinstance(scores, list):
            raise BadCellError("scores", f"expected one score beside one document, got a list of {len(scores):,}")
        text = read_text("documents", documents, changes)
        return RankedList(query, (text,), (_number("scores", scores, "a number"),))
    if not isinstance(scores, list):
        got = "none" if scores is None else type(scores).__name__
        raise BadCellError("scores", f"expected a list of {len(documents):,} scores, got {got}", scores)
    if len(documents) < 2:
        raise BadCellError("documents", f"a ranked list needs at least two documents, got {len(documents)}")
    if len(documents) != len(scores):
        raise BadCellError("scores", f"expected {len(documents):,} scores, one for each document, got {len(scores):,}")
    texts = tuple(read_text("documents", document, changes) for document in documents)
    repeated = first_repeated(texts)
    if repeated is not None:
        raise BadCellError("documents", "a document occurs twice in one list", texts[repeated])
    return RankedList(query, texts, tuple(_number("scores", score, "a number") for score in scores))


def first_repeated(texts: tuple[str, ...]) -> int | None:
    """The place of the first text that has occurred before, exactly after normalising, or None."""
    seen: set[str] = set()
    for place, text in enumerate(texts):
        key = match_key(text)
        if key in seen:
            return place
        seen.add(key)
    return None


def _score(value: Any, low: float, high: float) -> float:
    number = _number("score", value, f"a number from {low:g} to {high:g}")
    if not low <= number <= high:
        raise BadCellError("score", f"the score is outside the declared scale {low:g} to {high:g}", value)
    return (number - low) / (high - low)


def _number(role: str, value: Any, expected: str) -> float:
    if isinstance(value, bool) or value is None:
        reason = "the score is missing" if value is None else "expected a number, got true or false"
        raise BadCellError(role, reason, value)
    try:
        # float() alone would take "0_4" for 4.
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        text = str(value)
        comma = "," in text and text.replace(",", ".", 1).replace(".", "", 1).isdigit()
        hint = "; write a decimal point, not a comma" if comma else ""
        raise BadCellError(role, f"expected {expected}{hint}", value) from None
    if not math.isfinite(number):
        raise BadCellError(role, "the score is not a finite number", value)
    return number


def _label(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(NLI_LABELS):
        return NLI_LABELS[value]
    if isinstance(value, str) and value.strip().lower() in NLI_LABELS:
        return value.strip().lower()
    raise BadCellError("label", f"expected one of {', '.join(NLI_LABELS)}", value)


def _relevance(value: Any) -> int:
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    if not whole and not (isinstance(value, str) and _WHOLE.fullmatch(value.strip())):
        raise BadCellError("relevance", "expected a whole number of 0 or more", value)
    number = int(value)
    if not 0 <= number <= MAX_RELEVANCE:
        raise BadCellError("relevance", f"relevance must lie between 0 and {MAX_RELEVANCE}", value)
    return number
