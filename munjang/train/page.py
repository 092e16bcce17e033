"""Writes what a training did as one HTML page that needs no network."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from munjang.files import write_bytes

PAGE_FILE = "training.html"
#: Points that a line shows; more only make the page heavy.
_MOST_POINTS = 2_000
_BLUE, _ORANGE, _GREEN, _VIOLET = "#3b6fd4", "#d9782d", "#2f9e77", "#b04fa8"
_GREY = "#808080"
#: As in the page. Plotly measures texts before they stand in it, so that they cannot inherit their font.
_FONT = 'system-ui, "Apple SD Gothic Neo", "Noto Sans KR", NanumGothic, sans-serif'
_PANEL_HEIGHT = 190

#: Counts of a report in the order in which the page shows them: key, label, note.
_COUNTS = (
    ("rows", "rows", "distinct rows that were trained on"),
    ("excluded", "excluded", "left out: they share a sentence with a set held out"),
    ("truncated", "truncated", "longer than the model reads, and cut"),
    ("steps", "steps", "updates of the weights"),
    ("tokens", "tokens", "read by the steps, without padding"),
    ("padding", "padding", "share of the computed tokens"),
    ("seconds", "time", "spent on training"),
    ("tokens_per_second", "tokens per second", "without padding"),
)


class Panel(NamedTuple):
    """One plot of the page: a line over the steps."""

    title: str
    points: list[tuple[int, float | None]]
    colour: str
    markers: bool = False
    ticks: str = ""
    """Format of its numbers, as d3 writes formats."""


def write_training_page(out: Path, title: str, report: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write `training.html` into a folder.

    Args:
        out: an existing folder.
        title: what was trained.
        report: `TrainReport.as_dict()`. What it lacks the page leaves out; what is None or not finite it calls
            undefined. `metrics` may hold the rows of a `MetricsLog`.
        settings: options and their values, shown in their order.
    """
    page = training_page(title, report, settings)
    # A lone surrogate (a file name in another encoding) is not UTF-8; escaped it can still be read.
    write_bytes(out / PAGE_FILE, page.encode("utf-8", "backslashreplace"))


