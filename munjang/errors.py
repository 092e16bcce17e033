"""One tree of errors: what went wrong, where, what was expected and found, and the next command.

Every error that a user can cause is a `MunjangError`. Its class fixes the code, the exit status (after
BSD's sysexits.h, so that scripts can tell causes apart) and the HTTP status. Anything else that escapes
is a bug and exits with 70.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

EXIT_STATUSES: dict[int, str] = {
    0: "done, or nothing to do",
    1: "done, and the doctor found errors (or what --fail-on names)",
    2: "the command line could not be read",
    3: "done, but a trained model is no better on dev than its start (see --allow-regression)",
    4: "a gate is not reached: by an evaluation, or by the teachers of silver labels",
    65: "the data are wrong: a column, a score, an empty set",
    66: "an input is missing: a file, a model, a column",
    69: "something needed is not available: a hub, an extra that is not installed",
    70: "a bug in Munjang",
    74: "the disk refused: full, read-only, broken",
    75: "try later: another process holds the run",
    78: "the recipe or an option is wrong",
    130: "stopped by Ctrl-C",
    143: "stopped by SIGTERM",
}


@dataclass(frozen=True)
class Option:
    """An option that a message speaks of. A recipe and the command line write it in ways of their own.

    Args:
        name: as in a recipe, such as `scale`; below a list or a table with its path, such as `train[0].data`.
        value: what it is, or is to be, set to; None where the message speaks of the option alone.
        table: where it stands in a recipe, such as `stage.bi`; empty where that is understood.
    """

    name: str
    value: Any = None
    table: str = ""

    def in_recipe(self) -> str:
        """Such as `scale = [0, 5]`, or `stage.bi.margin`."""
        path = ".".join(part for part in (self.table, self.name) if part)
        return path if self.value is None else f"{path} = {as_toml(self.value)}"


def as_toml(value: Any) -> str:
    """A plain value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml_key(str(key))} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else as_toml(key)


class Phrase(str):
    """A text that names options; as a string it writes them as a recipe does.

    Args:
        template: with `{}` for each part.
        parts: options, other phrases, or plain texts.
    """

    __slots__ = ("parts", "template")

    template: str
    parts: tuple[Option | str, ...]

    def __new__(cls, template: str, *parts: Option | str) -> Phrase:
        """Write the options as a recipe does."""
        phrase = super().__new__(cls, template.format(*(_written(part, Option.in_recipe) for part in parts)))
        phrase.template, phrase.parts = template, parts
        return phrase

    @classmethod
    def joined(cls, separator: str, texts: Iterable[str]) -> Phrase:
        """Some texts in a row; those that are phrases stay phrases."""
        parts = tuple(texts)
        return cls(separator.join(["{}"] * len(parts)), *parts)

    def written(self, write: Callable[[Option], str]) -> str:
        """The text with each option as `write` writes it."""
        return self.template.format(*(_written(part, write) for part in self.parts))

    def __getnewargs__(self) -> tuple[Any, ...]:
        """What a copy is made of."""
        return (self.template, *self.parts)


def _written(part: Option | str, write: Callable[[Option], str]) -> str:
    if isinstance(part, Option):
        return write(part)
    return part.written(write) if isinstance(part, Phrase) else str(part)


class MunjangError(Exception):
    """A failure with a place and a remedy. Each text may be a `Phrase`, which names options.

    Args:
        what: one sentence, what is wrong.
        where: `file:line:column`, an option such as `stage.bi.model`, or a folder.
        expected: what would have been accepted.
        got: what was found instead.
        hint: the next command, or what to change.
    """

    code = "internal"
    exit_status = 70
    http_status = 500

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        place = Phrase("{}", where) if isinstance(where, Option) else where
        self.where = place if place is None or isinstance(place, str) else str(place)
        self.expected = expected
        self.got = got
        self.hint = hint
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """The whole error on one line, for logs and for `str(error)`."""
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.hint is not None:
            parts.append(self.hint)
        return " ".join("; ".join(parts).split("\n"))

    def rewritten(self, write: Callable[[Option], str]) -> MunjangError:
        """The same error with each option that it names as `write` writes it."""
        texts = (self.what, self.where, self.expected, self.got, self.hint)
        what, where, expected, got, hint = (t.written(write) if isinstance(t, Phrase) else t for t in texts)
        return type(self)(what or "", where=where, expected=expected, got=got, hint=hint)

    def inside(self, option: Option) -> None:
        """Say besides which option named what is wrong."""
        # The name of a data set by itself, such as `data:gold.tsv`, may say as much as its file.
        value = str(option.value)
        same = self.where is None or self.where in (value, value.partition(":")[2])
        self.where = Phrase("{}", option) if same else Phrase("{} ({})", option, self.where)
        self.args = (self.sentence(),)

    def as_dict(self) -> dict[str, str | None]:
        """The error as every JSON output carries it."""
        return {
            "code": self.code,
            "message": self.what,
            "where": self.where,
            "expected": self.expected,
            "got": self.got,
            "hint": self.hint,
        }


class UsageError(MunjangError):
    """The command line could not be read."""

    code, exit_status, http_status = "usage", 2, 400


class DataError(MunjangError):
    """The content of a data set is wrong."""

    code, exit_status, http_status = "data", 65, 422


class MissingInputError(MunjangError):
    """A file, a column, a data set or a model that was named does not exist."""

    code, exit_status, http_status = "missing-input", 66, 404


class UnavailableError(MunjangError):
    """A hub cannot be reached, or an optional extra is not installed."""

    code, exit_status, http_status = "unavailable", 69, 503


class DiskError(MunjangError):
    """The operating system refused to read or write."""

    code, exit_status, http_status = "disk", 74, 507


class LockedError(MunjangError):
    """Another process is at work in the same directory."""

    code, exit_status, http_status = "locked", 75, 409


class ConfigError(MunjangError):
    """A recipe or an option is wrong."""

    code, exit_status, http_status = "config", 78, 400


def missing_extra(package: str, extra: str) -> UnavailableError:
    """The one line for an optional dependency that is not installed."""
    return UnavailableError(
        f"this needs the package {package}, which is not installed",
        hint=f"run: pip install 'munjang[{extra}]'",
    )


def from_os_error(error: OSError, where: object, *, doing: str) -> MunjangError:
    """Translate an `OSError` at the boundary to the disk.

    Args:
        error: what the operating system raised.
        where: the path at hand.
        doing: the verb, such as `"write"`.
    """
    if isinstance(error, FileNotFoundError) and doing != "write":
        return MissingInputError("no such file or folder", where=where, hint="check the spelling of the path")
    if isinstance(error, IsADirectoryError | NotADirectoryError) and doing != "write":
        return MissingInputError(f"cannot {doing}: {error.strerror}", where=where)
    in_the_way = "a file stands where a folder is needed: name another folder, or move the file away"
    hints = {
        errno.EEXIST: in_the_way,
        errno.ENOTDIR: in_the_way,
        errno.ENOSPC: "free some space and run the same command again; nothing that was finished is lost",
        errno.EDQUOT: "free some space within your quota and run the same command again",
        errno.EFBIG: "raise the limit on file sizes (ulimit -f) and run the same command again",
        errno.EROFS: "name a folder on a disk that can be written",
        errno.EACCES: "check the owner and the mode of the folder",
        errno.EPERM: "check the owner and the mode of the folder",
    }
    return DiskError(f"cannot {doing}: {error.strerror or error}", where=where, hint=hints.get(error.errno or 0))
