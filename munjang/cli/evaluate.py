"""munjang evaluate, munjang report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from munjang import api
from munjang.cli.output import GATE_FAILED, Common, Reading, Running, print_json, relative, showing, stdout, table
from munjang.errors import UsageError
from munjang.evaluate.options import Similarity
from munjang.text import printable


def evaluate(
    *models: str,
    on: Annotated[list[str], Parameter(consume_multiple=(1, None), negative=())],
    baseline: str | None = None,
    symmetric: bool = True,
    similarities: Annotated[list[Similarity] | None, Parameter(consume_multiple=True, negative=())] = None,
    rerank: int = 100,
    skip_missing: Annotated[bool, Parameter(negative=())] = False,
    gate: Path | None = None,
    out: Path = Path("evaluation"),
    title: str = "Munjang",
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Measure bi-encoders and cross-encoders on any sets, with 95% intervals and verdicts.

    Args:
        models: bundled:e5-small, a folder, a hub id; NAME=MODEL gives it a label in the table, BI+CROSS lets a cross-encoder
            order anew what a bi-encoder finds, NAME=A,B,C are runs of one recipe under several seeds.
        on: Sets to measure on: catalogue names such as korsts:test or support-search, the group korean-sts, files, folders in
            the layout of BEIR, mteb:TASK; TASK@SET measures by another task than the one that the rows are made for.
        baseline: Label of the model that the others are compared with, row by row; the first by default.
        symmetric: Let cross-encoders score both orders of a pair.
        similarities: Correlate these with the scores too, beside the cosine.
        rerank: How many of the texts that a bi-encoder found the cross-encoder behind it orders anew.
        skip_missing: Leave out sets of the catalogue that are not here, and say so.
        gate: TOML file of what must be reached; exit status 4 where something is not.
        out: Folder of results: new, or of earlier evaluations, to which this one is added.
        title: Of the page.
    """
    common = common or Running()
    labelled = _labelled(models)
    if baseline is None and len(labelled) > 1:
        baseline = next(iter(labelled))
    with showing(common.json) as show:
        found, _, outcomes = api.evaluate(
            labelled,
            on,
            out,
            baseline=baseline,
            symmetric=symmetric,
            similarities=similarities or (),
            rerank=rerank,
            skip_missing=skip_missing,
            gate=gate,
            title=title,
            device=common.device,
            show=show,
            **(reading or Reading()).settings(),
        )
    if common.json:
        print_json({**found.as_dict(), "gates": [vars(outcome) for outcome in outcomes]})
    else:
        _print(found.as_dict(), out, title)
        _print_gates(outcomes)
    return 0 if all(outcome.passed for outcome in outcomes) else GATE_FAILED


def report(
    *folders: Path,
    out: Path = Path("report"),
    baseline: str | None = None,
    title: str = "Munjang",
    common: Common | None = None,
) -> int:
    """Make one page of the results of several evaluations or runs.

    Args:
        folders: Folders that munjang evaluate wrote, or directories of runs with an evaluate stage.
        out: Folder for results.json, results.csv and report.html; those of an earlier report are replaced.
        baseline: Label of the model that the others are compared with; none by default.
        title: Of the page.
    """
    common = common or Common()
    if not folders:
        raise UsageError("name at least one folder of results")
    found = api.report(folders, out, baseline=baseline, title=title).as_dict()
    if common.json:
        print_json(found)
    else:
        _print(found, out, title)
    return 0


def _labelled(models: tuple[str, ...]) -> dict[str, Any]:
    from munjang.evaluate.naming import read_model

    if not models:
        raise UsageError("name at least one model")
    labelled = dict(read_model(m) for m in models)
    if len(labelled) < len(models):
        raise UsageError("two models have the same label", hint="give each its own: NAME=MODEL")
    return labelled


def _print(found: dict[str, Any], out: Path, title: str) -> None:
    console = stdout()
    console.print(evaluation_table(found, title))
    for line in verdicts(found):
        console.print(line, soft_wrap=True)
    console.print(f"report: {relative(out / 'report.html')}", soft_wrap=True)


def _print_gates(outcomes: list[Any]) -> None:
    for outcome in outcomes:
        word = "[green]passed[/]" if outcome.passed else "[bold red]FAILED[/]"
        stdout().print(f"gate {word}: {escape(printable(outcome.sentence))}", soft_wrap=True)


def evaluation_table(found: dict[str, Any], title: str) -> Any:
    """The table of an evaluation: one row a model, one column a set."""
    sets, cells = list(found["sets"]), {(c["model"], c["set"]): c for c in found["cells"]}
    reasons = {(m["model"], m["set"]): m["reason"] for m in found["missing"]}
    view = table(f"{escape(title)}: x 100 with 95% intervals", "model", "kind", *map(escape, sets), "speed")
    for model, about in found["models"].items():
        texts = [
            escape(_cell_text(cells[model, name], found["baseline"]) if (model, name) in cells else f"- {reason}")
            for name in sets
            for reason in (reasons.get((model, name), ""),)
        ]
        view.add_row(escape(model), about.get("kind", ""), *texts, _speed_text(about), end_section=True)
    return view


def _cell_text(cell: dict[str, Any], baseline: str | None) -> str:
    from munjang.evaluate.report import format_estimate
    from munjang.evaluate.table import Estimate

    lines = []
    for number, (name, estimate) in enumerate(cell["metrics"].items()):
        text = format_estimate(Estimate.of(estimate))
        deviation = cell["deviations"][name]
        lines.append(f"{name} {text}" + (f" ±{deviation:.2f} over {cell['runs']}" if deviation is not None else ""))
        if number == 0 and cell["against"]:
            difference = format_estimate(Estimate.of(cell["against"]["difference"]), signed=True)
            lines.append(f"  {difference} vs {baseline}: {cell['against']['verdict']}")
    seen = cell["contamination"]
    if seen and (seen["units"] or seen["texts"]):
        lines.append(f"  trained on {seen['units']:,} of its rows, {seen['texts']:,} of its texts")
    return "\n".join(lines)


def _speed_text(about: dict[str, Any]) -> str:
    from munjang.evaluate.report import format_quantity

    speed = about.get("speed")
    lines = [f"{format_quantity(speed['per_second'])} {speed['unit']}/s"] if speed else []
    if speed and speed["p50_ms"] is not None:
        lines.append(f"p50 {format_quantity(speed['p50_ms'])} ms")
    if about.get("megabytes"):
        lines.append(f"{format_quantity(about['megabytes'])} MB")
    return "\n".join(lines)


def verdicts(found: dict[str, Any]) -> list[str]:
    """One line a model and set: better or worse than the baseline, or not told apart from it."""
    words = {"win": "better than", "worse": "WORSE than", "tie": "not told apart from"}
    lines = []
    for cell in found["cells"]:
        against = cell["against"]
        if against and against["verdict"] in words:
            difference = f"{against['difference']['value']:+.2f}, p = {against['p_holm']:.4f}"
            text = f"{cell['model']} on {cell['set']}: {words[against['verdict']]} {found['baseline']} ({difference})"
            lines.append(escape(printable(text)))
    return lines
