"""An evaluation on disk: numbers without NaN, cells that are no formulas, and a page that needs no network."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import Page

from munjang.evaluate.changes import Change, changes
from munjang.evaluate.compare import compare
from munjang.evaluate.measurement import Measurement, Speed, Subject
from munjang.evaluate.report import (
    format_estimate,
    format_quantity,
    guard_cell,
    report_page,
    results_csv,
    write_report,
)
from munjang.evaluate.table import Estimate, Table

HOSTILE = "</script><b>굵게</b><script>alert(1)</script> & \"따옴표\" 'x' {{ 7 * 7 }} %{y}"
LABELS = ("=HYPERLINK(1)", "</td><i>라벨</i>")


def measured(label: str, name: str, rows: int, place: int, fingerprint: str = "") -> Measurement:
    """A model whose scores are the gold scores with noise; the last pair is hostile and far off."""
    gold = np.array([(n % 11) / 10 for n in range(rows)])
    predicted = np.clip(gold + (0.1 + 0.1 * place) * np.random.default_rng(place).normal(size=rows), 0, 1)
    texts = [(f"왼쪽 {n}", f"오른쪽 {n}") for n in range(rows)]
    if rows:
        gold[-1], predicted[-1], texts[-1] = 0.0, 1.0, (HOSTILE, f"{HOSTILE} 둘")
    kind = ("bi-encoder", "cross-encoder")[place % 2]
    subject = Subject(label, kind, fingerprint or label, 10**6 * (place + 1), 4.0 + place, 8)
    points = [{"x": 0.0, "y": 1.0, "text": HOSTILE, "colour": 0}] * 3
    columns = {"predicted": predicted, "gold": gold}
    extra = {"map": points} if kind == "bi-encoder" else {}
    speed = Speed(100.0 + place, 2.0, "texts")
    return Measurement(
        subject, name, f"digest of {name}", "sts", columns, texts, truncated=3 * place, speed=speed, extra=extra
    )


def evaluation(sets: dict[str, int], labels: tuple[str, ...] = LABELS) -> Table:
    """The first label is the baseline."""
    cells = [measured(label, name, rows, place) for place, label in enumerate(labels) for name, rows in sets.items()]
    return compare(cells, labels[0], resamples=200, reasons={("zu groß", next(iter(sets))): "needs <i>candidates</i>"})


@pytest.fixture(scope="module")
def hostile() -> Table:
    return evaluation({"<b>set</b>": 31, "한 줄": 1})


@pytest.fixture(scope="module")
def folder(hostile: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    write_report(hostile, out, "<script>title</script>", [Change("<u>x</u>", "set", "new")])
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


# -- JSON and CSV


def test_the_files_are_those_that_are_promised(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "results.csv", "results.json"]


def test_the_json_holds_no_nan_and_null_with_a_reason(folder: Path, hostile: Table) -> None:
    def refuse(name: str) -> None:
        pytest.fail(f"{name} in results.json")

    table = json.loads((folder / "results.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert table == hostile.as_dict()
    undefined = [c for c in table["cells"] if c["set"] == "한 줄"]
    nothing = {"value": None, "low": None, "high": None, "reason": "1 row"}
    assert [c["metrics"]["spearman"] for c in undefined] == [nothing] * 2
    assert "map" not in table["cells"][0]["extra"]


def test_the_csv_has_one_line_a_metric_and_blanks_where_undefined(folder: Path, hostile: Table) -> None:
    raw = (folder / "results.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")  # without it a spreadsheet reads Korean as Latin
    lines = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    expected = [(cell, metric) for cell in hostile.cells for metric in cell.estimates]
    assert len(lines) == len(expected) == 8
    for line, (cell, metric) in zip(lines, expected, strict=True):
        estimate = cell.estimates[metric]
        assert (line["model"].removeprefix("'"), line["set"], line["metric"]) == (cell.label, cell.set, metric)
        assert int(line["units"]) == cell.first.units
        for name in ("value", "low", "high"):
            number = getattr(estimate, name)
            assert line[name] == ("" if number is None else f"{number:.4f}")
        assert line["reason"] == estimate.reason
    compared = [line for line in lines if line["verdict"]]
    assert [line["metric"] for line in compared] == ["spearman"] * 2
    assert float(compared[0]["difference"]) == pytest.approx(
        hostile.cell(LABELS[1], "<b>set</b>").against.difference.value, abs=1e-4
    )


def test_no_cell_of_the_csv_is_a_formula(folder: Path) -> None:
    text = (folder / "results.csv").read_text(encoding="utf-8-sig")
    for line in csv.reader(io.StringIO(text, newline="")):
        for cell in line:
            assert cell == "" or re.fullmatch(r"-?\d+(\.\d+)?", cell) or cell[0] not in "=+-@\t\r＝＋－＠"
    assert "'=HYPERLINK(1)" in text


@pytest.mark.parametrize("start", list("=+-@\t\r＝＋－＠"))
def test_a_leading_formula_sign_gets_an_apostrophe(start: str) -> None:
    assert guard_cell(start + "1") == "'" + start + "1"
    result = evaluation({"set": 5}, (start + "A1", "x"))
    assert list(csv.reader(io.StringIO(results_csv(result), newline="")))[1][0] == "'" + start + "A1"


@given(st.text(max_size=5))
def test_other_texts_stay_as_they_are(text: str) -> None:
    guarded = guard_cell(text)
    assert guarded in (text, "'" + text)
    assert (guarded == text) == (not text or text[0] not in "=+-@\t\r＝＋－＠")


# -- the page


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        for name in ("src", "action", "data", "srcset", "poster"):
            assert name not in attributes, (tag, attributes)
        assert (attributes.get("href") or "#").startswith("#")
    for style in page.styles:
        assert "@import" not in style
        assert "url(" not in style
    assert any("Plotly.newPlot" in script for script in page.scripts)
    assert max(map(len, page.scripts)) > 1_000_000  # plotly itself


def test_texts_of_the_data_stay_texts(page: Page) -> None:
    names = {tag for tag, _ in page.tags}
    assert {"b", "i", "u"} & names == set()
    text = "".join(page.text)
    planted = (
        HOSTILE,
        f"{HOSTILE} 둘",
        *LABELS,
        "<b>set</b>",
        "<script>title</script>",
        "needs <i>candidates</i>",
        "<u>x</u>",
    )
    for one in planted:
        assert one in text
    assert not [s for s in page.scripts if s.startswith(("alert", "title"))]


def test_texts_inside_the_plots_are_escaped_twice(page: Page) -> None:
    """A hover text is HTML to plotly, so tags in it have to arrive there as entities."""
    plots = page.plots
    # Intervals, speed, size; then of the first set scatter, residuals, scores by gold, reliability, map.
    assert len(plots) == 8
    for traces in plots:
        assert not re.search(r"<(?!br>|extra>|/extra>)", json.dumps(traces).replace('"<br>"', ""))
    intervals, scatter, mapped = plots[0], plots[3], plots[7]
    assert [trace["name"] for trace in intervals] == [html.escape(label) for label in LABELS]
    assert intervals[0]["text"] == ["&lt;b&gt;set&lt;/b&gt;, Spearman"]
    assert scatter[0]["customdata"][-1] == ["<br>".join((html.escape(HOSTILE), html.escape(f"{HOSTILE} 둘")))]
    assert mapped[0]["customdata"][0] == html.escape(HOSTILE)


def test_the_table_shows_values_intervals_verdicts_and_reasons(page: Page, hostile: Table) -> None:
    text = "".join(page.text)
    for cell in hostile.cells:
        for estimate in cell.estimates.values():
            assert format_estimate(estimate) in text
        if cell.against and cell.against.verdict != "undefined":
            assert f"{format_estimate(cell.against.difference, signed=True)} " in text
            assert cell.against.verdict in text
    assert "undefined: 1 row" in text
    assert "3 inputs were cut" in text


def test_both_languages_say_the_same_things(page: Page) -> None:
    languages = [attributes.get("lang") for tag, attributes in page.tags if tag == "span" and "lang" in attributes]
    assert languages.count("ko") == languages.count("en") > 10
    assert languages[::2] == ["ko"] * (len(languages) // 2)


def test_a_korean_reader_sees_tasks_metrics_and_reasons_in_korean() -> None:
    gold, texts = np.array([0.0, 1.0] * 10), [("가", "나")] * 20
    subject = Subject("모델", "bi-encoder", "digest")
    cells = [
        Measurement(subject, name, name, "pair-classification", {"predicted": scores, "gold": gold}, texts)
        for name, gold, scores in (("set", gold, gold), ("all", np.ones(20), gold))
    ]
    reasons = {("cross", "set"): "a cross-encoder has no vectors of single texts", ("cross", "all"): "새 이유"}
    page = Page(report_page(compare(cells, resamples=200, reasons=reasons), "제목"))
    for shown in (
        "같은 뜻인지",
        "평균 정밀도",
        "정의되지 않음: 모든 쌍이 양성임",
        "cross-encoder에는 문장 하나의 벡터가 없음",
    ):
        assert shown in page.of_language("ko")
    for hidden in ("same or not", "average precision", "undefined: every pair is positive", "has no vectors"):
        assert hidden not in page.of_language("ko")
        assert hidden in page.of_language("en")
    assert "새 이유" in page.of_language("ko")  # one that is not in the table is shown as it is


def test_a_page_of_sets_without_a_value_is_still_a_page() -> None:
    assert "undefined: 1 row" in "".join(Page(report_page(evaluation({"one": 1}, ("a", "b")), "title")).text)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([("a", "one"), ("b", "two")], "no set has a value of each of these models"),
        ([("a", "one"), ("b", "one")], ""),
        ([("a", "one")], ""),
    ],
)
def test_a_figure_of_cost_that_is_not_there_is_said(cells: list[tuple[str, str]], said: str) -> None:
    page = Page(report_page(compare([measured(*cell, 31, 0) for cell in cells], resamples=200), "title"))
    assert page.of_language("en").count(f"no figure: {said}") == (2 if said else 0)
    assert ("by-size" in " ".join(page.scripts[1:])) is (not said and len(cells) > 1)


def test_speeds_of_different_units_do_not_vanish_without_a_word() -> None:
    cells = [measured("bi", "set", 31, 0), measured("cross", "set", 31, 1)]
    cells[1].speed = Speed(9.0, 2.0, "pairs")
    page = Page(report_page(compare(cells, resamples=200), "title"))
    assert "no figure: texts, pairs and queries a second do not compare" in page.of_language("en")
    assert "Quality against size no figure" not in page.of_language("en")


def test_the_pairs_furthest_off_come_first() -> None:
    one = measured("bi", "set", 60, 0)
    one.columns["predicted"] = one.columns["gold"].copy()
    one.columns["predicted"][17] = 9.0
    text = "".join(Page(report_page(compare([one], resamples=200), "title")).text)
    first = text.index("왼쪽 ", text.index("furthest off"))
    assert text[first:].startswith("왼쪽 17")
    assert "too high" in text[first : first + 80]


def test_another_model_behind_a_label_is_a_change_and_the_same_is_none() -> None:
    now = compare([measured("a", "set", 31, 0), measured("b", "set", 31, 1)], resamples=200)
    before = [measured("a", "set", 31, 0), measured("b", "set", 31, 2, fingerprint="older")]
    (change,) = changes(now, before)
    assert (change.label, change.reason, change.comparison.difference.value != 0) == ("b", "model", True)
    assert [c.reason for c in changes(now, before[:1])] == ["new"]
    before[1].set_fingerprint = "other rows"
    assert [c.reason for c in changes(now, before)] == ["set"]


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (117_653_760, "117.7M"), (14_348, "14.3k"), (1234.0, "1,234"), (8.254, "8.25"), (2.5e9, "2.5G")],
)
def test_a_quantity_as_text(value: float | None, text: str) -> None:
    assert format_quantity(value) == text
