"""An evaluation on disk: numbers without NaN, cells that are no formulas, and a page that needs no network."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.data.rows import ScoredPair
from munjang.evaluate.metrics import Estimate, correlations, paired_difference
from munjang.evaluate.report import format_estimate, guard_cell, report_page, results_csv, write_evaluation
from munjang.evaluate.sts import Cell, Evaluation, gold_scores

HOSTILE = "</script><b>굵게</b><script>alert(1)</script> & \"따옴표\" 'x' {{ 7 * 7 }} %{y}"
LABELS = ("=HYPERLINK(1)", "</td><i>라벨</i>")


def evaluation(sets: dict[str, list[ScoredPair]], labels: tuple[str, ...] = ("bi", "cross")) -> Evaluation:
    """Models whose scores are the gold scores with noise; the first one is the baseline."""
    kinds = {label: ("bi-encoder", "cross-encoder")[n % 2] for n, label in enumerate(labels)}
    result = Evaluation(sets, kinds, labels[0], truncated={labels[-1]: 3})
    for number, label in enumerate(labels):
        for name, rows in sets.items():
            gold = gold_scores(rows)
            noise = np.random.default_rng(number).normal(size=len(rows))
            scores = (gold + 0.2 * noise).astype(np.float32)
            found = correlations(scores, gold)
            result.cells.append(Cell(label, name, scores, found["spearman"], found["pearson"]))
    for cell in result.cells:
        if cell.model != labels[0]:
            other = result.cell(labels[0], cell.set).predicted
            cell.against_baseline = paired_difference(cell.predicted, other, gold_scores(sets[cell.set]))
    return result


def pairs(count: int) -> list[ScoredPair]:
    return [ScoredPair(f"왼쪽 {n}", f"오른쪽 {n}", (n % 11) / 10) for n in range(count)]


@pytest.fixture(scope="module")
def hostile() -> Evaluation:
    rows = [*pairs(30), ScoredPair(HOSTILE, f"{HOSTILE} 둘", 0.0)]
    result = evaluation({"<b>set</b>": rows, "한 줄": pairs(1)}, LABELS)
    for cell in result.cells[::2]:
        cell.predicted[-1] = 1.0  # the furthest off, so that it stands in the table of such pairs
    return result


@pytest.fixture(scope="module")
def folder(hostile: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    write_evaluation(hostile, out, "<script>title</script>")
    return out


class Page(HTMLParser):
    """A page as a browser takes it apart: tags with their attributes, visible text, scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        {"script": self.scripts, "style": self.styles}.get(self._inside, self.text).append(data)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


# -- JSON, CSV, rows


def test_the_files_are_those_that_are_promised(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "results.csv", "results.json", "rows.parquet"]


