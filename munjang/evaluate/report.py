"""Writes an evaluation as JSON, CSV, rows in Parquet, and one HTML page that needs no network."""

from __future__ import annotations

import csv
import html
import io
from pathlib import Path
from typing import Any

import jinja2
import pyarrow
import pyarrow.parquet

from munjang.evaluate.metrics import Estimate
from munjang.evaluate.sts import Evaluation, gold_scores
from munjang.files import write_bytes, write_json

#: Points a scatter shows; more only hide each other.
_MOST_POINTS = 1_500
_WORST = 20
_COLOURS = ("#3b6fd4", "#d9782d", "#2f9e77", "#b04fa8", "#8a8f2a", "#c8434e")


def write_evaluation(result: Evaluation, out: Path, title: str) -> None:
    """Write `results.json`, `results.csv`, `rows.parquet` and `report.html` into a folder."""
    write_json(out / "results.json", result.as_dict())
    write_bytes(out / "results.csv", results_csv(result).encode("utf-8-sig"))
    pyarrow.parquet.write_table(_rows_table(result), out / "rows.parquet")
    write_bytes(out / "report.html", report_page(result, title).encode())


def guard_cell(value: str) -> str:
    """A text cell that no spreadsheet takes for a formula: a leading = + - @ tab or return gets an apostrophe."""
    return "'" + value if value and value[0] in "=+-@\t\r＝＋－＠" else value


def results_csv(result: Evaluation) -> str:
    """One line a model and set; numbers x 100, empty where undefined."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    estimates = ("spearman", "pearson", "difference")
    writer.writerow(
        ["model", "kind", "set", "rows", *(f"{e}{suffix}" for e in estimates for suffix in ("", "_low", "_high"))]
    )
    for cell in result.cells:
        numbers: list[float | None] = []
        for estimate in (cell.spearman, cell.pearson, cell.against_baseline or Estimate(None, None, None)):
            numbers.extend(estimate[:3])
        head = [guard_cell(cell.model), result.kinds[cell.model], guard_cell(cell.set), len(result.sets[cell.set])]
        writer.writerow([*head, *("" if n is None else f"{n:.4f}" for n in numbers)])
    return buffer.getvalue()


def _rows_table(result: Evaluation) -> pyarrow.Table:
    columns: dict[str, list[Any]] = {
        k: [] for k in ("set", "row", "sentence1", "sentence2", "gold", "model", "predicted")
    }
    for cell in result.cells:
        rows = result.sets[cell.set]
        columns["set"].extend([cell.set] * len(rows))
        columns["row"].extend(range(len(rows)))
        columns["sentence1"].extend(row.sentence1 for row in rows)
        columns["sentence2"].extend(row.sentence2 for row in rows)
        columns["gold"].extend(row.score for row in rows)
        columns["model"].extend([cell.model] * len(rows))
        columns["predicted"].extend(cell.predicted.tolist())
    return pyarrow.table(columns)


def report_page(result: Evaluation, title: str) -> str:
    """The page: the table, the intervals, gold against predicted scores, and the pairs that are furthest off."""
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("munjang.evaluate"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["estimate"] = format_estimate
    return environment.get_template("report.html").render(
        title=title,
        result=result,
        sets=list(result.sets),
        models=list(result.kinds),
        intervals=_intervals_plot(result),
        scatters=[(name, _scatter_plot(result, name)) for name in result.sets],
        worst=[(name, _worst_pairs(result, name)) for name in result.sets],
        plotly=get_plotlyjs(),
    )


def format_estimate(estimate: Estimate | None, signed: bool = False) -> str:
    """`81.36 [79.1, 83.2]`, or the reason why there is no number."""
    if estimate is None:
        return "-"
    if estimate.value is None:
        return f"undefined: {estimate.reason}"
    sign = "+" if signed else ""
    text = f"{estimate.value:{sign}.2f}"
    if estimate.low is None or estimate.high is None:
        return f"{text} ({estimate.reason})"
    return f"{text} [{estimate.low:{sign}.1f}, {estimate.high:{sign}.1f}]"


def _plot(figure: Any, height: int) -> str:
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#808080", "family": "inherit"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False})


def _intervals_plot(result: Evaluation) -> str:
    """Each set is a band of the y axis, each model a line in it, so that no interval hides another."""
    import plotly.graph_objects as go

    sets, models = list(result.sets), list(result.kinds)
    figure = go.Figure()
    for number, model in enumerate(models):
        cells = [c for c in result.cells if c.model == model and c.spearman.low is not None]
        shift = (number + 1) / (len(models) + 1) - 0.5
        label = html.escape(model)
        figure.add_scatter(
            name=label,
            x=[c.spearman.value for c in cells],
            y=[sets.index(c.set) + shift for c in cells],
            text=[html.escape(c.set) for c in cells],
            mode="markers",
            marker={"size": 11, "color": _COLOURS[number % len(_COLOURS)], "symbol": number},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [c.spearman.high - c.spearman.value for c in cells],
                "arrayminus": [c.spearman.value - c.spearman.low for c in cells],
            },
            hovertemplate="%{text}: %{x:.2f}<extra>" + label + "</extra>",
        )
    ticks = {"tickvals": list(range(len(sets))), "ticktext": [html.escape(name) for name in sets]}
    figure.update_yaxes(range=[len(sets) - 0.5, -0.5], showgrid=False, **ticks)
    for line in range(len(sets) - 1):
        figure.add_hline(y=line + 0.5, line_color="rgba(128,128,128,0.35)", line_width=1)
    figure.update_xaxes(title="Spearman x 100")
    return _plot(figure, 110 + 30 * len(models) * len(sets))


def _scatter_plot(result: Evaluation, name: str) -> str:
    import plotly.graph_objects as go

    rows = result.sets[name]
    step = max(len(rows) // _MOST_POINTS, 1)
    figure = go.Figure()
    for number, model in enumerate(result.kinds):
        cell = result.cell(model, name)
        figure.add_scatter(
            name=html.escape(model),
            x=[5 * row.score for row in rows[::step]],
            y=cell.predicted[::step].round(4).tolist(),
            mode="markers",
            visible=True if model == _shown_model(result) else "legendonly",
            marker={"size": 6, "opacity": 0.45, "color": _COLOURS[number % len(_COLOURS)]},
            customdata=[[html.escape(row.sentence1), html.escape(row.sentence2)] for row in rows[::step]],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>gold %{x:.1f}, predicted %{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(title="gold (0-5)")
    figure.update_yaxes(title="predicted")
    return _plot(figure, 420)


def _shown_model(result: Evaluation) -> str:
    """The model that details are shown of: the last bi-encoder, which a recipe is after."""
    bi_encoders = [model for model, kind in result.kinds.items() if kind == "bi-encoder"]
    return (bi_encoders or list(result.kinds))[-1]


def _worst_pairs(result: Evaluation, name: str) -> list[dict[str, Any]]:
    """Pairs whose rank under the shown model is furthest from their gold rank."""
    from scipy.stats import rankdata

    cell, rows = result.cell(_shown_model(result), name), result.sets[name]
    gold = rankdata(gold_scores(rows)) / len(rows)
    gap = rankdata(cell.predicted) / len(rows) - gold
    order = sorted(range(len(rows)), key=lambda i: -abs(gap[i]))[:_WORST]
    return [
        {
            "sentence1": rows[i].sentence1,
            "sentence2": rows[i].sentence2,
            "gold": 5 * rows[i].score,
            "predicted": float(cell.predicted[i]),
            "side": "too high" if gap[i] > 0 else "too low",
            "model": cell.model,
        }
        for i in order
    ]
