"""Repetitions inside one set: texts that come twice, and rows that nearly repeat another."""

from __future__ import annotations

from typing import Any

from munjang.data.leaks import near_repetitions
from munjang.data.lint.findings import Finding, counted
from munjang.data.rows import Document, LabelledText, sentences_of, texts_of
from munjang.text import match_key, printable

#: Similarity of trigrams from which on a row nearly repeats another. Higher than between splits: inside of a set sentences of
#: one pattern are meant.
NEARLY = 0.85
#: Rows that are looked at; more are alike in proportion, and the work grows faster than they do.
_LOOKED_AT = 100_000


def repeated_texts(name: str, rows: list[Any]) -> list[Finding]:
    """Texts of sets of sentences or documents that come more than once."""
    if not rows or not isinstance(rows[0], str | Document | LabelledText):
        return []
    texts = sentences_of(rows)
    keys = {match_key(text) for text in texts}
    if len(keys) == len(texts):
        return []
    message = counted(len(texts) - len(keys), "texts is a repetition", "texts are repetitions", len(texts))
    return [Finding("note", "duplicate-texts", name, message, remedy="each distinct text is used once")]


def near_duplicates(name: str, rows: list[Any]) -> list[Finding]:
    """Rows all of whose texts, taken together, nearly repeat those of an earlier row."""
    texts = [" / ".join(texts_of(row)) for row in rows[:_LOOKED_AT] if texts_of(row)]
    found = near_repetitions(texts, NEARLY)
    if not found:
        return []
    place, earlier, similarity = max(found, key=lambda item: (item[2] < 1.0, item[2], -item[0]))
    of = f"the first {len(texts):,}" if len(rows) > _LOOKED_AT else f"{len(texts):,}"
    repeat = "repeats" if len(found) == 1 else "repeat"
    message = f"{len(found):,} of {of} rows nearly {repeat} an earlier one (at least {NEARLY:.0%} of their trigrams)"
    example = f"{printable(texts[place], 80)} | {printable(texts[earlier], 80)} ({similarity:.2f})"
    remedy = "keep one of each, unless the small difference is the point"
    return [Finding("note", "near-duplicates", name, message, example, remedy)]
