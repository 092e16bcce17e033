"""The page of a training: its numbers, texts that stay texts, and nothing from elsewhere."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from pages import Page

from munjang.train.page import format_count, format_seconds, format_setting, training_page, write_training_page

HOSTILE = "</script><b>굵게</b><script>alert(1)</script> & \"따옴표\" 'x' {{ 7 * 7 }}"
REPORT: dict[str, Any] = {
    "rows": 5749,
    "excluded": 312,
    "steps": 1440,
    "truncated": 7,
    "dev_before": 72.41,
    "dev_best": 82.64,
    "best_step": 900,
    "curve": [{"step": 720, "dev": None}, {"step": 900, "dev": 82.64}, {"step": 1440, "dev": 82.2}],
    "losses": [{"step": 36 * n, "loss": 4 / n} for n in range(1, 41)],
    "tokens": 2_412_345,
    "padding": 0.0834,
    "seconds": 463.2,
    "dev_metric": f"Spearman x 100 {HOSTILE}",
    "seeds": [{"seed": 42, "dev_best": 82.64}, {"seed": 43, "dev_best": None}],
    "warnings": [f"cut: {HOSTILE}"],
    "metrics": [{"step": 36 * n, "learning_rate": 6e-5 / n, "tokens_per_second": 5_000.0 + n} for n in range(1, 41)],
}
SETTINGS = {
    "model": "bundled:e5-small",
    "train": ["korsts:train", HOSTILE],
    "learning_rate": 6e-5,
    "batch_tokens": None,
    "exclude": [],
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("training")
    write_training_page(out, f"bi {HOSTILE}", REPORT, SETTINGS)
    assert [path.name for path in out.iterdir()] == ["training.html"]
    return Page((out / "training.html").read_text(encoding="utf-8"))


def bare(**report: Any) -> Page:
    return Page(training_page("bi", report, {}))


# -- numbers


def test_the_headline_says_before_best_and_where(page: Page) -> None:
    assert re.search(r"dev, before 72\.41 .* dev, best 82\.64 \+10\.23 best step 900 of 1,440", page.of_language("en"))


@pytest.mark.parametrize(
    "shown",
    [
        "rows 5,749",
        "excluded 312",
        "truncated 7",
        "steps 1,440",
        "tokens 2,412,345",
        "padding 8.3 %",
        "time 7 min 43 s",
    ],
)
def test_every_count_of_the_report_is_there(page: Page, shown: str) -> None:
    assert shown in page.of_language("en")


def test_the_tables_hold_the_curve_the_seeds_and_the_settings(page: Page) -> None:
    for row in ("720 undefined", "900 82.64 ★", "1,440 82.20", "42 82.64", "43 undefined"):
        assert row in page.of_language("en")
    assert f"train korsts:train, {HOSTILE} learning_rate 6e-05 batch_tokens not set exclude none" in page.of_language(
        "en"
    )
    assert "undefined at 1 of 3 evaluations" in page.of_language("en")


def test_the_plot_shows_the_series_the_start_and_the_best_step(page: Page) -> None:
    loss, dev, start, best, rate, speed = page.plots[0]
    assert (loss["x"], loss["y"]) == ([r["step"] for r in REPORT["losses"]], [r["loss"] for r in REPORT["losses"]])
    assert (dev["x"], dev["y"]) == ([720, 900, 1440], [None, 82.64, 82.2])
    assert (start["x"], start["y"], start["line"]["dash"]) == ([0, 1440], [72.41, 72.41], "dash")
    assert (best["x"], best["y"], best["marker"]["symbol"]) == ([900], [82.64], "star")
    assert rate["y"] == [r["learning_rate"] for r in REPORT["metrics"]]
    assert speed["y"] == [r["tokens_per_second"] for r in REPORT["metrics"]]


def test_a_long_training_is_thinned_out_and_keeps_its_end() -> None:
    losses = [{"step": n, "loss": 1 / n} for n in range(1, 5_002)]
    (loss,) = bare(losses=losses).plots[0]
    assert 1_000 < len(loss["x"]) <= 2_000
    assert loss["x"][-1] == 5_001
    assert all(y == 1 / x for x, y in zip(loss["x"], loss["y"], strict=True))


def test_loss_and_dev_of_the_metrics_stand_in_for_those_of_the_report() -> None:
    loss, dev = bare(metrics=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "dev": 70.0}]).plots[0]
    assert (loss["y"], dev["x"], dev["y"]) == ([2.0, 1.0], [2], [70.0])


def test_a_korean_reader_sees_no_word_of_the_page_in_english(page: Page) -> None:
    shown = page.of_language("ko")
    for korean in (
        "dev, 학습 전 72.41",
        "가장 좋은 스텝 900 1,440스텝 가운데",
        "720 정의되지 않음",
        "시간 7분 43초",
        "정하지 않음",
    ):
        assert korean in shown
    given = f"{SETTINGS} {HOSTILE} Spearman x 100, cut: dev, bi, Munjang, English"
    assert set(re.findall(r"[a-zA-Z]{2,}", shown)) <= set(re.findall(r"[a-zA-Z]{2,}", given))


# -- what is missing or undefined


def test_an_empty_report_invents_nothing() -> None:
    page = bare()
    assert page.of_language("en") == "bi · Munjang bi 한국어 · English"
    assert page.plots == []


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_an_undefined_score_is_called_so(value: float | None) -> None:
    page = bare(dev_before=value, dev_best=80.0, best_step=5, steps=10, curve=[{"step": 5, "dev": 80.0}])
    assert "dev, before undefined" in page.of_language("en")
    assert "+" not in page.of_language("en")
    assert len(page.plots[0]) == 2  # dev and its best, no line for the start
    assert bare(dev_best=value, best_step=0).of_language("en").endswith("dev, best undefined score")


def test_no_number_that_is_not_finite_reaches_the_plot() -> None:
    losses = [{"step": 1, "loss": float("inf")}, {"step": 2, "loss": 1.0}]
    assert bare(losses=losses).plots[0][0]["y"] == [None, 1.0]
    assert bare(losses=losses[:1]).plots == []


@pytest.mark.parametrize(("best_step", "said"), [(0, True), (5, False)])
def test_a_start_that_nothing_beat_is_said(best_step: int, said: bool) -> None:
    page = bare(dev_before=80.0, dev_best=80.0, best_step=best_step, steps=10)
    assert ("Nothing beat the starting weights" in page.of_language("en")) is said


# -- safety


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert name not in attributes, (tag, attributes)
    for style in page.styles:
        assert "@import" not in style
        assert "url(" not in style
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert max(map(len, page.scripts)) > 1_000_000  # plotly itself


def test_texts_from_users_stay_texts(page: Page) -> None:
    assert {tag for tag, _ in page.tags} & {"b", "i"} == set()
    for planted in (f"bi {HOSTILE}", REPORT["dev_metric"], REPORT["warnings"][0]):
        assert planted in page.of_language("en")
    assert not [script for script in page.scripts if script.startswith("alert")]
    # A hover text is HTML to plotly, so tags in it have to arrive there as entities.
    assert page.plots[0][1]["hovertemplate"].endswith(f"<extra>dev: {html.escape(REPORT['dev_metric'])}</extra>")


def test_a_text_that_is_no_utf_8_can_still_be_written(tmp_path: Path) -> None:
    write_training_page(tmp_path, "파일 \udcff", {}, {})
    assert "파일 \\udcff" in (tmp_path / "training.html").read_text(encoding="utf-8")


def test_one_training_gives_one_page() -> None:
    assert training_page("bi", REPORT, SETTINGS) == training_page("bi", REPORT, SETTINGS)


# -- formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7_320, "2 h 02 min"),
    ],
)
def test_a_time_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("rows", 1_234_567, "1,234,567"),
        ("padding", 0.0, "0.0 %"),
        ("padding", None, "undefined"),
        ("rows", True, "undefined"),
    ],
)
def test_a_count_is_read_at_a_glance(key: str, value: Any, text: str) -> None:
    assert format_count(key, value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ([8, 1], "8, 1"),
        (True, "true"),
        (1.0, "1.0"),
        ({"가": 1}, '{"가": 1}'),
        (None, "not set"),
        ([], "none"),
    ],
)
def test_a_setting_reads_as_in_a_recipe(value: Any, text: str) -> None:
    assert format_setting(value) == text
