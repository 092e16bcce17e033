"""The page of silver labels in a real browser: phone and wide screen, light and dark, both languages, no network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from munjang.augment.page import write_silver_page

PHONE, WIDE = {"width": 360, "height": 780}, {"width": 1200, "height": 900}
PLOTS = 4
BARS = [500, 320, 210, 150, 90, 70, 50, 40, 38, 35, 33, 40, 42, 51, 60, 64, 58, 42, 30, 12]
TEXTS = (
    "주문한 물건이 언제 오는지 알고 싶어요",
    "أين طلبي الآن؟ \u202e لقد مر أسبوعان",
    "x" * 2_000,
    "<script>alert(1)</script>",
)
CHECKS = ("teacher", "spread", "extremes", "orders", "members", "agreement")


def pair(place: int, **more: Any) -> dict[str, Any]:
    texts = {"sentence1": TEXTS[place % 4], "sentence2": TEXTS[(place + 1) % 4]}
    return {**texts, "score": place / 20, "strategy": "semantic", "rank": 12, "cosine": 0.5, **more}


REPORT: dict[str, Any] = {
    "pairs": 123_456,
    "scored": 234_567,
    "mean": 0.342,
    "deviation": 0.288,
    "target": "scores",
    "histogram": BARS,
    "gold_histogram": BARS[::-1],
    "strategies": {name: {"pairs": 600, "histogram": BARS} for name in ("semantic", "bm25", "random", "kde", "given")},
    "teachers": [{"name": "stage:" + "cross-" * 15, "dev": 81.36}, {"name": "x" * 300, "dev": None}],
    "student": {"name": "bundled:e5-small", "dev": 77.11},
    "gate": {
        "passed": False,
        "forced": True,
        "difference": [4.25, -0.4, 8.9],
        "checks": [
            {"name": name, "value": 0.2, "bound": 0.3, "passed": name == "spread", "said": f"{name} is 0.2"}
            for name in CHECKS
        ],
    },
    "calibration": {
        "dev": "support:dev",
        "error_before": 0.142,
        "error_after": 0.101,
        "points": [[n / 20, (n / 20) ** 2] for n in range(21)],
    },
    "disagreement": {"mean": 0.061, "histogram": BARS},
    "left_out": {"disagreement": 100_000, "match": 11_111},
    "examples": [pair(place) for place in range(20, -1, -1)],
    "contested": [pair(place, why="disagreement", disagreement=0.3, student_score=0.9) for place in range(9)],
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("silver")
    write_silver_page(folder, "고객 지원 문장: silver", REPORT)
    return (folder / "silver.html").as_uri()


@pytest.fixture(
    params=[(PHONE, "light"), (PHONE, "dark"), (WIDE, "light"), (WIDE, "dark")],
    ids=["phone-light", "phone-dark", "wide-light", "wide-dark"],
)
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    screen, scheme = request.param
    context = browser.new_context(viewport=screen, locale="ko-KR", color_scheme=scheme)
    page = context.new_page()
    page.problems, page.requests, page.scheme = [], [], scheme
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("dialog", lambda dialog: page.problems.append(dialog.message))
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.goto(address)
    page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= {PLOTS}")
    yield page
    context.close()


def test_it_fits_the_screen_fails_nowhere_and_asks_nothing_of_the_network(page: Any) -> None:
    for _ in range(2):
        wide, screen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= screen
        # No table has to be pushed sideways either.
        tables = page.evaluate("[...document.querySelectorAll('.wide')].map(e => [e.scrollWidth, e.clientWidth])")
        assert [table for table in tables if table[0] > table[1]] == []
        page.click("#language")
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_reader_sees_one_language_and_can_change_it(page: Any) -> None:
    verdict, heading = page.locator(".verdict h2"), page.locator("h2#scores")
    assert (verdict.inner_text(), heading.inner_text()) == (
        "관문을 통과하지 못했으나 강제로 계속했습니다",
        "점수의 분포",
    )
    page.click("#language")
    assert (verdict.inner_text(), heading.inner_text()) == ("The gate said no and was forced", "Spread of the scores")


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
    assert page.locator("#plot-strategies .trace.bars").count() == 5


def test_the_picture_shows_the_scheme_and_the_colours(page: Any) -> None:
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")).astype(int)
    assert bool(picture.mean() < 90) is (page.scheme == "dark")
    for colour in ((0x3B, 0x6F, 0xD4), (0xD9, 0x78, 0x2D), (0x2F, 0x9E, 0x77), (0xB0, 0x4F, 0xA8), (0x8A, 0x8F, 0x2A)):
        assert (np.abs(picture - colour).sum(axis=2) < 12).sum() > 100


def test_it_prints_on_a_few_sheets(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= {PLOTS}")
    paper = page.pdf(format="A4")
    page.close()
    assert paper.startswith(b"%PDF")
    assert 3 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 12
