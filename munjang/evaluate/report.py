"""Writes a table of an evaluation as JSON, as CSV, and as one HTML page that needs no network."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from munjang.evaluate import plots
from munjang.evaluate.changes import Change
from munjang.evaluate.korean import korean
from munjang.evaluate.statistics import RESAMPLES
from munjang.evaluate.table import ALPHA, Cell, Comparison, Estimate, Table
from munjang.evaluate.tasks import TASKS
from munjang.files import write_bytes, write_json
from munjang.page import figure_html, in_both, render_page, write_page

JSON_FILE, CSV_FILE, PAGE_FILE = "results.json", "results.csv", "report.html"
_WORST = 50
_COLUMNS = (
    *("model", "kind", "set", "task", "units", "metric", "value", "low", "high", "deviation", "reason"),
    *("against", "difference", "difference_low", "difference_high", "p", "p_holm", "p_williams", "verdict"),
)


@dataclass
class Plot:
    """A figure of the page with its words."""

    korean: str
    english: str
    html: str = ""
    missing: str = ""
    """Why there is no figure under these words."""


@dataclass
class Unit:
    """A pair, query or text that a model is furthest off with."""

    texts: Sequence[str]
    gold: str
    predicted: str
    side: str = ""


@dataclass
class Section:
    """What the page says of one set."""

    name: str
    task: str
    units: int
    unit: str
    plots: list[Plot] = field(default_factory=list)
    worst_of: str = ""
    worst: list[Unit] = field(default_factory=list)


def write_report(table: Table, out: Path, title: str, changed: Sequence[Change] = ()) -> None:
    """Write `results.json`, `results.csv` and `report.html` into a folder."""
    write_json(out / JSON_FILE, table.as_dict())
    write_bytes(out / CSV_FILE, results_csv(table).encode("utf-8-sig"))
    write_page(out / PAGE_FILE, report_page(table, title, changed))


def guard_cell(value: str) -> str:
    """A text cell that no spreadsheet takes for a formula: a leading = + - @ tab or return gets an apostrophe."""
    return "'" + value if value and value[0] in "=+-@\t\r＝＋－＠" else value


def results_csv(table: Table) -> str:
    """One line a model, set and metric; numbers x 100, empty where undefined."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(_COLUMNS)
    for cell in table.cells:
        first = cell.first
        for name, estimate in cell.estimates.items():
            head = [guard_cell(cell.label), first.subject.kind, guard_cell(cell.set), first.task, first.units, name]
            numbers = [_digits(n) for n in (estimate.value, estimate.low, estimate.high, cell.deviations[name])]
            compared = cell.against if cell.against and cell.against.metric == name else None
            writer.writerow([*head, *numbers, estimate.reason, *_compared_cells(compared)])
    return buffer.getvalue()


def _compared_cells(compared: Comparison | None) -> list[str]:
    if compared is None:
        return [""] * 8
    difference = compared.difference
    numbers = (difference.value, difference.low, difference.high, compared.p, compared.p_holm, compared.p_williams)
    return [guard_cell(compared.other), *map(_digits, numbers), compared.verdict]


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def format_estimate(estimate: Estimate | None, signed: bool = False, say: Callable[[str], str] = str) -> str:
    """`81.36 [79.1, 83.2]`, or the reason why there is no number, in the words that `say` gives for English ones."""
    if estimate is None:
        return "-"
    if estimate.value is None:
        return f"{say('undefined')}: {say(estimate.reason)}"
    sign = "+" if signed else ""
    text = f"{estimate.value:{sign}.2f}"
    if estimate.low is None or estimate.high is None:
        return f"{text} ({say(estimate.reason)})"
    return f"{text} [{estimate.low:{sign}.1f}, {estimate.high:{sign}.1f}]"


def report_page(table: Table, title: str, changed: Sequence[Change] = ()) -> str:
    """The page: the table with its verdicts, quality against cost, and what each set shows about the models."""
    overview = [
        Plot("구간", "Intervals", figure_html(plots.intervals(table), "intervals", _band_height(table))),
        *_frontier("속도와 품질", "Quality against speed", table, "speed"),
        *_frontier("크기와 품질", "Quality against size", table, "size"),
    ]
    return render_page(
        "munjang.evaluate",
        "report.html",
        plots=True,
        title=title,
        table=table,
        overview=overview,
        sections=[_section(table, name, place) for place, name in enumerate(table.sets)],
        changed=changed,
        highest={name: _highest(table, name) for name in table.sets},
        alpha=ALPHA,
        resamples=RESAMPLES,
        estimate=_estimate_in_both,
        said=lambda english: in_both(korean(english), english),
        quantity=format_quantity,
    )


def _estimate_in_both(estimate: Estimate | None, signed: bool = False) -> Any:
    return in_both(format_estimate(estimate, signed, korean), format_estimate(estimate, signed))


