"""The page of silver labels: its numbers and words, texts that stay texts, and nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pages import Page

from munjang.augment.page import clip, format_count, format_decimal, silver_page, write_silver_page

HOSTILE = "</script><b>굵게</b><script>alert(1)</script> & \"따옴표\" 'x' {{ 7 * 7 }}"
UNDEFINED = [float("nan"), float("inf"), float("-inf")]
SILVER = [500, 320, 210, 150, 90, 70, 50, 40, 38, 35, 33, 40, 42, 51, 60, 64, 58, 42, 30, 12]
GOLD = [4, 3, 2, 2, 1, 2, 2, 2, 2, 1, 1, 2, 2, 3, 2, 2, 2, 1, 1, 3]
CHECKS: list[dict[str, Any]] = [
    {"name": "teacher", "value": 4.25, "bound": 0.0, "passed": True, "said": "the teachers reach 81.36"},
    {"name": "spread", "value": 0.288, "bound": 0.05, "passed": True, "said": "a deviation of 0.288"},
    {"name": "extremes", "value": 0.12, "bound": 0.95, "passed": True, "said": "12% lie at either end"},
    {"name": "orders", "value": 0.21, "bound": 0.3, "passed": False, "said": "the two orders: 21.0"},
    {"name": "members", "value": 0.93, "bound": 0.3, "passed": True, "said": "the first and the others: 93.0"},
    {"name": "agreement", "value": None, "bound": 0.3, "passed": False, "said": "teachers and student: undefined"},
]


def pair(score: float | None, **more: Any) -> dict[str, Any]:
    texts = {"sentence1": "주문이 언제 오나요", "sentence2": f"배송이 며칠 걸리나요 {score}"}
    return {**texts, "score": score, "strategy": "semantic", "rank": 3, "cosine": 0.81, **more}


REPORT: dict[str, Any] = {
    "pairs": sum(SILVER),
    "scored": 2_500,
    "mean": 0.342,
    "deviation": 0.288,
    "target": "scores",
    "histogram": SILVER,
    "gold_histogram": GOLD,
    "strategies": {
        "semantic": {"pairs": 1_500, "histogram": [75] * 20},
        "random": {"pairs": 400, "histogram": [400, *[0] * 19]},
        "given": {"pairs": 100, "histogram": [5] * 20},
    },
    "teachers": [{"name": "stage:cross", "dev": 81.36}, {"name": f"둘째 {HOSTILE}", "dev": None}],
    "student": {"name": "bundled:e5-small", "dev": 77.11},
    "gate": {"passed": False, "forced": True, "difference": [4.25, 1.1, 7.3], "checks": CHECKS},
    "calibration": {
        "dev": "support:dev",
        "error_before": 0.142,
        "error_after": 0.101,
        "points": [[n / 10, (n / 10) ** 2] for n in range(11)],
    },
    "disagreement": {"mean": 0.061, "histogram": [n * 10 for n in range(20, 0, -1)]},
    "left_out": {"disagreement": 440, "match": 125},
    "examples": [
        pair(0.31, strategy="random", rank=0, cosine=None),
        pair(0.95),
        pair(0.99, sentence1=f"hostile {HOSTILE}", strategy=HOSTILE),
    ],
    "contested": [
        pair(0.5, why="disagreement", disagreement=0.31),
        pair(0.61, why="student", disagreement=0.0, student_score=0.12, sentence2=HOSTILE),
    ],
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("silver")
    write_silver_page(out, f"silver {HOSTILE}", REPORT)
    assert [path.name for path in out.iterdir()] == ["silver.html"]
    return Page((out / "silver.html").read_text(encoding="utf-8"))


def bare(**report: Any) -> Page:
    return Page(silver_page("silver", report))


# -- the verdict


@pytest.mark.parametrize(
    ("gate", "korean", "english"),
    [
        ({"passed": True, "forced": False}, "관문을 통과했습니다", "The gate passed these labels"),
        ({"passed": False, "forced": True}, "강제로 계속했습니다", "The gate said no and was forced"),
        ({"passed": False, "forced": False}, "관문을 통과하지 못했습니다", "The gate said no"),
    ],
)
def test_the_verdict_stands_on_top(gate: dict[str, bool], korean: str, english: str) -> None:
    page = bare(gate=gate, pairs=3)
    assert page.of_language("en").split("한국어 · English ")[1].startswith(english)
    assert page.of_language("ko").split("한국어 · English ")[1].split(" silver 쌍")[0].endswith(korean)


def test_the_verdict_names_what_failed_and_the_difference(page: Page) -> None:
    shown = page.of_language("en")
    assert "forced Checks that failed: orders , agreement Teachers minus student" in shown
    assert "Spearman × 100: +4.25 [+1.10, +7.30] Spread" in shown
    assert "통과하지 못한 검사: 순서 , 일치 " in page.of_language("ko")


@pytest.mark.parametrize(("low", "said"), [(-0.4, True), (0.4, False)])
def test_an_interval_that_includes_zero_is_said(low: float, said: bool) -> None:
    shown = bare(gate={"passed": True, "difference": [4.25, low, 8.9]}).of_language("en")
    assert ("The interval includes 0" in shown) is said


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ([4.25, float("nan"), 7.3], "× 100: +4.25"),
        ([float("nan"), 1.0, 7.3], "× 100: undefined"),
        ([4.25], "× 100: +4.25"),
        ((-1.0, -2.0, 0.5), "× 100: -1.00 [-2.00, +0.50]"),
    ],
)
def test_a_difference_without_an_interval_is_shown_as_far_as_it_goes(difference: Any, said: str) -> None:
    shown = bare(gate={"passed": True, "difference": difference}).of_language("en")
    assert re.search(re.escape(said) + r"(?! \[)", shown)


@pytest.mark.parametrize(("more", "said"), [({}, True), ({"target": "classes"}, False), ({"student": {}}, True)])
def test_teachers_that_met_no_student_are_said(more: dict[str, Any], said: bool) -> None:
    shown = bare(gate={"passed": True, "checks": CHECKS[1:3]}, **more).of_language("en")
    assert ("were not compared with a student" in shown) is said


# -- numbers


@pytest.mark.parametrize(
    "shown",
    [
        "silver pairs 1,935 of 2,500 scored",
        "mean 0.342 deviation 0.288 labels scores",
        "left out: 440 ( because the teachers disagree ), 125 ( to follow the spread of gold )",
        "teacher stage:cross 81.36",
        "student bundled:e5-small 77.11",
        "+4.25 > 0 passed",
        "the teachers reach 81.36",
        "0.288 ≥ 0.05 passed",
        "0.120 ≤ 0.95 passed",
        "0.210 ≥ 0.3 failed",
        "cross-validated (support:dev): 0.142 → 0.101",
        "on average 0.061",
        "semantic the nearest sentences by cosine 1,500 75.0%",
        "random drawn from all pairs 400 20.0%",
    ],
)
def test_every_number_of_the_report_is_there(page: Page, shown: str) -> None:
    assert shown in page.of_language("en")


def test_a_check_without_a_value_is_undefined(page: Page) -> None:
    assert "teachers and student: undefined undefined ≥ 0.3 failed" in page.of_language("en")
    assert "정의되지 않음 ≥ 0.3 미달" in page.of_language("ko")


def test_a_check_of_another_name_is_shown_as_it_is_in_both_languages() -> None:
    page = bare(gate={"checks": [{"name": "mirrors", "value": 1.0, "bound": None, "passed": True, "said": "as said"}]})
    assert "mirrors as said 1.000 passed" in page.of_language("en")
    assert "mirrors as said 1.000 통과" in page.of_language("ko")


def test_several_teachers_are_shown_together_where_that_is_known() -> None:
    teachers = [{"name": "a", "dev": 80.0}, {"name": "b", "dev": float("nan")}]
    shown = bare(teachers=teachers, together=82.0).of_language("en")
    assert "teacher a 80.00 teacher b undefined teachers together 82.00" in shown
    assert "together" not in bare(teachers=teachers[:1], together=82.0).of_language("en")


def test_classes_come_with_their_shares() -> None:
    classes = {"entailment": 30, "neutral": 60, "contradiction": 10, HOSTILE: None}
    page = bare(target="classes", classes=classes, gate={"checks": CHECKS[1:2]})
    assert "entailment 30 30.0% neutral 60 60.0% contradiction 10 10.0%" in page.of_language("en")
    assert "함의 30 30.0% 중립 60 60.0% 모순 10 10.0%" in page.of_language("ko")
    assert "share of the pairs outside the most frequent class" in page.of_language("en")
    assert [a["style"] for tag, a in page.tags if tag == "i"] == ["width: 30.0%", "width: 60.0%", "width: 10.0%"]


def test_examples_stand_under_their_tenth_from_high_to_low(page: Page) -> None:
    shown = page.of_language("en")
    places = [
        shown.index(part) for part in ("0.9 - 1.0", "0.990", "0.95 semantic rank 3 · cosine 0.810 0.950", "0.3 - 0.4")
    ]
    assert places == sorted(places)
    assert "배송이 며칠 걸리나요 0.31 random 0.310" in shown  # no rank, no cosine
    assert "semantic 3번째 · 코사인 0.810" in page.of_language("ko")


@pytest.mark.parametrize(
    ("score", "tenth"), [(1.0, "0.9 - 1.0"), (1.2, "0.9 - 1.0"), (-0.1, "0.0 - 0.1"), (0.3, "0.3 - 0.4")]
)
def test_a_score_at_or_beyond_an_edge_has_a_tenth(score: float, tenth: str) -> None:
    assert f"silver {tenth} " in bare(examples=[pair(score)]).of_language("en")


def test_contested_pairs_say_why_and_where_a_person_labels_them(page: Page) -> None:
    shown = page.of_language("en").split("The most contested pairs")[1]
    assert "contested.tsv beside this page holds them" in shown
    assert "munjang augment ... --gold FILE takes them back in as gold" in shown
    assert "teachers differ · semantic rank 3 · cosine 0.810 0.500 deviation 0.310" in shown
    assert "student differs · semantic rank 3 · cosine 0.810 0.610 student 0.120" in shown


# -- plots


def test_silver_and_gold_are_compared_as_shares(page: Page) -> None:
    silver, gold = page.plots[0]
    assert (silver["type"], silver["name"], gold["name"]) == ("bar", "silver", "gold")
    assert silver["y"] == pytest.approx([count / sum(SILVER) for count in SILVER], abs=1e-4)
    assert silver["x"][0] == pytest.approx(0.025)
    assert silver["customdata"][18] == ["0.9-0.95", 30]
    assert (gold["x"][0], gold["x"][-1], len(gold["x"])) == (0, 1, 21)
    assert gold["y"] == pytest.approx([count / sum(GOLD) for count in [*GOLD, GOLD[-1]]], abs=1e-4)


def test_strategies_are_stacked_and_keep_their_colours(page: Page) -> None:
    traces = page.plots[1]
    assert [trace["name"] for trace in traces] == ["semantic", "random", "given"]
    assert traces[1]["y"] == [400, *[0] * 19]
    (alone,) = bare(strategies={"random": {"pairs": 1, "histogram": [1] * 20}}).plots[0]
    assert alone["marker"]["color"] == traces[1]["marker"]["color"] != traces[0]["marker"]["color"]


def test_calibration_and_disagreement_are_drawn(page: Page) -> None:
    diagonal, curve = page.plots[2]
    assert (diagonal["x"], diagonal["y"]) == ([0, 1], [0, 1])
    assert (curve["x"][:3], curve["y"][:3]) == ([0, 0.1, 0.2], [0, 0.01, 0.04])
    (bars,) = page.plots[3]
    assert bars["x"][-1] == pytest.approx(0.4875)
    assert sum(bars["y"]) == pytest.approx(1, abs=1e-3)


def test_a_long_curve_is_thinned_out_and_keeps_its_end() -> None:
    points = [[n / 5_000, n / 5_000] for n in range(5_001)]
    curve = bare(calibration={"points": points}).plots[0][1]
    assert 250 < len(curve["x"]) <= 500
    assert curve["x"][-1] == 1


# -- what is missing or undefined


def test_an_empty_report_invents_nothing() -> None:
    page = bare()
    assert page.of_language("en") == "silver · Munjang silver 한국어 · English"
    assert page.plots == []


@pytest.mark.parametrize("part", sorted(REPORT))
@pytest.mark.parametrize("missing", ["None", "absent", "alone"])
def test_any_part_may_be_missing(part: str, missing: str) -> None:
    rest = {name: value for name, value in REPORT.items() if name != part}
    report = {"None": {**rest, part: None}, "absent": rest, "alone": {part: REPORT[part]}}[missing]
    assert "undefined" not in bare(**report).of_language("en").replace(CHECKS[-1]["said"] + " undefined", "")


def test_parts_of_a_part_may_be_missing() -> None:
    empty: dict[str, Any] = {part: {} for part in ("gate", "calibration", "disagreement", "left_out", "strategies")}
    assert bare(**empty, examples=[], contested=[], teachers=[]).plots == []
    nothing = {
        "gate": {"checks": [{}]},
        "strategies": {"kde": None},
        "examples": [{}],
        "contested": [{}],
        "teachers": [{}],
    }
    assert bare(**nothing).plots == []


@pytest.mark.parametrize("value", UNDEFINED)
def test_a_number_that_is_not_finite_is_called_undefined(value: float) -> None:
    page = bare(
        pairs=value,
        mean=value,
        deviation=value,
        strategies={"random": {"pairs": value, "histogram": [value] * 20}},
        calibration={"error_before": value, "error_after": 0.1, "points": [[value, 0.5]]},
        disagreement={"mean": value},
        examples=[pair(value, cosine=value), pair(0.2)],
        contested=[pair(0.5, why="student", student_score=value)],
    )
    for shown in (
        "silver pairs undefined mean undefined deviation undefined",
        "random drawn from all pairs undefined -",
        "undefined → 0.100",
        "on average undefined",
        "cosine undefined undefined",
        "student undefined",
    ):
        assert shown in page.of_language("en")
    assert page.plots == []
    assert page.of_language("en").index("0.2 - 0.3") < page.of_language("en").index("cosine undefined")


@pytest.mark.parametrize("value", [*UNDEFINED, None])
def test_no_number_that_is_not_finite_reaches_a_plot(value: float | None) -> None:
    page = bare(histogram=[value, 3, 1], gold_histogram=[1, value, 1], calibration={"points": [[value, 1], [0.5, 0.4]]})
    (silver, gold), (_, curve) = page.plots
    assert (silver["y"], gold["y"]) == ([None, 0.75, 0.25], [0.5, None, 0.5, 0.5])
    assert (curve["x"], curve["y"]) == ([0.5], [0.4])


def test_nothing_counted_is_not_drawn() -> None:
    assert bare(histogram=[0] * 20, gold_histogram=[1] * 20).plots == []
    page = bare(histogram=[1] * 20, gold_histogram=[0] * 20)
    assert [trace["name"] for trace in page.plots[0]] == ["silver"]
    assert "the line is gold" not in page.words


# -- words


def test_a_korean_reader_sees_no_word_of_the_page_in_english(page: Page) -> None:
    words = set(re.findall(r"[a-zA-Z]{2,}", page.of_language("ko")))
    given = "hostile scr semantic random given bundled:e5-small stage:cross support:dev Munjang English"
    terms = "silver gold dev Spearman contested.tsv munjang augment --gold FILE --rejects skip"
    assert words <= set(re.findall(r"[a-zA-Z]{2,}", f"{given} {terms} {HOSTILE}"))


# -- safety


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        assert (attributes.get("href") or "#").startswith("#")
        for name in ("src", "action", "data", "srcset", "poster"):
            assert name not in attributes, (tag, attributes)
    for style in page.styles:
        assert "@import" not in style
        assert "url(" not in style
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_links_lead_to_a_part_of_the_page(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert {a["href"] for tag, a in page.tags if tag == "a"} <= {f"#{name}" for name in ids}
    assert len(ids) == len(set(ids))


def test_texts_from_users_stay_texts(page: Page) -> None:
    # The verdict sets two checks and the difference in bold; nothing that was planted is.
    assert [tag for tag, _ in page.tags].count("b") == 3
    for planted in (f"silver {HOSTILE}", f"둘째 {HOSTILE}", f"hostile {HOSTILE}", f"{HOSTILE} student differs"):
        assert " ".join(planted.split()) in page.of_language("en")
    assert not [script for script in page.scripts if script.startswith("alert")]


def test_hostile_names_stay_names_in_plots() -> None:
    name = "<img src=x onerror=alert(1)>"
    (bars,) = bare(strategies={name: {"pairs": 1, "histogram": [1] * 20}}).plots[0]
    assert bars["name"] == "&lt;img src=x onerror=alert(1)&gt;"
    assert "<img" not in bars["hovertemplate"]


def test_long_texts_and_lists_are_bounded() -> None:
    long = "가" * 100_000
    page = bare(
        teachers=[{"name": long, "dev": 1.0}] * 1_000,
        examples=[pair(0.5, sentence1=long, strategy=long)] * 1_000 + [pair(0.15)],
        contested=[pair(0.5, sentence1=long, why="student")] * 1_000,
        gate={"passed": False, "checks": [{"name": long, "said": long, "passed": False}]},
        strategies={long: {"pairs": 1, "histogram": [1]}},
        calibration={"dev": long, "error_before": 0.1, "error_after": 0.1},
        classes={long: 1},
    )
    assert len(page.words) < 120_000
    assert "0.1 - 0.2" in page.words  # many examples of one tenth push out none of another


def test_texts_of_either_direction_turn_nothing_around_them(page: Page) -> None:
    # A bdi keeps what directional marks do inside of it.
    assert [tag for tag, _ in page.tags].count("bdi") == 2 * (3 + 2) + 3


def test_a_text_that_is_no_utf_8_can_still_be_written(tmp_path: Path) -> None:
    write_silver_page(tmp_path, "파일 \udcff", {"examples": [pair(0.5, sentence1="\udcff")]})
    assert "파일 \\udcff" in (tmp_path / "silver.html").read_text(encoding="utf-8")


def test_one_report_gives_one_page() -> None:
    assert silver_page("silver", REPORT) == silver_page("silver", REPORT)


def test_values_are_read_at_a_glance() -> None:
    assert (clip("가나다", 3), clip("가나다라", 3)) == ("가나다", "가나…")
    assert (format_count(1_234_567), format_decimal(0.12345), format_decimal(1.5, 2, "+")) == (
        "1,234,567",
        "0.123",
        "+1.50",
    )
