"""How long work says how far it is; the command line draws it, a library user may ignore it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Called now and then by work that takes long."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report.

        Args:
            done: units finished.
            total: units in all.
            note: what else is worth a look, such as the loss.
        """


def silent(done: int, total: int, note: str = "") -> None:
    """Reports nothing."""
    del done, total, note


@dataclass(frozen=True)
class Show:
    """How a verb tells what it does; silent by default."""

    progress: Callable[[str], Progress] = lambda title: silent
    """Opens a progress display with a title."""
    say: Callable[[str], None] = lambda line: None
    """Prints a line."""


#: Says nothing.
QUIET = Show()
