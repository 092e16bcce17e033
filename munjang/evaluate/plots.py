"""The figures of the report: each takes cells of one table and returns a plotly figure, or None where there is nothing to show.

Models keep their colour through the page: it is their place in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from munjang.evaluate import statistics
from munjang.evaluate.korean import korean
from munjang.evaluate.table import Cell, Table
from munjang.page import COLOURS, GREY, label, number

#: Points that a scatter shows of a model; more only hide each other.
_MOST_POINTS = 1_500
_BINS = 10


def intervals(table: Table) -> Any:
    """Main metric and interval of each model: a band a set, a line in it a model, so that none hides another."""
    go = _plotly()
    figure, sets, labels = go.Figure(), table.sets, table.labels
    for place, name in enumerate(labels):
        cells = [c for c in table.cells if c.label == name and c.estimate.value is not None]
        if not cells:
            continue
        shift = (place + 1) / (len(labels) + 1) - 0.5
        figure.add_scatter(
            name=label(name),
            x=[number(c.estimate.value) for c in cells],
            y=[sets.index(c.set) + shift for c in cells],
            text=[f"{label(c.set)}, {_in_both(c.main.label)}" for c in cells],
            mode="markers",
            marker={"size": 11, "color": colour(place), "symbol": place % 20},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_width(c.estimate.value, c.estimate.high) for c in cells],
                "arrayminus": [_width(c.estimate.low, c.estimate.value) for c in cells],
            },
            hovertemplate="%{text}: %{x:.2f}<extra>" + label(name) + "</extra>",
        )
    ticks = {"tickvals": list(range(len(sets))), "ticktext": [label(name, 40) for name in sets]}
    figure.update_yaxes(range=[len(sets) - 0.5, -0.5], showgrid=False, **ticks)
    for line in range(len(sets) - 1):
        figure.add_hline(y=line + 0.5, line_color="rgba(128,128,128,0.35)", line_width=1)
    figure.update_xaxes(title="x 100")
    return figure


def frontier(table: Table, by: str) -> Any:
    """Mean of the main metrics against speed or size, with the Pareto front: no model is better and cheaper than one on it.

    Args:
        table: of which only the sets count that every model was measured on.
        by: `speed` (texts or pairs a second) or `size` (megabytes of weights).
    """
    points, _ = _costs(table, by)
    if len(points) < 2:
        return None
    figure = _plotly().Figure()
    better = max if by == "speed" else min
    front = [p for p in points if not any(_dominates(q, p, better) for q in points)]
    front.sort(key=lambda point: point[1])
    figure.add_scatter(
        name="Pareto",
        x=[cost for _, cost, _ in front],
        y=[number(value) for _, _, value in front],
        mode="lines",
        line={"color": GREY, "dash": "dot", "width": 1.5},
        hoverinfo="skip",
    )
    for name, cost, value in points:
        place = table.labels.index(name)
        figure.add_scatter(
            name=label(name),
            x=[cost],
            y=[number(value)],
            mode="markers",
            marker={"size": 13, "color": colour(place), "symbol": place % 20},
            hovertemplate="%{x:,.4~g}: %{y:.2f}<extra>" + label(name) + "</extra>",
        )
    unit = "초당 · a second" if by == "speed" else "가중치 MB · MB of weights"
    # Doublings: 100, 200, 400 read easier than powers of ten with small digits between.
    figure.update_xaxes(title=unit, type="log", dtick=float(np.log10(2)), tickformat=",.3~r")
    figure.update_yaxes(title="평균 · mean, x 100")
    return figure


def no_frontier(table: Table, by: str) -> str:
    """Why there is no figure of quality against a cost; empty where there is one, or one model alone."""
    points, reason = _costs(table, by)
    return reason if len(points) < 2 <= len(table.labels) else ""


def scatter(cells: Sequence[Cell], table: Table, shown: str) -> Any:
    """Gold scores against predicted ones; the legend switches the models, `shown` is on at first."""
    figure = _plotly().Figure()
    for cell in cells:
        gold, predicted = (cell.first.columns[name] for name in ("gold", "predicted"))
        rows = thinned(len(gold))
        figure.add_scatter(
            name=label(cell.label),
            x=[number(gold[i]) for i in rows],
            y=[number(predicted[i]) for i in rows],
            mode="markers",
            visible=True if cell.label == shown else "legendonly",
            marker={"size": 6, "opacity": 0.45, "color": colour(table.labels.index(cell.label))},
            customdata=[["<br>".join(label(text) for text in _texts(cell, i))] for i in rows],
            hovertemplate="%{customdata[0]}<br>정답 · gold %{x:.2f}, 예측 · predicted %{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(title="정답 · gold")
    figure.update_yaxes(title="예측 · predicted")
    return figure


def residuals(cells: Sequence[Cell], table: Table) -> Any:
    """How far the rank of a pair is from its gold rank, as shares of the pairs: narrow is good, a shift shows a bias."""
    figure = _plotly().Figure()
    edges = np.linspace(-1, 1, 41)
    for cell in cells:
        counts, _ = np.histogram(rank_gap(cell), edges)
        figure.add_scatter(
            name=label(cell.label),
            x=((edges[1:] + edges[:-1]) / 2).round(3).tolist(),
            y=(counts / max(counts.sum(), 1)).round(4).tolist(),
            mode="lines",
            line={"color": colour(table.labels.index(cell.label)), "shape": "hvh", "width": 2},
        )
    figure.update_xaxes(title="예측 순위 - 정답 순위 · predicted rank - gold rank")
    figure.update_yaxes(title="쌍의 비율 · share of pairs", tickformat=".0%")
    return figure


def similarity_by_label(cell: Cell) -> Any:
    """Distribution of the predicted scores for each fifth of the gold scale, or for each class: they should stand apart."""
    gold, predicted = np.asarray(cell.first.columns["gold"], np.float64), cell.first.columns["predicted"]
    classes = set(np.unique(gold)) <= {0.0, 1.0}
    group = gold if classes else np.minimum((gold * 5).astype(int), 4)
    figure = _plotly().Figure()
    for place, value in enumerate(np.unique(group)):
        of_group = predicted[group == value]
        name = f"{int(value)}" if classes else f"{value / 5:.1f}-{(value + 1) / 5:.1f}"
        figure.add_violin(
            x=[number(v) for v in of_group[thinned(len(of_group), 400)]],
            name=name,
            side="positive",
            orientation="h",
            line={"color": colour(place), "width": 1.5},
            points=False,
            width=1.7,
            spanmode="hard",
            meanline={"visible": True},
            hoverinfo="skip",
        )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(title="정답 · gold")
    figure.update_xaxes(title="예측 · predicted")
    return figure


def reliability(cells: Sequence[Cell], table: Table) -> Any:
    """Whether scores mean what they say: mean gold score of the pairs by tenths of the predicted one."""
    figure, drawn = _plotly().Figure(), 0
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dot"}, showlegend=False)
    for cell in cells:
        predicted, gold = np.asarray(cell.first.columns["predicted"]), np.asarray(cell.first.columns["gold"])
        if predicted.min() < 0 or predicted.max() > 1:
            continue  # not on the scale of the gold scores
        tenth = np.minimum((predicted * _BINS).astype(int), _BINS - 1)
        filled = [b for b in range(_BINS) if (tenth == b).sum() >= 3]
        counts = [int((tenth == b).sum()) for b in filled]
        figure.add_scatter(
            name=label(cell.label),
            x=[number(float(predicted[tenth == b].mean())) for b in filled],
            y=[number(float(gold[tenth == b].mean())) for b in filled],
            mode="lines+markers",
            marker={
                "size": [7 + 14 * float(np.sqrt(n / max(counts))) for n in counts],
                "color": colour(table.labels.index(cell.label)),
            },
            customdata=counts,
            hovertemplate="예측 · predicted %{x:.2f}, 정답 · gold %{y:.2f}, %{customdata:,} 쌍 · pairs<extra></extra>",
        )
        drawn += 1
    figure.update_xaxes(title="예측 · predicted", range=[-0.03, 1.03])
    figure.update_yaxes(title="정답 평균 · mean gold", range=[-0.03, 1.03])
    return figure if drawn else None


def unit_values(cells: Sequence[Cell], table: Table) -> Any:
    """Of metrics that are a mean over units: share of the units that reach at most a value."""
    figure = _plotly().Figure()
    for cell in cells:
        values = np.sort(main_column(cell))
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        levels = np.linspace(0, 1, 51)
        shares = np.searchsorted(values, levels, side="right") / len(values)
        figure.add_scatter(
            name=label(cell.label),
            x=levels.round(3).tolist(),
            y=shares.round(4).tolist(),
            mode="lines",
            line={"color": colour(table.labels.index(cell.label)), "shape": "hv", "width": 2},
        )
    figure.update_xaxes(title=_in_both(cells[0].main.label))
    figure.update_yaxes(title="이하의 비율 · share at or below", tickformat=".0%", range=[0, 1.02])
    return figure


def text_map(cell: Cell) -> Any:
    """A sample of the set's texts by the first two principal components of their vectors."""
    points = cell.first.extra.get("map")
    if not points:
        return None
    figure = _plotly().Figure()
    figure.add_scatter(
        x=[p["x"] for p in points],
        y=[p["y"] for p in points],
        mode="markers",
        marker={"size": 7, "opacity": 0.6, "color": [p.get("colour", 0) for p in points], "colorscale": "Viridis"},
        customdata=[label(p["text"]) for p in points],
        hovertemplate="%{customdata}<extra></extra>",
    )
    figure.update_xaxes(showticklabels=False, title="PC 1")
    figure.update_yaxes(showticklabels=False, title="PC 2")
    return figure


