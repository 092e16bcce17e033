"""The door for text: every string from outside passes `clean` once, and what was changed is counted.

Normalising here means that NFC and NFD spellings of one Korean word are the same sentence everywhere
after, that no tokenizer meets a lone surrogate, and that a leading blank cannot move a cross-encoder's
score (sentence-transformers issues 782 and 799).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

#: Longest text that is passed on, in characters. A tokenizer takes 1.4 to 2.5 s for a million characters,
#: and a model of 512 tokens reads at most a few thousand of them.
MAX_CHARS = 32_768

#: Invisible characters that `str.strip` leaves in place. Removed wherever they stand; the zero-width joiner
#: stays because emoji need it.
_INVISIBLE = re.compile("[\u3164\uffa0\u200b\ufeff\u2060\u00ad]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]")
_SPACES = re.compile(r"[\t\n\v\f\r\u2028\u2029]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Characters that are drawn as nothing although their category says symbol or letter.
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
#: Control, format and space characters; and marks, which need a character to stand on.
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"})


class Cleaned(NamedTuple):
    """A text and the names of the changes made to it (empty for nearly every text)."""

    text: str
    changes: tuple[str, ...]


def is_blank(text: str) -> bool:
    """True if nothing visible is left: spaces, Hangul fillers, zero-width and control characters, bare marks only."""
    return all(c in _FILLERS or unicodedata.category(c) in _INVISIBLE_CATEGORIES for c in text)


def clean(text: str, max_chars: int = MAX_CHARS) -> Cleaned:
    """Normalise one text.

    In this order: lone surrogates become U+FFFD, control characters and invisible fillers go, tabs and line
    breaks become one space, outer blanks go, what exceeds `max_chars` is cut, never inside a Hangul syllable
    or a combined character, and the text becomes NFC (not NFKC, which would turn compatibility jamo into
    conjoining ones).

    Args:
        text: any string.
        max_chars: the longest result, in characters.

    Returns:
        The text and the names of what was changed: `surrogate`, `control`, `filler`, `line-break`, `nfc`, `cut`.
        Trimming outer blanks is not reported.
    """
    if text.isascii() and text.isprintable() and len(text) <= max_chars:
        return Cleaned(text.strip(), ())
    changes = []
    for name, pattern, replacement in (
        ("surrogate", _SURROGATE, "\ufffd"),
        ("control", _CONTROL, ""),
        ("filler", _INVISIBLE, ""),
        ("line-break", _SPACES, " "),
    ):
        replaced = pattern.sub(replacement, text)
        if replaced != text:
            changes.append(name)
            text = replaced
    text = text.strip()
    # A long text is cut before it is normalised, so that the work stays bounded, and again after: a few
    # characters become longer (U+0958 has no composed form).
    shortened = _cut(text, max_chars)
    composed = unicodedata.normalize("NFC", shortened)
    final = _cut(composed, max_chars)
    if len(shortened) < len(text) or len(final) < len(composed):
        changes.append("cut")
    if composed != shortened:
        changes.append("nfc")
    return Cleaned(final.strip(), tuple(changes))


def readable(text: str) -> str:
    """The part of `clean` that every text needs before a tokenizer sees it: NFC, no lone surrogate, a bounded length.

    Nothing else is touched, so a model reads blanks, line breaks and controls as they stand.
    """
    if text.isascii() and len(text) <= MAX_CHARS:
        return text
    shortened = _SURROGATE.sub("\ufffd", _cut(text, MAX_CHARS))
    return _cut(unicodedata.normalize("NFC", shortened), MAX_CHARS)


def _cut(text: str, limit: int) -> str:
    """The longest start of a text within `limit` that does not split a grapheme (jamo, marks, joiners, skin tones)."""
    if len(text) <= limit:
        return text
    for position in range(limit, max(limit - 64, 0), -1):
        character = text[position]
        conjoining = "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7fb"
        joined = character == "\u200d" or text[position - 1] == "\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff"
        if not conjoining and not joined and not unicodedata.category(character).startswith("M"):
            return text[:position]
    return text[:limit]


class TextChanges:
    """Counts what `clean` changed, over many texts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        """The first text of each change, as it was before."""

    def clean(self, text: str) -> str:
        """Clean one text and count its changes."""
        cleaned = clean(text)
        self.counts.update(cleaned.changes)
        for name in cleaned.changes:
            self.examples.setdefault(name, text)
        return cleaned.text


def match_key(text: str) -> str:
    """The key under which two texts count as the same sentence: NFC, case folded, blanks collapsed.

    Used for duplicates and for leakage between splits.
    """
    return " ".join(clean(text).text.casefold().split())


def printable(text: str, limit: int = 200) -> str:
    """A text as it may go to a terminal or a log: control and direction characters escaped, length bounded."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