def training_page(title: str, report: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The page as HTML; see `write_training_page`."""
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("munjang.train"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["score"] = format_score
    panels = _panels(report)
    curve = report.get("curve") or []
    return environment.get_template("training.html").render(
        title=title,
        metric=_metric(report),
        report=report,
        before=_number(report.get("dev_before")),
        best=_number(report.get("dev_best")),
        gain=_gain(report),
        plot=_plot(panels, report) if panels else None,
        curve=curve,
        undefined=sum(_number(point.get("dev")) is None for point in curve),
        counts=[(label, format_count(key, report[key]), note) for key, label, note in _COUNTS if key in report],
        settings=[(name, format_setting(value)) for name, value in settings.items()],
        plotly=get_plotlyjs() if panels else "",
    )


def format_score(value: Any) -> str:
    """`81.36`, or `undefined`."""
    number = _number(value)
    return "undefined" if number is None else f"{number:.2f}"


def format_count(key: str, value: Any) -> str:
    """A number of the report as it is read: thousands apart, a share in percent, a time in hours and minutes."""
    number = _number(value)
    if number is None:
        return "undefined"
    if key == "padding":
        return f"{100 * number:.1f} %"
    if key == "seconds":
        return format_seconds(number)
    return f"{number:,.0f}"


def format_seconds(seconds: float) -> str:
    """`12.3 s`, `4 min 05 s` or `1 h 02 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02} min"


def format_setting(value: Any) -> str:
    """An option's value as a recipe would hold it, without the quotes of a text; `not set` for None."""
    if value is None:
        return "not set"
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_setting, value)) or "none"
    return json.dumps(value, ensure_ascii=False, default=str)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _metric(report: Mapping[str, Any]) -> str:
    return str(report.get("dev_metric") or "score")


def _gain(report: Mapping[str, Any]) -> float | None:
    before, best = _number(report.get("dev_before")), _number(report.get("dev_best"))
    return None if before is None or best is None else best - before


def _series(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[int, float | None]]:
    """A column by step, None where it was undefined; thinned out evenly where there are very many points.

    Empty if no point is defined. The last point always stays.
    """
    points = [(row["step"], _number(row[name])) for row in rows if name in row]
    if all(value is None for _, value in points):
        return []
    every = math.ceil(len(points) / _MOST_POINTS)
    return points[::-1][::every][::-1]


def _panels(report: Mapping[str, Any]) -> list[Panel]:
    """The plots that the report has numbers for."""
    metrics = report.get("metrics") or []
    panels = (
        Panel("loss", _series(report.get("losses") or metrics, "loss"), _BLUE),
        Panel(_metric(report) + " on dev", _series(report.get("curve") or metrics, "dev"), _ORANGE, markers=True),
        Panel("learning rate", _series(metrics, "learning_rate"), _GREEN),
        Panel("tokens per second", _series(metrics, "tokens_per_second"), _VIOLET, ticks=","),
    )
    return [panel for panel in panels if panel.points]


def _plot(panels: Sequence[Panel], report: Mapping[str, Any]) -> str:
    """The panels below each other over one axis of steps, so that a phone shows them as well as a wide screen."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=len(panels),
        shared_xaxes=True,
        vertical_spacing=0.32 / (len(panels) + 0.6),
        subplot_titles=[html.escape(panel.title) for panel in panels],
    )
    # Titles stand at the left, where a line begins to be read, and not over the middle.
    figure.update_annotations(x=0, xanchor="left", font_size=14)
    for number, panel in enumerate(panels, 1):
        label = html.escape(panel.title)
        figure.add_scatter(
            row=number,
            col=1,
            x=[step for step, _ in panel.points],
            y=[value for _, value in panel.points],
            # A line of one point is not visible.
            mode="lines+markers" if panel.markers or len(panel.points) == 1 else "lines",
            line={"color": panel.colour, "width": 2},
            marker={"size": 7, "color": panel.colour},
            # A point that is undefined stays a gap.
            connectgaps=False,
            hovertemplate="step %{x:,}: %{y:.4~g}<extra>" + label + "</extra>",
        )
        figure.update_yaxes(tickformat=panel.ticks, row=number, col=1)
        if panel.markers:
            _mark_best(figure, number, report)
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "automargin": True}
    last = report.get("steps") or max(panel.points[-1][0] for panel in panels)
    figure.update_xaxes(range=[-0.02 * last, 1.02 * last], tickformat=",", **axis)
    figure.update_xaxes(title="step", row=len(panels), col=1)
    figure.update_yaxes(nticks=5, exponentformat="e", **axis)
    figure.update_layout(
        height=_PANEL_HEIGHT * len(panels) + 70,
        margin={"l": 10, "r": 12, "t": 30, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": _GREY, "family": _FONT},
        showlegend=False,
        dragmode=False,
    )
    config = {"responsive": True, "displayModeBar": False}
    # Named, because a random name would make two pages of one training differ.
    return figure.to_html(full_html=False, include_plotlyjs=False, config=config, div_id="steps")


def _mark_best(figure: Any, number: int, report: Mapping[str, Any]) -> None:
    """The start's score as a dashed line, and a star at the best step."""
    before, best, step = (_number(report.get(key)) for key in ("dev_before", "dev_best", "best_step"))
    if before is not None:
        # A trace and not a shape: the axis then makes room for it.
        figure.add_scatter(
            row=number,
            col=1,
            x=[0, report.get("steps") or figure.data[number - 1].x[-1]],
            y=[before, before],
            mode="lines",
            line={"color": _GREY, "width": 1.5, "dash": "dash"},
            hovertemplate="start: %{y:.2f}<extra></extra>",
        )
    if best is not None and step is not None:
        figure.add_scatter(
            row=number,
            col=1,
            x=[step],
            y=[best],
            mode="markers",
            marker={"size": 15, "symbol": "star", "color": _ORANGE, "line": {"color": "#ffffff", "width": 1}},
            hovertemplate="best, at step %{x:,}: %{y:.2f}<extra></extra>",
            cliponaxis=False,
        )
