"""One tree of errors: what went wrong, where, what was expected and found, and the next command.

Every error that a user can cause is a `MunjangError`. Its class fixes the code, the exit status (after
BSD's sysexits.h, so that scripts can tell causes apart) and the HTTP status. Anything else that escapes
is a bug and exits with 70.
"""

from __future__ import annotations

import errno

EXIT_STATUSES: dict[int, str] = {
    0: "done, or nothing to do",
    1: "done, and the doctor found errors",
    2: "the command line could not be read",
    3: "done, but a trained model is no better on dev than its start (see --allow-regression)",
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


class MunjangError(Exception):
    """A failure with a place and a remedy.

    Args:
        what: one sentence, what is wrong.
        where: `file:line:column`, a recipe path such as `stage[3].model`, or a folder.
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
        self.where = None if where is None else str(where)
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
    hints = {
        errno.ENOSPC: "free some space and run the same command again; nothing that was finished is lost",
        errno.EDQUOT: "free some space within your quota and run the same command again",
        errno.EFBIG: "raise the limit on file sizes (ulimit -f) and run the same command again",
        errno.EROFS: "name a folder on a disk that can be written",
        errno.EACCES: "check the owner and the mode of the folder",
        errno.EPERM: "check the owner and the mode of the folder",
    }
    return DiskError(f"cannot {doing}: {error.strerror or error}", where=where, hint=hints.get(error.errno or 0))