def rank_gap(cell: Cell) -> np.ndarray:
    """Predicted rank less gold rank of each pair, as shares of the pairs: (units,), in -1..1."""
    gold, predicted = (np.asarray(cell.first.columns[name], np.float64) for name in ("gold", "predicted"))
    if not np.isfinite(predicted).all():
        return np.zeros(len(gold))
    return (rankdata(predicted) - rankdata(gold)) / len(gold)


def main_column(cell: Cell) -> np.ndarray:
    """What the main metric is the mean of: (units,)."""
    return np.asarray(cell.first.columns[cell.main.columns[0]], np.float64)


def is_mean(cell: Cell) -> bool:
    """True if the main metric is a mean over units, so that single units have a value."""
    return cell.main.statistic is statistics.mean


def thinned(count: int, most: int = _MOST_POINTS) -> np.ndarray:
    """Every n-th position, at most `most` of them, so that no part of a set is left out."""
    return np.arange(0, count, max(-(-count // most), 1))


def colour(place: int) -> str:
    """A model's colour by its place in the table."""
    return COLOURS[place % len(COLOURS)]


def _plotly() -> Any:
    import plotly.graph_objects

    return plotly.graph_objects


def _in_both(english: str) -> str:
    """A name in a plot, which no language can be chosen in."""
    return english if korean(english) == english else f"{korean(english)} · {english}"


def _width(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else round(high - low, 4)


def _texts(cell: Cell, unit: int) -> Sequence[str]:
    return cell.first.texts[unit] if len(cell.first.texts) else ()


def _costs(table: Table, by: str) -> tuple[list[tuple[str, float, float]], str]:
    """(label, cost, mean of the main metrics) of the models with a cost, over the sets that all of these share.

    Of speeds only those of the most frequent unit count.

    Returns:
        The models, and why there are fewer than two where that is so.
    """
    costs = {}
    units = [speed.unit for name in table.labels if (speed := table.speed(name)) is not None]
    for name in table.labels:
        subject, speed = table.subject(name), table.speed(name)
        if by == "speed" and speed is not None and speed.unit != max(units, key=units.count):
            continue  # texts, pairs and queries a second do not compare
        cost = (speed and speed.per_second) if by == "speed" else (subject and subject.megabytes)
        if cost:
            costs[name] = float(cost)
    if by == "speed" and len(costs) < 2 <= len(units):
        return [], "texts, pairs and queries a second do not compare"
    if len(costs) < 2:
        return [], "fewer than two models were measured"
    cells = [[table.cell(name, one) for name in costs] for one in table.sets]
    shared = [row for row in cells if all(c is not None and c.estimate.value is not None for c in row)]
    if not shared:
        return [], "no set has a value of each of these models"
    means = np.mean([[c.estimate.value for c in row if c is not None] for row in shared], axis=0)
    return [(name, cost, float(mean)) for (name, cost), mean in zip(costs.items(), means, strict=True)], ""


def _dominates(one: tuple[str, float, float], other: tuple[str, float, float], better: Any) -> bool:
    """True if one is at least as good and as cheap as the other, and better in one of the two."""
    as_cheap, as_good = better(one[1], other[1]) == one[1], one[2] >= other[2]
    return as_cheap and as_good and one[1:] != other[1:]
