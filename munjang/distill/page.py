"""Writes what a plan of distillation found as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from munjang.distill.options import WELL_COVERED
from munjang.distill.plot import trade_off
from munjang.page import render_page, write_page

PAGE_FILE = "plan.html"
#: Sizes of the figure in pixels, on a wide screen and on a phone.
_WIDE, _NARROW = (860, 430), (340, 380)


def write_plan_page(out: Path, title: str, report: Mapping[str, Any]) -> None:
    """Write `plan.html` into a folder.

    Args:
        out: an existing folder.
        title: of the plan.
        report: of the stage `plan`.
    """
    write_page(out / PAGE_FILE, plan_page(title, report))


def plan_page(title: str, report: Mapping[str, Any]) -> str:
    """The page as HTML; see `write_plan_page`."""
    models = report["models"]
    return render_page(
        "munjang.distill",
        "plan.html",
        title=title,
        report=report,
        models=models,
        teacher=models[0],
        chosen=next(one for one in models if one["chosen"]),
        best=max(one["dev"] for one in models if one["role"] == "student"),
        wide=trade_off(models, *_WIDE),
        narrow=trade_off(models, *_NARROW),
        several=len(models[0]["dev_by_set"]) > 1,
        uncovered=report["covered"] if report["covered"] is not None and report["covered"] < WELL_COVERED else None,
        regressed=[one for one in models if one["training"].get("regressed")],
    )
