"""The report in a real browser: on a wide screen, on a phone and on paper, in both languages, without the network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from munjang.evaluate.compare import compare
from munjang.evaluate.measurement import Measurement, Speed, Subject
from munjang.evaluate.report import write_report

PHONE, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PLOTS = 8


def measured(label: str, name: str, rows: int, place: int) -> Measurement:
    gold = np.array([(n % 11) / 10 for n in range(rows)])
    predicted = np.clip(gold + (0.3 - 0.1 * place) * np.random.default_rng(place).normal(size=rows), 0, 1)
    kind = ("bi-encoder", "cross-encoder")[place % 2]
    subject = Subject(label, kind, label, 117_000_000 // (place + 1), 470.0 / (place + 1), 384)
    texts = [(f"주문한 물건이 언제 오는지 알고 싶어요 {n}", f"배송이 며칠 걸리나요 {n}") for n in range(rows)]
    points = [{"x": float(n % 7), "y": float(n % 5), "text": texts[n][0], "colour": n % 3} for n in range(rows)]
    columns, extra = {"predicted": predicted, "gold": gold}, {"map": points} if kind == "bi-encoder" else {}
    speed = Speed(100.0 * (place + 1), 9.0, "texts")
    return Measurement(subject, name, f"digest {name}", "sts", columns, texts, speed=speed, extra=extra)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("report")
    labels = ("zero-shot bundled:e5-small", "after-training", "third")
    cells = [measured(label, "support:test", 120, place) for place, label in enumerate(labels)]
    write_report(compare(cells, labels[0], resamples=500), folder, "고객 지원 문장")
    return (folder / "report.html").as_uri()


@pytest.fixture(params=[PHONE, WIDE], ids=["phone", "wide"])
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = browser.new_context(viewport=request.param, locale="ko-KR")
    page = context.new_page()
    page.problems, page.requests = [], []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.goto(address)
    page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= {PLOTS}")
    yield page
    context.close()


def test_nothing_is_asked_of_the_network_and_nothing_fails(page: Any) -> None:
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_page_is_not_wider_than_the_screen(page: Any) -> None:
    wide, screen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= screen


def test_every_plot_is_drawn_inside_its_column(page: Any) -> None:
    boxes = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].map(p => { const a = p.getBoundingClientRect(),"
        " b = p.parentElement.getBoundingClientRect(); return [a.width, b.width, a.height, p.querySelectorAll('path').length]; })"
    )
    assert len(boxes) == PLOTS
    for plot, column, height, paths in boxes:
        assert 0 < plot <= column + 1
        assert height >= 180
        assert paths > 5


def test_the_reader_sees_one_language_and_can_change_it(page: Any) -> None:
    heading = page.locator("h2#results")
    assert heading.inner_text() == "결과"
    page.click("#language")
    assert heading.inner_text() == "Results"
    page.click("#language")
    assert heading.inner_text() == "결과"


def test_a_click_on_a_head_sorts_the_table(page: Any) -> None:
    def values() -> list[float]:
        return page.evaluate(
            "[...document.querySelector('table').tBodies[0].rows].map(r => parseFloat(r.children[1].dataset.value))"
        )

    head = page.locator("table >> nth=0").locator("th[data-sort] >> nth=0")
    head.click()
    assert values() == sorted(values(), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.click()
    assert values() == sorted(values())


def test_the_picture_shows_a_title_a_table_and_coloured_plots(page: Any) -> None:
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")).astype(int)
    height, width, _ = picture.shape
    assert width == page.viewport_size["width"]
    assert height > 3 * page.viewport_size["height"]
    # No band as high as a screen is empty: a plot that failed or a table that collapsed would leave one.
    step = page.viewport_size["height"]
    for top in range(0, height - step, step):
        assert len(np.unique(picture[top : top + step].reshape(-1, 3), axis=0)) > 20, top
    # Each model's colour is there.
    for colour in ((0x3B, 0x6F, 0xD4), (0xD9, 0x78, 0x2D), (0x2F, 0x9E, 0x77)):
        assert (np.abs(picture - colour).sum(axis=2) < 12).sum() > 100


def test_it_prints_on_a_few_sheets(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= {PLOTS}")
    paper = page.pdf(format="A4")
    page.close()
    assert paper.startswith(b"%PDF")
    assert 3 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 20
