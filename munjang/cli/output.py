"""What the command line prints: progress and words to stderr, results to stdout, one JSON value with --json."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from munjang.errors import MunjangError
from munjang.progress import Progress, Show
from munjang.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


#: Exit status of a training that did not beat its start; see `munjang.errors.EXIT_STATUSES`.
REGRESSED = 3
#: Exit status of an evaluation of which a gate was not met.
GATE_FAILED = 4


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every verb."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print one JSON value and nothing else."""


@Parameter(name="*")
@dataclass(frozen=True)
class Running(Common):
    """Options of verbs that run a model."""

    device: str | None = None
    """Such as cpu or cuda; by default cuda, else mps, else cpu."""


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How files named on the command line are read; catalogue names need none of these."""

    scale: Annotated[tuple[float, float] | None, Parameter(negative=())] = None
    """Lowest and highest score of the files, such as --scale 0 5."""
    columns: dict[str, str] | None = None
    """Role -> column, such as --columns.sentence1 A --columns.sentence2 B --columns.score C."""
    encoding: str | None = None
    """Force an encoding, such as cp949."""
    rejects: Literal["stop", "skip"] = "stop"
    """stop at the first malformed row, or skip malformed rows and count them."""

    def settings(self) -> dict[str, Any]:
        """As fields of a `DataSpec`."""
        given = {"scale": self.scale, "columns": self.columns, "encoding": self.encoding}
        if self.rejects != "stop":
            given["rejects"] = self.rejects
        return {name: value for name, value in given.items() if value is not None}


class _Console(Console):
    """A console that leaves a closed pipe to the caller; Rich's own would exit with 1."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        if not self.stderr:
            raise BrokenPipeError


def stdout() -> Console:
    """For results; wide enough not to fold tables when the output goes to a file."""
    return _Console(width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False)


def stderr() -> Console:
    """For words and progress; where nobody reads them any more, the work goes on."""
    return _Console(stderr=True, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    sys.stdout.write(json.dumps(value, ensure_ascii=plain, indent=1, allow_nan=False, default=str) + "\n")


@contextmanager
def showing(quiet: bool) -> Iterator[Show]:
    """Progress bars on a terminal, a line now and then elsewhere, nothing when quiet."""
    if quiet:
        yield Show()
        return
    console = stderr()

    def say(line: str) -> None:
        console.print(escape(printable(line, 2_000)), soft_wrap=True)

    if not console.is_terminal:
        yield Show(lambda title: _lines(title, say), say)
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = [
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}  {task.fields[note]}"),
    ]
    with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:
        yield Show(lambda title: _bar(bars, title), say)


def _bar(bars: Bars, title: str) -> Progress:
    task = bars.add_task(escape(title), total=None, note="")

    def progress(done: int, total: int, note: str = "") -> None:
        bars.update(task, completed=done, total=total, note=note, visible=done < total)

    return progress


def _lines(title: str, say: Callable[[str], None], every: float = 15.0) -> Progress:
    began = last = time.monotonic()
    first: int | None = None

    def progress(done: int, total: int, note: str = "") -> None:
        nonlocal last, first, began
        if first is None:  # what a checkpoint had done already says nothing of the speed
            first, began = done, time.monotonic()
        if done == total or time.monotonic() - last < every:
            return
        last = time.monotonic()
        left = (total - done) * (last - began) / max(done - first, 1)
        say(f"  {title}: {done:,}/{total:,}  {note}  {_duration(left)} left")

    return progress


def _duration(seconds: float) -> str:
    """Such as `45 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_error(error: MunjangError, as_json: bool) -> None:
    """The one message of a failure: what, where, expected against got, and the next command."""
    if as_json:
        print_json({"error": error.as_dict()})
        return
    console = stderr()
    lines = "\n".join(printable(line, 4_000) for line in error.what.splitlines())
    console.print(f"[bold red]error:[/] {escape(lines)}", soft_wrap=True)
    for name in ("where", "expected", "got", "hint"):
        value = getattr(error, name)
        if value:
            console.print(f"  {name}: {escape(printable(value, 2_000))}", soft_wrap=True)


def print_regression(name: str) -> None:
    """The last line of a training that its start was better than."""
    text = (
        f"{name}: NO BETTER on dev than its start, whose weights were kept; --allow-regression takes that for success"
    )
    stdout().print(f"[bold red]{escape(printable(text))}[/]", soft_wrap=True)


def table(title: str, *columns: str) -> Table:
    """An empty table in the house style."""
    result = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
    for column in columns:
        result.add_column(column, overflow="fold")
    return result


def relative(path: Path) -> str:
    """A path as short as it can be said from here, safe to print."""
    with suppress(ValueError):
        path = path.resolve().relative_to(Path.cwd())
    return escape(str(path))


def program() -> str:
    """How the user starts this program again: `python -m munjang` where it was started so, `munjang` where the shell finds
    it, else the file that was started."""
    started = Path(sys.argv[0])
    if (started.parent.name, started.name) == ("munjang", "__main__.py"):
        # The shell's python may be another one, without this package; resolving the link would leave the environment.
        found = (name for name in ("python", "python3") if shutil.which(name) == sys.executable)
        return f"{next(found, escape(sys.executable))} -m munjang"
    return "munjang" if shutil.which("munjang") else relative(Path(sys.argv[0]))