def test_the_json_holds_no_nan_and_null_with_a_reason(folder: Path, hostile: Evaluation) -> None:
    def refuse(name: str) -> None:
        pytest.fail(f"{name} in results.json")

    table = json.loads((folder / "results.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert table == hostile.as_dict()
    undefined = [c for c in table["cells"] if c["set"] == "한 줄"]
    assert [c["spearman"] for c in undefined] == [{"value": None, "low": None, "high": None, "reason": "1 row"}] * 2


def test_the_csv_has_one_line_a_cell_and_blanks_where_undefined(folder: Path, hostile: Evaluation) -> None:
    raw = (folder / "results.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")  # without it a spreadsheet reads Korean as Latin
    lines = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert len(lines) == 4
    for line, cell in zip(lines, hostile.cells, strict=True):
        assert line["model"].removeprefix("'") == cell.model
        assert line["set"] == cell.set
        assert line["kind"] == hostile.kinds[cell.model]
        assert int(line["rows"]) == len(hostile.sets[cell.set])
        for name, estimate in (("spearman", cell.spearman), ("pearson", cell.pearson)):
            for suffix, number in zip(("", "_low", "_high"), estimate[:3], strict=True):
                assert line[name + suffix] == ("" if number is None else f"{number:.4f}")
    assert [line["difference"] for line in lines[:2]] == ["", ""]
    assert float(lines[2]["difference"]) == pytest.approx(hostile.cells[2].against_baseline.value, abs=1e-4)


def test_no_cell_of_the_csv_is_a_formula(folder: Path) -> None:
    text = (folder / "results.csv").read_text(encoding="utf-8-sig")
    for line in csv.reader(io.StringIO(text, newline="")):
        for cell in line:
            assert cell == "" or re.fullmatch(r"-?\d+(\.\d+)?", cell) or cell[0] not in "=+-@\t\r＝＋－＠"
    assert "'=HYPERLINK(1)" in text


@pytest.mark.parametrize("start", list("=+-@\t\r＝＋－＠"))
def test_a_leading_formula_sign_gets_an_apostrophe(start: str) -> None:
    assert guard_cell(start + "1") == "'" + start + "1"
    result = evaluation({"set": pairs(5)}, (start + "A1", "x"))
    assert list(csv.reader(io.StringIO(results_csv(result), newline="")))[1][0] == "'" + start + "A1"


@given(st.text(max_size=5))
def test_other_texts_stay_as_they_are(text: str) -> None:
    guarded = guard_cell(text)
    assert guarded in (text, "'" + text)
    assert (guarded == text) == (not text or text[0] not in "=+-@\t\r＝＋－＠")


def test_the_rows_hold_every_score_of_every_model(folder: Path, hostile: Evaluation) -> None:
    rows = pyarrow.parquet.read_table(folder / "rows.parquet").to_pylist()
    assert len(rows) == 2 * (31 + 1)
    expected = [
        (cell.set, n, *row, cell.model, float(cell.predicted[n]))
        for cell in hostile.cells
        for n, row in enumerate(hostile.sets[cell.set])
    ]
    names = ("set", "row", "sentence1", "sentence2", "gold", "model", "predicted")
    assert [tuple(row[name] for name in names) for row in rows] == expected


# -- the page


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert name not in attributes, (tag, attributes)
    for style in page.styles:
        assert "@import" not in style
        assert "url(" not in style
    assert any("Plotly.newPlot" in script for script in page.scripts)
    assert max(map(len, page.scripts)) > 1_000_000  # plotly itself


def test_texts_of_the_data_stay_texts(page: Page) -> None:
    names = {tag for tag, _ in page.tags}
    assert {"b", "i"} & names == set()
    text = "".join(page.text)
    for planted in (HOSTILE, f"{HOSTILE} 둘", *LABELS, "<b>set</b>", "<script>title</script>"):
        assert planted in text
    assert not [s for s in page.scripts if s.startswith(("alert", "title"))]


def plot_data(script: str) -> list[dict]:
    """The traces of a plot, decoded from its script."""
    call = script.index("Plotly.newPlot(")
    return json.JSONDecoder().raw_decode(script, script.index("[", call))[0]


def test_texts_inside_the_plots_are_escaped_twice(page: Page) -> None:
    """A hover text is HTML to plotly, so tags in it have to arrive there as entities."""
    plots = [plot_data(script) for script in page.scripts if "newPlot" in script and len(script) < 1_000_000]
    assert len(plots) == 3
    for traces in plots:
        assert [trace["name"] for trace in traces] == [html.escape(label) for label in LABELS]
        assert all("<i>" not in trace["hovertemplate"] for trace in traces)
    intervals, scatter, _ = plots
    assert intervals[0]["text"] == ["&lt;b&gt;set&lt;/b&gt;"]
    assert scatter[0]["customdata"][-1] == [html.escape(HOSTILE), html.escape(f"{HOSTILE} 둘")]


def test_the_table_shows_values_intervals_and_reasons(page: Page, hostile: Evaluation) -> None:
    text = "".join(page.text)
    for cell in hostile.cells:
        assert format_estimate(cell.spearman) in text
        assert format_estimate(cell.pearson) in text
        if cell.against_baseline:
            assert f"{format_estimate(cell.against_baseline, signed=True)} vs {LABELS[0]}" in text
    assert "undefined: 1 row" in text
    assert f"{LABELS[-1]}: 3 texts were cut" in text


def test_a_page_of_sets_without_rows_is_still_a_page() -> None:
    page = Page(report_page(evaluation({"empty": [], "x": pairs(12)}), "title"))
    assert "undefined: 0 row" in "".join(page.text)


def test_the_pairs_furthest_off_come_first() -> None:
    result = evaluation({"set": pairs(60)}, ("bi",))
    result.cells[0].predicted[:] = gold_scores(result.sets["set"])
    result.cells[0].predicted[17] = 9.0
    text = "".join(Page(report_page(result, "title")).text)
    first = text.index("왼쪽 ", text.index("pairs furthest off"))
    assert text[first:].startswith("왼쪽 17")
    assert "too high" in text[first : first + 60]


@pytest.mark.parametrize(
    ("estimate", "signed", "text"),
    [
        (Estimate(81.362, 79.14, 83.16), False, "81.36 [79.1, 83.2]"),
        (Estimate(1.5, -0.25, 3.0), True, "+1.50 [-0.2, +3.0]"),
        (Estimate(-1.5, -3.0, -0.5), True, "-1.50 [-3.0, -0.5]"),
        (Estimate(None, None, None, "1 row"), False, "undefined: 1 row"),
        (Estimate(40.0, None, None, "one query"), False, "40.00 (one query)"),
        (None, False, "-"),
    ],
)
def test_an_estimate_as_text(estimate: Estimate | None, signed: bool, text: str) -> None:
    assert format_estimate(estimate, signed) == text