def format_quantity(value: float | None) -> str:
    """`117.7M`, `14.3k`, `1,234`, `8.25`: three digits that count; `-` for None."""
    if value is None:
        return "-"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.1f}{unit}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _band_height(table: Table) -> int:
    return 110 + 30 * len(table.labels) * len(table.sets)


def _optional(korean: str, english: str, figure: Any, name: str, height: int = 400) -> list[Plot]:
    return [] if figure is None else [Plot(korean, english, figure_html(figure, name, height))]


def _frontier(korean: str, english: str, table: Table, by: str) -> list[Plot]:
    missing = plots.no_frontier(table, by)
    if missing:
        return [Plot(korean, english, missing=missing)]
    return _optional(korean, english, plots.frontier(table, by), f"by-{by}")


def _highest(table: Table, name: str) -> float | None:
    """The highest value of a set's main metric, which the table shows in bold."""
    values = [c.estimate.value for c in table.cells if c.set == name and c.estimate.value is not None]
    return max(values) if len(values) > 1 else None


def _section(table: Table, name: str, place: int) -> Section:
    cells = [c for c in table.cells if c.set == name and c.estimate.value is not None]
    every = [c for c in table.cells if c.set == name]
    if not every:
        return Section(name, "", 0, "")
    task = TASKS[every[0].first.task]
    section = Section(name, task.label, every[0].first.units, task.unit)
    if cells:
        shown = _shown(cells)
        section.plots = (
            _pair_plots(table, cells, shown, place) if _has_scores(shown) else _unit_plots(table, cells, place)
        )
        section.plots += _optional("문장 지도", "Map of the texts", plots.text_map(_mapped(cells)), f"map-{place}", 460)
        section.worst_of, section.worst = shown.label, _worst(shown)
    return section


def _shown(cells: Sequence[Cell]) -> Cell:
    """The model that details are shown of: the last bi-encoder, which a recipe is after."""
    return next((c for c in reversed(cells) if c.first.subject.kind == "bi-encoder"), cells[-1])


def _mapped(cells: Sequence[Cell]) -> Cell:
    return next((c for c in reversed(cells) if c.first.extra.get("map")), cells[-1])


def _has_scores(cell: Cell) -> bool:
    return cell.first.task in ("sts", "pair-classification")


def _pair_plots(table: Table, cells: list[Cell], shown: Cell, place: int) -> list[Plot]:
    found = []
    if shown.first.task == "sts":
        figure = figure_html(plots.scatter(cells, table, shown.label), f"scatter-{place}", 420)
        found.append(Plot("정답과 예측", "Gold against predicted", figure))
        found.append(Plot("잔차", "Residuals", figure_html(plots.residuals(cells, table), f"residuals-{place}", 380)))
    by_label = figure_html(plots.similarity_by_label(shown), f"labels-{place}", 380)
    found.append(Plot(f"정답별 점수 분포: {shown.label}", f"Scores by gold: {shown.label}", by_label))
    crosses = [c for c in cells if c.first.subject.kind == "cross-encoder"]
    return found + _optional(
        "cross-encoder 점수의 신뢰도",
        "Reliability of cross-encoders",
        plots.reliability(crosses, table),
        f"reliable-{place}",
    )


def _unit_plots(table: Table, cells: list[Cell], place: int) -> list[Plot]:
    means = [c for c in cells if plots.is_mean(c) and len(np.unique(plots.main_column(c))) > 2]
    if not means:
        return []
    return _optional("분포", "Distribution", plots.unit_values(means, table), f"units-{place}", 360)


def _worst(cell: Cell) -> list[Unit]:
    if not len(cell.first.texts):
        return []
    if _has_scores(cell):
        return _worst_pairs(cell)
    return _worst_units(cell) if plots.is_mean(cell) else []


def _worst_pairs(cell: Cell) -> list[Unit]:
    """Pairs whose rank is furthest from their gold rank."""
    gap, columns = plots.rank_gap(cell), cell.first.columns
    order = np.argsort(-np.abs(gap), kind="stable")[:_WORST]
    return [
        Unit(
            cell.first.texts[i],
            f"{columns['gold'][i]:.2f}",
            f"{columns['predicted'][i]:.3f}",
            "too high" if gap[i] > 0 else "too low" if gap[i] < 0 else "",
        )
        for i in order
    ]


def _worst_units(cell: Cell) -> list[Unit]:
    """Units with the lowest value, those that are not perfect."""
    values = plots.main_column(cell)
    order = [i for i in np.argsort(values, kind="stable") if np.isfinite(values[i]) and values[i] < 1][:_WORST]
    given = cell.first.extra.get("names") or {}
    gold, predicted = (cell.first.columns.get(name) for name in ("gold", "predicted"))
    return [
        Unit(cell.first.texts[i], _class(gold, i, given), _class(predicted, i, given) or f"{100 * values[i]:.1f}")
        for i in order
    ]


def _class(column: np.ndarray | None, unit: int, names: Any) -> str:
    if column is None:
        return ""
    value = int(column[unit])
    return str(names[value]) if isinstance(names, list) and 0 <= value < len(names) else str(value)
