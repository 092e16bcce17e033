"""The stage doctor: looks at data and tokenizer before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from munjang.config.recipe import AnyModel, AnyRows, StageOptions
from munjang.data.lint import Finding, by_severity, lint
from munjang.data.readers import ROLES
from munjang.data.rows import sentences_of
from munjang.errors import DataError
from munjang.files import write_json
from munjang.models.tokens import lint_tokens, token_statistics
from munjang.pipeline.stage import Context
from munjang.stages.inputs import load_input_rows, model_folder


class DoctorOptions(StageOptions):
    """Look for mistakes in data sets, and for text that a model cannot see."""

    kind: ClassVar[str] = "doctor"
    produces: ClassVar[str] = "findings"

    data: list[AnyRows] = Field(min_length=1)
    """The sets, train, dev and test together: leakage shows between them."""
    model: AnyModel | None = None
    """Whose tokenizer is tried on the data."""
    stop_on_error: bool = True
    """Whether a finding of severity `error` ends the run."""


def examine(context: Context, data: list[str], model: str | None) -> list[Finding]:
    """Findings over some sets, errors first."""
    sets = {value.removeprefix("data:"): load_input_rows(context, value, tuple(ROLES)).rows for value in data}
    findings = lint(sets)
    if model is not None:
        folder = model_folder(context, model)
        for name, rows in sets.items():
            statistics = token_statistics(folder, sentences_of(rows))
            findings += lint_tokens(name, statistics) if statistics else []
    return by_severity(findings)


def run_doctor(options: DoctorOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write `findings.json`; stop at an error unless told otherwise."""
    findings = examine(context, options.data, options.model)
    counts = {s: sum(f.severity == s for f in findings) for s in ("error", "warning", "note")}
    for finding in findings:
        context.say(f"  {finding.severity}: {finding.where}: {finding.message}")
    if counts["error"] and options.stop_on_error:
        first = findings[0]
        raise DataError(first.message, where=first.where, got=first.example or None, hint=first.remedy or None)
    write_json(out / "findings.json", [finding.as_dict() for finding in findings])
    return {"findings": counts}
