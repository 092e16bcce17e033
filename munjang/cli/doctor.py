"""munjang doctor"""

from __future__ import annotations

from rich.markup import escape

from munjang import api
from munjang.cli.output import Common, Reading, print_json, showing, stdout
from munjang.errors import UsageError

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def doctor(*data: str, model: str | None = None, reading: Reading | None = None, common: Common | None = None) -> int:
    """Look for mistakes in data sets before anything is trained; exit status 1 if there are errors.

    Args:
        data: Catalogue names or files; name train, dev and test together to find leakage between them.
        model: Whose tokenizer is tried on the data.
    """
    common = common or Common()
    if not data:
        raise UsageError("name at least one data set", hint="list them with: munjang data")
    with showing(common.json) as show:
        findings, read = api.examine(data, model=model, show=show, **(reading or Reading()).settings())
    failed = any(finding.severity == "error" for finding in findings)
    if common.json:
        print_json({"findings": [finding.as_dict() for finding in findings], "read": read})
        return int(failed)
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
    return int(failed)
