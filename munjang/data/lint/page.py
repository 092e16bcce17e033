"""The doctor's findings as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from munjang.data.lint.findings import SEVERITIES
from munjang.page import render_page, write_page

PAGE_FILE = "report.html"


def write_findings(out: Path, title: str, said: Mapping[str, Any]) -> None:
    """Write `report.html` into a folder.

    Args:
        out: an existing folder.
        title: heads the page.
        said: findings, sets, test sets and tokens; see `munjang.stages.examining.Examination.as_dict`.
    """
    write_page(out / PAGE_FILE, findings_page(title, said))


def findings_page(title: str, said: Mapping[str, Any]) -> str:
    """The page as HTML; see `write_findings`."""
    by_severity = {severity: [f for f in said["findings"] if f["severity"] == severity] for severity in SEVERITIES}
    return render_page("munjang.data.lint", "findings.html", title=title, said=said, by_severity=by_severity)
