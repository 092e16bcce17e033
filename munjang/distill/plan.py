"""A plan of distillation as a recipe: students are cut, trained for a while, and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from munjang.config.recipe import DataSpec
from munjang.config.writing import Table, recipe_toml
from munjang.distill.options import DistillPlan

#: Name of the stage that measures and chooses.
PLAN_STAGE = "plan"
#: Pieces above which the vocabulary is trimmed where nothing is said.
MOST_PIECES = 40_000
#: Shares of the layers that are tried beside the whole.
_PARTS = (2 / 3, 1 / 2, 1 / 3, 1 / 4)


@dataclass(frozen=True)
class Candidate:
    """A student that is tried."""

    name: str
    convert: Mapping[str, Any] = field(default_factory=dict)
    """Options of the stage `convert` that make it, beyond a bi-encoder of the start."""
    share: float = 1.0
    """Of the start's forward pass that its own costs; never 0."""


def candidates(layers: int) -> list[Candidate]:
    """The students of a model.

    Args:
        layers: of its transformer.
    """
    counts = dict.fromkeys(max(round(layers * part), 1) for part in _PARTS)
    return [
        Candidate("whole"),
        *(Candidate(f"even-{n}", {"keep_layers": f"even-{n}"}, n / layers) for n in counts if n < layers),
        # Another kind of student is a line here.
    ]


@dataclass(frozen=True)
class Student:
    """A candidate with what was decided for it."""

    candidate: Candidate
    epochs: float | None
    """Passes over the data; None where it has the teacher's vectors already and there is nothing to learn."""

    @property
    def stage(self) -> str:
        """The name of the stage that makes it."""
        return f"convert-{self.candidate.name}" if self.epochs is None else f"train-{self.candidate.name}"


@dataclass(frozen=True)
class Names:
    """Models and data as the recipe names them."""

    teacher: str
    start: str
    data: Sequence[str]
    dev: Sequence[str]
    exclude: Sequence[str]
    specs: Mapping[str, DataSpec] = field(default_factory=dict)
    """What `data:KEY` among them names; the sources are catalogue names or absolute paths."""


def recipe_text(
    plan: DistillPlan,
    names: Names,
    students: Sequence[Student],
    *,
    trim: bool,
    projection: str | None,
    name: str,
    seed: int,
    made_for: str,
) -> str:
    """The recipe of a plan as TOML, to be run, read and changed.

    Args:
        plan: what was asked for.
        names: of what it reads.
        students: what is tried, with passes over the data.
        trim: cut the vocabulary to the data.
        projection: joins vectors of different sizes; see `TrainBiOptions.projection`.
        name: of the recipe.
        seed: of everything that is drawn.
        made_for: digest of the arguments; see `made_for_of`.
    """
    head = (
        "A plan of distillation, written by munjang distill plan. The passes over the data fit the budget on the machine",
        "on which it was written. The same command goes on with this file; run it with munjang run, or change it.",
        f"{_MADE_FOR}{made_for}",
    )
    data = {key: spec.model_dump(mode="json", exclude_defaults=True) for key, spec in names.specs.items()}
    stages = [
        *(stage for one in students for stage in _student(plan, names, one, trim, projection)),
        ("What each of them costs and gives.", _measured(plan, names, students)),
    ]
    return recipe_toml(name, "Plan of distillation", seed, data, stages, head)


_MADE_FOR = "Made for: "


def made_for_of(text: str) -> str | None:
    """The digest of the arguments that a recipe was made for, or None where it says none."""
    lines = (line.removeprefix("# ") for line in text.splitlines() if line.startswith(f"# {_MADE_FOR}"))
    return next((line.removeprefix(_MADE_FOR).strip() for line in lines), None)


def _student(
    plan: DistillPlan, names: Names, student: Student, trim: bool, projection: str | None
) -> Iterator[tuple[str, Table]]:
    """(comment, stage) of one student."""
    candidate = student.candidate
    convert = {"name": f"convert-{candidate.name}", "kind": "convert", "model": names.start, "to": "bi"}
    vocabulary = {"trim_vocab": names.data, "keep_scripts": plan.keep_scripts, "held_out": names.dev} if trim else {}
    yield "", {**convert, **candidate.convert, **vocabulary}
    if student.epochs is None:
        return
    yield (
        "",
        {
            "name": student.stage,
            "kind": "train.bi",
            "model": f"stage:{convert['name']}",
            "teacher": names.teacher,
            "objective": "distil",
            "projection": projection,
            "train": names.data,
            "dev": names.dev if len(names.dev) > 1 else names.dev[0],
            "exclude": names.exclude,
            "epochs": student.epochs,
            "evaluations": 1,
        },
    )


def _measured(plan: DistillPlan, names: Names, students: Sequence[Student]) -> Table:
    return {
        "name": PLAN_STAGE,
        "kind": "plan",
        "teacher": names.teacher,
        "start": names.start if names.start != names.teacher else None,
        "students": {one.candidate.name: f"stage:{one.stage}" for one in students},
        "dev": names.dev,
        "keep": plan.keep,
        "epochs": plan.epochs,
    }
