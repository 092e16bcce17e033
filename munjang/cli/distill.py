"""munjang distill plan"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from munjang import api
from munjang.cli.output import Reading, Running, print_json, program, relative, showing, stdout, table
from munjang.distill.options import WELL_COVERED, DistillPlan

#: Lists are written --data A B.
_FLAGS = Parameter(name="*", consume_multiple=(1, None), negative_iterable=())


def plan(
    teacher: str,
    /,
    *,
    plan: Annotated[DistillPlan, _FLAGS],
    out: Path = Path("runs/distill-plan"),
    seed: int = 42,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train several students briefly, show size, speed and quality of each, and write the recipe of the best trade.

    Students have all layers, two thirds, a half, a third and a quarter of them. The recipe stands in OUT/recipe.toml; the
    same command goes on where it was stopped. The last line that it prints trains the chosen student in full.

    Args:
        teacher: A bi-encoder: a bundled model, a folder, or a hub id.
        out: Directory of the run.
        seed: Of everything that is drawn.
    """
    common = common or Running()
    values = {name: getattr(plan, name) for name in plan.model_fields_set}
    with showing(common.json) as show:
        result = api.plan_distillation(
            teacher,
            out,
            seed=seed,
            device=common.device,
            show=show,
            reading=(reading or Reading()).settings(),
            **values,
        )
    _, outcome = result.of_kind("plan")[-1]
    files = {name: outcome.directory / file for name, file in (("page", "plan.html"), ("next", "chosen.toml"))}
    files["recipe"] = out / "recipe.toml"
    if common.json:
        print_json({**outcome.report, "files": {name: str(path) for name, path in files.items()}})
        return 0
    _print(outcome.report, files)
    return 0


def _print(report: dict[str, Any], files: dict[str, Path]) -> None:
    """The table, what is taken, and how to go on."""
    console = stdout()
    console.print(_table(report))
    console.print("*: no other student beats it in size, speed and dev together")
    chosen = next(one for one in report["models"] if one["chosen"])
    teacher = report["models"][0]
    console.print(
        f"chosen: {escape(chosen['label'])}, the fastest student with dev of at least {report['least_dev']:.2f} "
        f"({report['keep']:g} x the best): {chosen['per_second'] / teacher['per_second']:.1f} x the teacher's speed, "
        f"{chosen['bytes'] / teacher['bytes']:.2f} x its size, dev {chosen['dev'] - teacher['dev']:+.2f}",
        soft_wrap=True,
    )
    for one in report["models"]:
        if one["training"].get("regressed"):
            console.print(f"{escape(one['label'])}: its short training was no better on dev than its start")
    if report["covered"] is not None and report["covered"] < WELL_COVERED:
        console.print(
            f"the smaller vocabulary leaves only {report['covered']:.0%} of the texts of dev their tokens, which costs every "
            "student: name texts like those of dev too, or keep scripts, such as --keep-scripts hangul",
            soft_wrap=True,
        )
    seconds = report["full_seconds"]
    console.print(f"page: {relative(files['page'])}", soft_wrap=True)
    console.print(f"recipe: {relative(files['recipe'])}", soft_wrap=True)
    if seconds is not None:
        console.print(f"trained in full it takes about {max(seconds / 60, 0.1):,.1f} min:")
    console.print(f"next: {program()} run {relative(files['next'])}", soft_wrap=True)


def _table(report: dict[str, Any]) -> Any:
    view = table(
        f"students and their teacher, dev: {report['dev_metric']}",
        "model",
        "layers",
        "parameters",
        "MB",
        "sentences/s",
        "dev",
        "epochs",
        "",
    )
    for one in report["models"]:
        marks = ("*" if one["front"] else "") + (" chosen" if one["chosen"] else "")
        view.add_row(
            escape(one["label"]),
            "" if one["layers"] is None else f"{one['layers']}",
            f"{one['parameters'] / 1e6:,.1f} M",
            f"{one['bytes'] / 1e6:,.1f}",
            f"{one['per_second']:,.0f}",
            f"{one['dev']:.2f}",
            f"{one['training']['epochs']:g}" if one["training"] else "",
            marks.strip(),
        )
    return view
