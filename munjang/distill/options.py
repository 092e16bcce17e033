"""Options of planning a distillation; no torch is imported to read them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from munjang.config.recipe import BiEncoder, Frozen, StageOnlyBiEncoder, StageOptions, TrainingRows
from munjang.errors import ConfigError
from munjang.models.pieces import require_scripts

#: Share of dev's texts that should keep their tokens where the vocabulary is trimmed.
WELL_COVERED = 0.9


class DistillPlan(Frozen):
    """What is to be distilled, on what, and how long the students may be trained."""

    data: list[str] = Field(min_length=1)
    """Rows with texts: sentences, parallel pairs, scored pairs and others. The students learn the teacher's vectors of them."""
    dev: list[str] = Field(min_length=1)
    """Rows that choose the weights of a student and measure it, such as scored pairs; of several sets the mean counts.
    Never a test split."""
    model: str | None = None
    """Bi-encoder whose layers the students take; by default the teacher."""
    budget_minutes: float = Field(default=30.0, gt=0)
    """Minutes of training for all students together. The teacher's vectors and the measurements come on top."""
    exclude: list[str] = Field(default_factory=list)
    """Test sets: no training sees a sentence of theirs."""
    trim: bool | None = None
    """Cut the vocabulary to the pieces of the data; by default where it has more than 40,000."""
    keep_scripts: list[str] = Field(default_factory=list)
    """Scripts of which all pieces stay besides, such as `hangul` and `latin`."""
    keep: float = Field(default=0.98, gt=0, le=1)
    """Share of the best student's dev score that the chosen one must reach."""
    epochs: float = Field(default=3.0, gt=0, le=100)
    """Passes over the data when the chosen student is trained in full; at most as many in the plan."""

    @field_validator("keep_scripts")
    @classmethod
    def _known_scripts(cls, value: list[str]) -> list[str]:
        try:
            require_scripts(value)
        except ConfigError as error:
            raise ValueError(error.sentence()) from None
        return value


class PlanOptions(StageOptions):
    """Measure students of one teacher, and take the fastest that is good enough."""

    kind: ClassVar[str] = "plan"
    produces: ClassVar[str] = "plan"

    teacher: BiEncoder
    """The bi-encoder whose vectors the students learn."""
    start: BiEncoder | None = None
    """The bi-encoder whose layers they took, if that is another one; it is measured as well."""
    students: dict[str, StageOnlyBiEncoder] = Field(min_length=1)
    """Label -> the stage that made the student."""
    dev: list[TrainingRows] = Field(min_length=1)
    """Rows that measure quality, and whose texts measure speed; of several sets the mean counts. Never a test split."""
    keep: float = Field(default=0.98, gt=0, le=1)
    """Share of the best student's dev score that the chosen one must reach; of those that do, the fastest is taken."""
    epochs: float = Field(default=3.0, gt=0, le=100)
    """Passes over the data in the recipe that is written for the chosen student."""
