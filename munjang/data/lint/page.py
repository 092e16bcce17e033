"""The doctor's findings as one HTML page that needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from munjang.data.lint.findings import SEVERITIES
from munjang.files import write_bytes

PAGE_FILE = "report.html"


def write_findings(out: Path, title: str, said: Mapping[str, Any]) -> None:
    """Write `report.html` into a folder.

    Args:
        out: an existing folder.
        title: heads the page.
        said: findings, sets, test sets and tokens; see `munjang.stages.examining.Examination.as_dict`.
    """
    # A lone surrogate (a file name in another encoding) is not UTF-8; escaped it can still be read.
    write_bytes(out / PAGE_FILE, findings_page(title, said).encode("utf-8", "backslashreplace"))


def findings_page(title: str, said: Mapping[str, Any]) -> str:
    """The page as HTML; see `write_findings`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("munjang.data.lint"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    by_severity = [(severity, [f for f in said["findings"] if f["severity"] == severity]) for severity in SEVERITIES]
    return environment.get_template("findings.html").render(title=title, said=said, by_severity=by_severity)
