"""The stage doctor: looks at data and models before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from munjang.config.recipe import AnyModel, AnyRows, Neutral, StageOptions
from munjang.errors import DataError
from munjang.pipeline.stage import Context


class DoctorOptions(StageOptions):
    """Look for mistakes in data sets and in a model, and for text that the model cannot see."""

    kind: ClassVar[str] = "doctor"
    version: ClassVar[int] = 2
    produces: ClassVar[str] = "findings"

    data: list[AnyRows] = Field(min_length=1)
    """The sets, train, dev and test together: leakage shows between them."""
    model: AnyModel | None = None
    """Whose settings are looked at, and whose tokenizer is tried on the data."""
    teacher: AnyModel | None = None
    """A model whose vectors `model` shall learn: the two must have one size."""
    known_tests: bool = False
    """Compare the sets with every test set of the catalogue on this machine as well. What is there differs from machine
    to machine and is no part of the fingerprint; so it is off, and on in the verb."""
    stop_on_error: Annotated[bool, Neutral()] = True
    """Whether a finding of severity `error` ends the run."""

    @model_validator(mode="after")
    def _student_of_a_teacher(self) -> DoctorOptions:
        if self.teacher is not None and self.model is None:
            raise ValueError("teacher has no effect without model")
        return self


def run_doctor(options: DoctorOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write `findings.json` and `report.html`; stop at an error unless told otherwise.

    Raises:
        DataError: a finding is an error, and the options do not say to go on.
    """
    from munjang.data.lint import count_by_severity, without_repeats
    from munjang.stages.examining import examine

    models = [] if options.model is None else [options.model]
    found = examine(context, options.data, models, options.teacher, known=options.known_tests)
    found.findings = without_repeats(found.findings)
    for finding in found.findings:
        context.say(f"  {finding.severity}: {finding.where}: {finding.message}")
    counts = count_by_severity(found.findings)
    if counts["error"] and options.stop_on_error:
        first = found.findings[0]
        raise DataError(first.message, where=first.where, got=first.example or None, hint=first.remedy or None)
    found.write(out, f"{context.recipe.title}: {options.name}")
    return {"findings": counts, "known_tests": found.as_dict()["known_tests"]}
