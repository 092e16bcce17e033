"""munjang run"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from munjang import api
from munjang.cli.evaluate import evaluation_table, verdicts
from munjang.cli.output import (
    REGRESSED,
    Running,
    print_json,
    print_regression,
    program,
    relative,
    showing,
    stdout,
    table,
)


def run(
    recipe: Path,
    /,
    *,
    set: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    out: Path | None = None,
    explain: Annotated[bool, Parameter(negative=())] = False,
    allow_regression: Annotated[bool, Parameter(negative=())] = False,
    common: Running | None = None,
) -> int:
    """Walk a recipe from data to search; skip what is done, redo what was killed.

    Args:
        recipe: A TOML file, such as recipes/quickstart.toml.
        set: Change an option for this run, such as --set stage.bi.epochs=2.
        out: Directory of the run; runs/NAME by default.
        explain: Say what would run and why, and stop.
        allow_regression: Exit with 0 also where a trained model is no better on dev than its start.
    """
    common = common or Running()
    overrides = tuple(set or ())
    if explain:
        return _explain(api.explain(recipe, overrides=overrides, out=out), common.json)
    with showing(common.json) as show:
        result = api.run(recipe, overrides=overrides, out=out, device=common.device, show=show)
    if common.json:
        print_json(as_json(result))
    else:
        print_run(result)
    return regressions(result, allow_regression, quiet=common.json)


def regressions(result: api.RunResult, allowed: bool, *, quiet: bool) -> int:
    """Name the trained models that are no better on dev than their start; the exit status."""
    regressed = [outcome.name for outcome in result.outcomes if outcome.report.get("regressed")]
    for name in [] if quiet else regressed:
        print_regression(name)
    return REGRESSED if regressed and not allowed else 0


def _explain(plan: list[dict[str, str]], in_json: bool) -> int:
    if in_json:
        print_json(plan)
        return 0
    view = table("what this run would do", "stage", "kind", "state")
    for line in plan:
        view.add_row(line["stage"], line["kind"], line["reason"])
    stdout().print(view)
    return 0


def as_json(result: api.RunResult) -> dict[str, Any]:
    """A run as JSON values."""
    return {
        "recipe": result.recipe.name,
        "directory": str(result.directory),
        "nothing_to_do": result.nothing_to_do,
        "stages": [
            {"name": o.name, "directory": str(o.directory), "ran": o.ran, "reason": o.reason, "report": o.report}
            for o in result.outcomes
        ],
    }


def print_run(result: api.RunResult) -> None:
    """The last table of a run, its models, and where to go on."""
    console = stdout()
    evaluations = result.of_kind("evaluate")[-1:]
    for _, outcome in evaluations:
        console.print(evaluation_table(outcome.report, outcome.name))
    for _, outcome in result.of_kind("search"):
        console.print(_search_table(outcome.report))
    if result.nothing_to_do:
        console.print("nothing to do: every stage is finished")
    else:
        seconds = sum(o.report["seconds"] for o in result.outcomes if o.ran)
        console.print(f"{sum(o.ran for o in result.outcomes)} of {len(result.outcomes)} stages ran, {seconds:.0f} s")
    for _, outcome in evaluations:
        for line in verdicts(outcome.report):
            console.print(line)
        console.print(f"report: {relative(outcome.directory / 'report.html')}", soft_wrap=True)
    for stage, outcome in zip(result.recipe.stages, result.outcomes, strict=True):
        if stage.produces in ("bi-encoder", "cross-encoder"):
            console.print(f"{stage.produces} ({outcome.name}): {relative(outcome.directory / 'model')}", soft_wrap=True)
    if result.of_kind("index"):
        console.print(f'search: {program()} search {relative(result.directory)} "질문을 여기에"', soft_wrap=True)


def _search_table(report: dict[str, Any]) -> Any:
    from munjang.evaluate.report import format_estimate
    from munjang.evaluate.table import Estimate

    k = report["top_k"]
    view = table(f"search: {report['queries']} queries, x 100 with 95% intervals", "search", f"nDCG@{k}", f"MRR@{k}")
    first = escape(report["rows"][0]["search"])
    for row in report["rows"]:
        difference = row.get("against_first")
        versus = f"\n{format_estimate(Estimate.of(difference), signed=True)} vs {first}" if difference else ""
        ndcg, mrr = (format_estimate(Estimate.of(row[metric])) for metric in ("ndcg", "mrr"))
        view.add_row(escape(row["search"]), ndcg + versus, mrr)
    return view
