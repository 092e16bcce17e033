"""Decides the encoding of a whole file, never of a cell, and never drops a byte.

Korean files in the wild are utf-8 (often with a byte order mark), cp949 (also when labelled euc-kr: the
euc_kr codec fails on syllables such as U+BDC1), or utf-16 from spreadsheets. Strict utf-8 accepts no
cp949 text in practice, so trying in that order decides a file of sentences without guessing.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from munjang.errors import DataError, Option, Phrase, from_os_error

#: Longest line that is read into memory, in characters; a longer one is rejected with its line number.
MAX_LINE = 1_000_000
_ALIASES = {"euc_kr": "cp949", "ks_c_5601_1987": "cp949", "utf-8": "utf-8-sig"}
#: So many syllables of valid UTF-8 do not come about by chance in a cp949 file.
_CERTAIN_SYLLABLES = 3


def detect_encoding(path: Path, forced: str | None = None) -> str:
    """The encoding of a file, proved by decoding all of it strictly.

    Args:
        path: the file.
        forced: an encoding that the user named; it alone is tried.

    Raises:
        DataError: no encoding fits; the message has the byte offset and the encodings that were tried.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise from_os_error(error, path, doing="read") from error
    if forced is not None:
        candidates = [_canonical(forced)]
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    elif head.startswith(codecs.BOM_UTF8):
        candidates = ["utf-8-sig"]
    else:
        candidates = ["utf-8-sig", "cp949"]
    if forced is None and head in (codecs.BOM_UTF8[:1], codecs.BOM_UTF8[:2]):
        candidates = ["utf-8-sig"]  # cp949 would make a syllable of half a byte order mark
    failures: list[str] = []
    surely_utf8 = False
    for candidate in candidates:
        problem = _first_problem(path, candidate)
        if problem is None and not surely_utf8:
            return candidate
        failures.append(
            f"{candidate} ({problem.text if problem else 'gives other syllables than the valid UTF-8 before'})"
        )
        surely_utf8 = surely_utf8 or (problem is not None and problem.surely_utf8)
    raise DataError(
        "cannot decode this file",
        where=path,
        got=f"tried {', '.join(failures)}",
        hint=Phrase("save it as UTF-8, or name its encoding, such as {}", Option("encoding", "cp949")),
    )


def _canonical(name: str) -> str:
    """Python's name of a text encoding, with the aliases that Korean files carry."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return name
    # hex, rot13, zip and their like are codecs, but not of text.
    return _ALIASES.get(found.name, found.name) if found._is_text_encoding else name


class _Problem(NamedTuple):
    text: str
    surely_utf8: bool = False
    """The file is UTF-8 but damaged: trying cp949 would give wrong syllables, not an error."""


def _first_problem(path: Path, encoding: str) -> _Problem | None:
    # A byte order mark is a character to plain utf-8, so offsets stay those of the file.
    name = "utf-8" if encoding == "utf-8-sig" else encoding
    try:
        decoder = codecs.getincrementaldecoder(name)("strict")
        if not codecs.lookup(name)._is_text_encoding:
            return _Problem("not an encoding of text")
    except (LookupError, ValueError):
        return _Problem("no such encoding")
    offset = syllables = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(1 << 20)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                start = getattr(error, "start", 0)
                syllables += _count_syllables(chunk[: max(start - pending, 0)]) if name == "utf-8" else 0
                cut_off = not chunk or getattr(error, "reason", "") == "unexpected end of data"
                certain = syllables >= (1 if cut_off else _CERTAIN_SYLLABLES)
                where = max(offset - pending, 0) + start
                return _Problem(f"byte {where}: {getattr(error, 'reason', error)}", name == "utf-8" and certain)
            if not chunk:
                return None
            syllables += (
                sum("가" <= c <= "힣" for c in text) if name == "utf-8" and syllables < _CERTAIN_SYLLABLES else 0
            )
            offset += len(chunk)


def _count_syllables(prefix: bytes) -> int:
    return sum("가" <= c <= "힣" for c in prefix.decode("utf-8", "ignore"))


def numbered_lines(path: Path, encoding: str) -> Iterator[tuple[int, str | None]]:
    """The lines of a text file with their numbers from 1; None stands for a line that is too long.

    Only LF, CR and CRLF end a line: U+2028 and its like are part of the text. Memory stays bounded even
    where a file of gigabytes has no line break.
    """
    with path.open("r", encoding=encoding, newline=None) as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE and not line.endswith("\n"):
                while (rest := file.readline(MAX_LINE)) and not rest.endswith("\n"):
                    pass
                yield number, None
            else:
                yield number, line.rstrip("\n")
