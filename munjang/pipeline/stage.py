"""What a stage is to the pipeline: options, a function, and the inputs that it is handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from munjang.config.recipe import Recipe, StageOptions
from munjang.progress import Progress, silent


class Inputs(Protocol):
    """Turns the names in a stage's options into what they name; made by the layer that knows data and models."""

    def fingerprint(self, value: str, accepts: tuple[str, ...]) -> Any:
        """What decides the content of an input from outside the run, as JSON values.

        Args:
            value: as the recipe names it.
            accepts: what it may be, such as `bi-encoder` or `scored-pairs`.

        Raises:
            MissingInputError, DataError, UnavailableError: the input cannot be read.
        """


class Team(Protocol):
    """The processes that work on one run; see `munjang.train.team`."""

    size: int

    @property
    def leads(self) -> bool:
        """True for the process that writes."""

    def agree(self, value: Any) -> Any:
        """The value of the process that leads."""

    def wait(self) -> None:
        """Go on when all have come here."""


class Alone:
    """A team of one."""

    size = 1
    leads = True

    def agree(self, value: Any) -> Any:
        """The value."""
        return value

    def wait(self) -> None:
        """There is nobody to wait for."""
        return


@dataclass
class Context:
    """What a stage's function gets besides its options."""

    recipe: Recipe
    base: Path
    """The folder of the recipe; relative paths start here."""
    stages: dict[str, Path]
    """Directories of the stages that are done, by name."""
    device: str
    progress: Callable[[str], Progress] = field(default=lambda title: silent)
    """Opens a progress display with a title."""
    say: Callable[[str], None] = field(default=lambda line: None)
    """Prints a line for the user."""
    team: Team = field(default_factory=Alone)
    """The processes that work on the run together."""
    work: Path | None = None
    """A folder that outlives a kill, for what lets the stage at work go on; removed when the stage is done."""
    fingerprint: str = ""
    """Of the stage at work: everything that decides its result."""
    readings: list[dict[str, Any]] = field(default_factory=list)
    """What the stage at work has read, and which rows were rejected; goes into its report."""


StageFunction = Callable[[Any, Context, Path], dict[str, Any]]


@dataclass(frozen=True)
class StageKind:
    """One kind of stage: its options class and the function that fills a directory and returns the report."""

    options: type[StageOptions]
    run: StageFunction
    together: bool = False
    """True if all processes of a team work on it; else the one that leads does."""
