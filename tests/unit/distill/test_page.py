"""The page of a plan: a circle for each model where its numbers put it, and what the reader has to know."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.distill.page import plan_page
from munjang.distill.plot import trade_off
from tests.pages import Page


def model(label: str, per_second: float, dev: float, megabytes: float, **more: Any) -> dict[str, Any]:
    own = {"role": "student", "layers": 4, "parameters": 10**7, "front": False, "chosen": False, "training": {}}
    scores = {"dev": dev, "dev_by_set": {"korsts:dev": dev}}
    return own | scores | {"label": label, "per_second": per_second, "bytes": round(megabytes * 1e6)} | more


MODELS = [
    model("teacher", 100.0, 80.0, 400.0, role="teacher", layers=12),
    model("even-8", 200.0, 79.0, 100.0, front=True, chosen=True, training={"epochs": 0.5, "steps": 120}),
    model("even-3", 400.0, 70.0, 25.0, front=True, training={"epochs": 1.5, "steps": 360}),
]
REPORT = {
    "chosen": "even-8",
    "keep": 0.98,
    "least_dev": 77.42,
    "dev_metric": "Spearman x 100",
    "models": MODELS,
    "covered": None,
    "full_seconds": 412.0,
    "device": "cpu",
}


def circles(svg: str) -> dict[str, tuple[float, float, float]]:
    """Label -> (x, y, radius)."""
    pattern = r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"[^>]*><title>(.*?): '
    return {label: (float(x), float(y), float(r)) for x, y, r, label in re.findall(pattern, svg)}


def test_speed_is_on_a_log_scale_and_area_is_size() -> None:
    found = circles(trade_off(MODELS, 800, 400))
    slow, mid, fast = (found[label] for label in ("teacher", "even-8", "even-3"))
    assert mid[0] - slow[0] == pytest.approx(fast[0] - mid[0], abs=0.2)
    assert slow[1] < mid[1] < fast[1]
    assert (mid[1] - slow[1]) * 9 == pytest.approx(fast[1] - mid[1], abs=1)
    assert (slow[2] / mid[2]) ** 2 == pytest.approx(4, rel=0.05)
    line = re.search(r'class="front" points="([^"]+)"', trade_off(MODELS, 800, 400))[1]
    assert line == f"{mid[0]:.1f},{mid[1]:.1f} {fast[0]:.1f},{fast[1]:.1f}"


@given(st.lists(st.tuples(st.floats(0.01, 1e6), st.floats(-100, 100), st.floats(0.01, 1e5)), min_size=1, max_size=8))
def test_every_circle_lies_inside_whatever_the_numbers(values: list[tuple[float, float, float]]) -> None:
    models = [model(f"m{i}", *value) for i, value in enumerate(values)]
    svg = trade_off(models, 340, 380)
    assert not re.search("nan|inf", svg)
    assert len(circles(svg)) == len(models)
    for x, y, radius in circles(svg).values():
        assert 0 <= x - radius / 2 <= x + radius / 2 <= 340
        assert 0 <= y - radius / 2 <= y + radius / 2 <= 380


def test_the_page_says_what_was_taken_and_why() -> None:
    page = Page(plan_page("small models", REPORT))
    english, korean = page.of_language("en"), page.of_language("ko")
    for said in ("at least 77.42, 98% of the best", "2.0 × the teacher's", "-1.00 against the teacher", "6.9 minutes"):
        assert said in english
    for said in ("가장 좋은 학생의 98%인 77.42 이상", "교사의 2.0배", "교사보다 -1.00", "약 6.9분"):
        assert said in korean
    assert not any("http" in (value or "") for _, attributes in page.tags for value in attributes.values())


def test_the_page_names_what_costs_the_students() -> None:
    trained = MODELS[2] | {"training": {"epochs": 1.5, "steps": 360, "regressed": True}}
    page = Page(plan_page("small", REPORT | {"covered": 0.15, "models": [*MODELS[:2], trained]}))
    assert "only 15% of the texts of dev" in page.of_language("en")
    assert "even-3: its short training was no better on dev" in page.of_language("en")
    assert "only" not in Page(plan_page("small", REPORT | {"covered": 0.95})).of_language("en")


def test_names_from_outside_are_only_text() -> None:
    hostile = [*MODELS, model("<script>alert(1)</script>", 300.0, 75.0, 50.0)]
    page = plan_page("<img src=x>", REPORT | {"models": hostile})
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
