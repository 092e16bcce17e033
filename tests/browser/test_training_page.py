"""The page of a training in a real browser: on a wide screen and on a phone, in both languages, without the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from munjang.train.page import write_training_page

PHONE, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
STEPS = [36 * n for n in range(1, 41)]
REPORT: dict[str, Any] = {
    "rows": 5749,
    "steps": 1440,
    "seconds": 463.2,
    "dev_before": 72.41,
    "dev_best": 82.64,
    "best_step": 900,
    "dev_metric": "Spearman x 100",
    "curve": [{"step": 720, "dev": None}, {"step": 900, "dev": 82.64}, {"step": 1440, "dev": 82.2}],
    "losses": [{"step": step, "loss": 40 / step} for step in STEPS],
    "warnings": ["7 texts are longer than the model reads"],
    "metrics": [{"step": s, "learning_rate": 1e-5 * s, "tokens_per_second": 5_000.0} for s in STEPS],
}


@pytest.fixture(params=[PHONE, WIDE], ids=["phone", "wide"])
def page(browser: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    write_training_page(tmp_path, "stage bi", REPORT, {"model": "bundled:e5-small", "train": ["korsts:train"]})
    context = browser.new_context(viewport=request.param, locale="ko-KR")
    page = context.new_page()
    page.problems, page.requests = [], []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.goto((tmp_path / "training.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 1")
    yield page
    context.close()


def test_it_fits_the_screen_fails_nowhere_and_asks_nothing_of_the_network(page: Any) -> None:
    wide, screen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= screen
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_reader_sees_one_language_and_can_change_it(page: Any) -> None:
    facts, heading = page.locator(".facts dt").first, page.locator("h2").first
    assert (facts.inner_text(), heading.inner_text()) == ("dev, 학습 전", "스텝별")
    page.click("#language")
    assert (facts.inner_text(), heading.inner_text()) == ("dev, before", "By step")


def test_every_panel_of_the_plot_is_drawn_inside_the_page(page: Any) -> None:
    plot, column = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].flatMap(p => [p, p.parentElement].map(e => e.offsetWidth))"
    )
    assert 0 < plot <= column
    assert page.locator(".js-plotly-plot .subplot").count() == 4
