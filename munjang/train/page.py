"""Writes what a training did as one HTML page that needs no network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from munjang.page import COLOURS, GREY, figure_html, in_both, label, render_page, write_page

PAGE_FILE = "training.html"
#: Points that a line shows; more only make the page heavy.
_MOST_POINTS = 2_000
_BLUE, _ORANGE, _GREEN, _VIOLET = COLOURS[:4]
_PANEL_HEIGHT = 190


class Count(NamedTuple):
    """A number of the report that the page shows, with its words in Korean and English."""

    key: str
    label: tuple[str, str]
    note: tuple[str, str]


#: In the order in which the page shows them.
_COUNTS = (
    Count("rows", ("행", "rows"), ("학습한 서로 다른 행", "distinct rows that were trained on")),
    Count(
        "excluded",
        ("제외", "excluded"),
        ("따로 둔 데이터와 문장을 공유하여 뺀 것", "left out: they share a sentence with a set held out"),
    ),
    Count(
        "truncated",
        ("잘림", "truncated"),
        ("모델이 읽는 길이보다 길어 자른 것", "longer than the model reads, and cut"),
    ),
    Count("steps", ("스텝", "steps"), ("가중치를 고친 횟수", "updates of the weights")),
    Count("tokens", ("토큰", "tokens"), ("스텝들이 읽은 것, 패딩 제외", "read by the steps, without padding")),
    Count("padding", ("패딩", "padding"), ("계산한 토큰 가운데 비율", "share of the computed tokens")),
    Count("seconds", ("시간", "time"), ("학습에 쓴 시간", "spent on training")),
    Count("tokens_per_second", ("초당 토큰", "tokens per second"), ("패딩 제외", "without padding")),
)
_KOREAN = {"undefined": "정의되지 않음", "not set": "정하지 않음", "none": "없음", "score": "점수"}
_KOREAN_UNITS = {"h": "시간", "min": "분", "s": "초"}


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
    write_page(out / PAGE_FILE, training_page(title, report, settings))


def training_page(title: str, report: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The page as HTML; see `write_training_page`."""
    panels = _panels(report)
    curve = report.get("curve") or []
    return render_page(
        "munjang.train",
        "training.html",
        plots=bool(panels),
        title=title,
        metric=_said(_metric(report)),
        report=report,
        before=_number(report.get("dev_before")),
        best=_number(report.get("dev_best")),
        gain=_gain(report),
        score=lambda value: _said(format_score(value)),
        plot=_plot(panels, report) if panels else "",
        curve=curve,
        undefined=sum(_number(point.get("dev")) is None for point in curve),
        counts=[(count, _said(format_count(count.key, report[count.key]))) for count in _COUNTS if count.key in report],
        settings=[
            (name, value if isinstance(value, str) else _said(format_setting(value)))
            for name, value in settings.items()
        ],
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


def _said(text: str) -> Any:
    """A value in both languages: a word in place of one, or a time."""
    time = re.sub(r"(?<=\d) (h|min|s)\b", lambda unit: _KOREAN_UNITS[unit[1]], text)
    return in_both(_KOREAN.get(text, time), text)


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
        Panel("손실 · loss", _series(report.get("losses") or metrics, "loss"), _BLUE),
        Panel("dev: " + _metric(report), _series(report.get("curve") or metrics, "dev"), _ORANGE, markers=True),
        Panel("학습률 · learning rate", _series(metrics, "learning_rate"), _GREEN),
        Panel("초당 토큰 · tokens per second", _series(metrics, "tokens_per_second"), _VIOLET, ticks=","),
    )
    return [panel for panel in panels if panel.points]


def _plot(panels: Sequence[Panel], report: Mapping[str, Any]) -> str:
    """The panels below each other over one axis of steps, so that a phone shows them as well as a wide screen."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=len(panels),
        shared_xaxes=True,
        vertical_spacing=0.32 / (len(panels) + 0.6),
        subplot_titles=[label(panel.title) for panel in panels],
    )
    # Titles stand at the left, where a line begins to be read, and not over the middle.
    figure.update_annotations(x=0, xanchor="left", font_size=14)
    for number, panel in enumerate(panels, 1):
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
            hovertemplate="스텝 · step %{x:,}: %{y:.4~g}<extra>" + label(panel.title) + "</extra>",
        )
        figure.update_yaxes(tickformat=panel.ticks, row=number, col=1)
        if panel.markers:
            _mark_best(figure, number, report)
    last = report.get("steps") or max(panel.points[-1][0] for panel in panels)
    figure.update_xaxes(range=[-0.02 * last, 1.02 * last], tickformat=",")
    figure.update_xaxes(title="스텝 · step", row=len(panels), col=1)
    figure.update_yaxes(nticks=5, exponentformat="e")
    figure.update_layout(showlegend=False)
    return figure_html(figure, "steps", _PANEL_HEIGHT * len(panels) + 70, top=30)


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
            line={"color": GREY, "width": 1.5, "dash": "dash"},
            hovertemplate="시작 · start: %{y:.2f}<extra></extra>",
        )
    if best is not None and step is not None:
        figure.add_scatter(
            row=number,
            col=1,
            x=[step],
            y=[best],
            mode="markers",
            marker={"size": 15, "symbol": "star", "color": _ORANGE, "line": {"color": "#ffffff", "width": 1}},
            hovertemplate="가장 좋음 · best, 스텝 · step %{x:,}: %{y:.2f}<extra></extra>",
            cliponaxis=False,
        )
