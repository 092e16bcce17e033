"""Texts that were decoded by the wrong encoding before they came here: mojibake.

Each test tries the way back. What was UTF-8 and read as Latin-1 or cp1252 is a run of accented letters and symbols that
gives UTF-8 when it is encoded again; what was cp949 and read so gives Hangul; what was UTF-8 and read as cp949 gives UTF-8.
No word of a living language does so by chance for more than a letter or two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

#: What cp1252 shows for the bytes 0x80 to 0x9F; Latin-1 has control characters there, which the door for text removes.
_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_RUN = re.compile(f"[\u0080-\u00ff{_CP1252}]{{2,}}")
#: Letters that Latin-1 shows for the first bytes of Hangul, kana and Chinese characters in UTF-8, and a second byte.
_FIRST_BYTE = re.compile("[\u00e3-\u00ed]")
_SECOND_BYTE = re.compile(f"[\u0080-\u00bf{_CP1252}]")
_HANGUL_ONLY = re.compile("[가-힣]+")
#: Letters of a script outside Latin, so that a text of them is worth the attempt to read it as cp949.
_OUTSIDE_LATIN = re.compile("[가-힣\u3400-\u9fff]{3}")


class Damage(NamedTuple):
    """What happened to a text, and the text as it was, where the way back is known."""

    kind: str
    mended: str = ""


def damage_of(text: str) -> Damage | None:
    """How a text was damaged by a wrong encoding, or None for a whole one."""
    if text.isascii():
        return None
    if "\ufffd" in text:
        return Damage("bytes that could not be decoded (U+FFFD)")
    for kind, mend in _MISREADINGS:
        mended = mend(text)
        if mended is not None:
            return Damage(kind, mended)
    return None


def _utf8_as_latin(text: str) -> str | None:
    return _replace_runs(text, (run for run in _RUN.findall(text)), _from_utf8)


def _cp949_as_latin(text: str) -> str | None:
    return _replace_runs(text, (run for run in _RUN.findall(text) if len(run) >= 4), _from_cp949)


def _replace_runs(text: str, runs: Iterable[str], mend: Callable[[str], str | None]) -> str | None:
    found = {run: mended for run in runs if (mended := mend(run)) is not None}
    for run, mended in found.items():
        text = text.replace(run, mended)
    return text if found else None


def _from_utf8(run: str) -> str | None:
    for encoding in ("cp1252", "latin-1"):
        try:
            mended = run.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        if len(mended) < len(run):
            return mended
    # With its control characters removed a run cannot be mended any more, but it still looks like nothing else.
    firsts = len(_FIRST_BYTE.findall(run))
    return run if firsts >= 2 and len(_SECOND_BYTE.findall(run)) >= firsts / 2 and len(run) >= 4 else None


def _from_cp949(run: str) -> str | None:
    try:
        mended = run.encode("latin-1").decode("cp949")
    except UnicodeError:
        return None
    return mended if _HANGUL_ONLY.fullmatch(mended) else None


def _utf8_as_cp949(text: str) -> str | None:
    if not _OUTSIDE_LATIN.search(text):
        return None
    try:
        return text.encode("cp949").decode("utf-8")
    except UnicodeError:
        return None


_MISREADINGS: tuple[tuple[str, Callable[[str], str | None]], ...] = (
    # Before UTF-8, of which the damaged rest is recognised without a way back.
    ("cp949 that was read as Latin-1", _cp949_as_latin),
    ("UTF-8 that was read as cp1252 or Latin-1", _utf8_as_latin),
    ("UTF-8 that was read as cp949", _utf8_as_cp949),
)
