"""The figures of the page of silver labels: each takes numbers of the report and returns a plotly figure, or None where there
is nothing to show.

Counts come as lists of equal parts of a scale from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from munjang.page import COLOURS, GREY, label, number

_SILVER, _GOLD = COLOURS[:2]
#: A strategy keeps its colour, whichever others a run used.
_STRATEGY_COLOURS = dict(zip(("semantic", "bm25", "given", "kde", "random"), COLOURS, strict=False))
#: Knots of a curve that are drawn; more only make the page heavy.
_MOST_POINTS = 500
_SCORE, _SHARE = "점수 · score", "쌍의 비율 · share of pairs"


def scores(silver: Sequence[float] | None, gold: Sequence[float] | None) -> Any:
    """Silver scores as bars, gold's as a line over them; shares, because there are far fewer gold pairs."""
    figure = _bars([("silver", silver, _SILVER)], 1.0, shares=True)
    if figure is None:
        return None
    if gold and _total(gold):
        edges = [round(place / len(gold), 4) for place in range(len(gold) + 1)]
        heights = [None if count is None else count / _total(gold) for count in map(number, gold)]
        figure.add_scatter(
            name="gold",
            x=edges,
            # A step reaches from one edge to the next, so that the last height comes twice.
            y=[number(height) for height in [*heights, heights[-1]]],
            mode="lines",
            line={"color": _GOLD, "width": 2.5, "shape": "hv"},
            hovertemplate="gold %{y:.1%}<extra></extra>",
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title=_SCORE)
    figure.update_yaxes(title=_SHARE, tickformat=".2~p")
    return figure


def by_strategy(histograms: Mapping[str, Sequence[float]]) -> Any:
    """How many pairs each strategy brought at each score, stacked on each other."""
    spare = iter(COLOURS * (1 + len(histograms)))
    traces = [(name, counts, _STRATEGY_COLOURS.get(name) or next(spare)) for name, counts in histograms.items()]
    figure = _bars(traces, 1.0, shares=False)
    if figure is None:
        return None
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title=_SCORE)
    figure.update_yaxes(title="쌍 · pairs", tickformat=",")
    return figure


def disagreements(counts: Sequence[float] | None) -> Any:
    """How far teachers are apart, over 0..0.5: two that say 0 and 1 have a deviation of 0.5."""
    figure = _bars([("", counts, COLOURS[3])], 0.5, shares=True)
    if figure is None:
        return None
    figure.update_xaxes(title="표준편차 · deviation")
    figure.update_yaxes(title=_SHARE, tickformat=".2~p")
    return figure


def calibration(points: Sequence[Sequence[float]] | None) -> Any:
    """What a teacher's score becomes; on the dotted line it stays what it is."""
    found = [(number(raw), number(after)) for raw, after in points or ()]
    defined = [(raw, after) for raw, after in found if raw is not None and after is not None]
    if not defined:
        return None
    every = -(-len(defined) // _MOST_POINTS)
    kept = defined[::-1][::every][::-1]
    figure = _plotly().Figure()
    ends = [min(0.0, kept[0][0]), max(1.0, kept[-1][0])]
    line = {"color": GREY, "dash": "dot", "width": 1.5}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip")
    figure.add_scatter(
        x=[raw for raw, _ in kept],
        y=[after for _, after in kept],
        mode="lines+markers" if len(kept) <= 60 else "lines",
        line={"color": COLOURS[2], "width": 2},
        marker={"size": 6},
        hovertemplate="%{x:.3f} → %{y:.3f}<extra></extra>",
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title="교사의 점수 · score of the teacher")
    figure.update_yaxes(title="보정한 점수 · calibrated")
    return figure


def _bars(traces: Sequence[tuple[str, Sequence[float] | None, str]], high: float, shares: bool) -> Any:
    """Histograms (name, counts, colour) of a scale from 0 to `high`, stacked; None if nothing was counted."""
    figure = _plotly().Figure()
    for name, counts, colour in traces:
        if not counts or not _total(counts):
            continue
        width, total = high / len(counts), _total(counts)
        found = [number(count) for count in counts]
        figure.add_bar(
            name=label(name, 40),
            x=[round((place + 0.5) * width, 4) for place in range(len(counts))],
            y=[number(count / total) if shares and count is not None else count for count in found],
            width=width,
            marker={"color": colour, "line": {"width": 0}},
            customdata=[
                [f"{place * width:.3g}-{(place + 1) * width:.3g}", count or 0] for place, count in enumerate(found)
            ],
            hovertemplate="%{customdata[0]}: %{customdata[1]:,} 쌍 · pairs<extra>" + label(name, 40) + "</extra>",
        )
    if not figure.data:
        return None
    # Stacked bars would turn the legend's order around.
    figure.update_layout(barmode="stack", bargap=0, showlegend=False, legend={"traceorder": "normal"})
    figure.update_xaxes(range=[-0.01 * high, 1.01 * high])
    return figure


def _total(counts: Sequence[float]) -> float:
    return sum(count for count in map(number, counts) if count is not None and count > 0)


def _plotly() -> Any:
    import plotly.graph_objects

    return plotly.graph_objects
