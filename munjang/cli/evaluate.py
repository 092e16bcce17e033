"""munjang evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from munjang import api
from munjang.cli.output import Reading, Running, print_json, relative, showing, stdout, table
from munjang.errors import UsageError
from munjang.evaluate.naming import read_model
from munjang.evaluate.options import EvaluateOptions, Similarity


def evaluate(
    *models: str,
    on: Annotated[list[str], Parameter(consume_multiple=(1, None), negative=())],
    baseline: str | None = None,
    symmetric: bool = True,
    similarities: Annotated[list[Similarity] | None, Parameter(consume_multiple=True, negative=())] = None,
    rerank: int = 100,
    skip_missing: Annotated[bool, Parameter(negative=())] = False,
    out: Path = Path("evaluation"),
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Measure bi-encoders and cross-encoders, with 95% intervals.

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
        out: Folder for results.json, results.csv, rows.parquet and report.html; must not exist.
    """
    common = common or Running()
    if not models:
        raise UsageError("name at least one model")
    labelled = dict(read_model(m) for m in models)
    if len(labelled) < len(models):
        raise UsageError("two models have the same label", hint="give each its own: NAME=MODEL")
    if baseline is None and len(labelled) > 1:
        baseline = next(iter(labelled))
    with showing(common.json) as show:
        settings = (reading or Reading()).settings()
        sets, data = api.name_sets(on, settings, skip_missing=skip_missing, show=show)
        options = api.checked_options(
            EvaluateOptions,
            "evaluate",
            name="evaluate",
            models=labelled,
            on=sets,
            baseline=baseline,
            symmetric=symmetric,
            similarities=similarities or [],
            rerank=rerank,
        )
        report = api.run_stage(options, out, data=data, device=common.device, show=show)
    if common.json:
        print_json(report)
        return 0
    console = stdout()
    console.print(evaluation_table(report, "evaluation"))
    console.print(f"report: {relative(out / 'report.html')}", soft_wrap=True)
    return 0


def evaluation_table(report: dict[str, Any], title: str) -> Any:
    """The table of an evaluation's report: one row a model, one column a set."""
    from munjang.evaluate.metrics import Estimate
    from munjang.evaluate.report import format_estimate

    sets = list(report["sets"])
    view = table(f"{escape(title)}: Spearman x 100 with 95% intervals", "model", "kind", *map(escape, sets))
    cells = {(c["model"], c["set"]): c for c in report["cells"]}
    for model, about in report["models"].items():
        texts = []
        for name in sets:
            cell = cells[model, name]
            text = (
                format_estimate(Estimate.of(cell["spearman"]))
                + f"\nPearson {format_estimate(Estimate.of(cell['pearson']))}"
            )
            if cell["against_baseline"]:
                text += f"\n{format_estimate(Estimate.of(cell['against_baseline']), signed=True)} vs {escape(report['baseline'])}"
            texts.append(text)
        view.add_row(escape(model), about["kind"], *texts, end_section=True)
    return view
