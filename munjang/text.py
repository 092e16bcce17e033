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
#: Characters without a picture of their own: what is left of a text of only these is blank.
_BLANK = re.compile("[\\s\u115f\u1160\u200c\u200d\u2800\ufe0e\ufe0f]+")


class Cleaned(NamedTuple):
    """A text and the names of the changes made to it (empty for nearly every text)."""

    text: str
    changes: tuple[str, ...]


def is_blank(text: str) -> bool:
    """True if nothing visible is left: spaces, Hangul fillers, zero-width and control characters only."""
    return _BLANK.sub("", _CONTROL.sub("", _INVISIBLE.sub("", text))) == ""


def clean(text: str, max_chars: int = MAX_CHARS) -> Cleaned:
    """Normalise one text.

    In this order: lone surrogates become U+FFFD, control characters and invisible fillers go, tabs and line
    breaks become one space, the text becomes NFC (not NFKC, which would turn compatibility jamo into
    conjoining ones), outer blanks go, and what exceeds `max_chars` is cut, never inside a Hangul syllable
    or a combined character.

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
    # A long text is cut before it is normalised, so that the work stays bounded; composing only shortens it.
    if len(text) > max_chars:
        text = text[: _boundary(text, max_chars)]
        changes.append("cut")
    composed = unicodedata.normalize("NFC", text)
    if composed != text:
        changes.append("nfc")
        text = composed
    return Cleaned(text.strip(), tuple(changes))


def _boundary(text: str, limit: int) -> int:
    """The last position up to `limit` that does not split a grapheme (jamo, marks, joiners)."""
    for position in range(limit, max(limit - 64, 0), -1):
        character = text[position]
        conjoining = "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7fb"
        joined = character in "\u200d\ufe0f" or text[position - 1] == "\u200d"
        if not conjoining and not joined and not unicodedata.combining(character):
            return position
    return limit


class TextChanges:
    """Counts what `clean` changed, over many texts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def clean(self, text: str) -> str:
        """Clean one text and count its changes."""
        cleaned = clean(text)
        self.counts.update(cleaned.changes)
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
