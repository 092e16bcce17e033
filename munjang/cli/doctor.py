"""munjang doctor"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape

from munjang import api
from munjang.cli.output import Common, Reading, print_json, relative, showing, stdout

if TYPE_CHECKING:
    from munjang.data.lint import Finding

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def doctor(
    *data: str,
    model: str | None = None,
    teacher: str | None = None,
    recipe: Path | None = None,
    known_tests: bool = True,
    fail_on: Literal["error", "warning", "note"] = "error",
    out: Annotated[Path | None, Parameter(negative=())] = None,
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Look for mistakes in data sets, a model and a recipe before anything is trained; exit status 1 if there are errors.

    Args:
        data: Catalogue names or files; name train, dev and test together to find leakage between them.
        model: Whose settings are looked at, and whose tokenizer is tried on the data; it is never loaded.
        teacher: A model whose vectors --model shall learn.
        recipe: A TOML file, looked at with the data and models that it names, without running it.
        known_tests: Compare what is not held out with the test sets of the catalogue on this machine as well.
        fail_on: The least severity that makes the exit status 1.
        out: Folder to make, with findings.json and report.html; must not exist.
    """
    from munjang.data.lint import SEVERITIES

    common = common or Common()
    with showing(common.json) as show:
        found = api.examine(
            data,
            model=model,
            teacher=teacher,
            recipe=recipe,
            known_tests=known_tests,
            out=out,
            show=show,
            **(reading or Reading()).settings(),
        )
    severe = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    status = int(any(finding.severity in severe for finding in found.findings))
    if common.json:
        print_json(found.as_dict())
        return status
    _print(found.findings)
    if out is not None:
        stdout().print(f"report: {relative(out / 'report.html')}", soft_wrap=True)
    return status


def _print(findings: list[Finding]) -> None:
    console = stdout()
    for finding in findings:
        colour = _COLOURS[finding.severity]
        console.print(
            f"[{colour}]{finding.severity}[/] {finding.code} ({escape(finding.where)}): {escape(finding.message)}",
            soft_wrap=True,
        )
        for name in ("example", "remedy"):
            value = getattr(finding, name)
            if value:
                console.print(f"  {name}: {escape(value)}", soft_wrap=True)
    if not findings:
        console.print("nothing found")
