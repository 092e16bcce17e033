"""Decides the encoding of a whole file, never of a cell, and never drops a byte.

Korean files in the wild are utf-8 (often with a byte order mark), cp949 (also when labelled euc-kr: the
euc_kr codec fails on syllables such as U+BDC1), or utf-16 from spreadsheets. Strict utf-8 accepts no
cp949 text in practice, so trying in that order decides a file of sentences without guessing.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from munjang.errors import DataError, from_os_error

#: Longest line that is read into memory, in characters; a longer one is rejected with its line number.
MAX_LINE = 1_000_000
_ALIASES = {"euc-kr": "cp949", "euckr": "cp949", "euc_kr": "cp949", "ks_c_5601-1987": "cp949", "utf-8": "utf-8-sig"}


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
        candidates = [_ALIASES.get(forced.lower(), forced)]
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    else:
        candidates = ["utf-8-sig", "cp949"]
    failures = []
    for candidate in candidates:
        problem = _first_problem(path, candidate)
        if problem is None:
            return candidate
        failures.append(f"{candidate} ({problem})")
    raise DataError(
        "cannot decode this file",
        where=path,
        got=f"tried {', '.join(failures)}",
        hint='save it as UTF-8, or name its encoding: encoding = "..." in the recipe, --encoding on the command line',
    )


def _first_problem(path: Path, encoding: str) -> str | None:
    try:
        decoder = codecs.getincrementaldecoder(encoding)("strict")
    except LookupError:
        return "no such encoding"
    offset = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(1 << 20)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return f"byte {max(offset - pending, 0) + error.start}: {error.reason}"
            if not chunk:
                return None
            offset += len(chunk)


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
