"""Writes what silver labels are like as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from munjang.augment import plots
from munjang.page import figure_html, in_both, number, render_page, write_page

PAGE_FILE = "silver.html"
#: Characters of a text from outside that the page shows; names are shorter than sentences.
_LONGEST_TEXT, _LONGEST_NAME = 400, 120
#: Rows that the page shows of a list, and of one tenth of the scale; the files beside the page hold them all.
_MOST_ROWS, _MOST_EXAMPLES = 100, 10
_UNDEFINED = ("정의되지 않음", "undefined")


class Words(NamedTuple):
    """A name in Korean and English, and what it means."""

    name: tuple[str, str]
    note: tuple[str, str]
    bound: str = "≥"
    """How the value of a check stands to its bound where it passes."""


#: Checks of the gate, in the words of `munjang.augment`'s reports.
_CHECKS = {
    "teacher": Words(
        ("교사", "teacher"),
        ("dev에서 교사와 학생의 차이, Spearman × 100", "teachers minus student on dev, Spearman × 100"),
        ">",
    ),
    "spread": Words(("퍼짐", "spread"), ("silver 점수의 표준편차", "standard deviation of the silver scores")),
    "extremes": Words(
        ("양 끝", "extremes"),
        ("척도의 양 끝에 몰린 점수의 비율", "share of the scores at either end of the scale"),
        "≤",
    ),
    "orders": Words(
        ("순서", "orders"),
        ("한 쌍의 두 순서가 받은 점수의 Spearman", "Spearman between the scores of the two orders of a pair"),
    ),
    "members": Words(("교사들", "members"), ("교사들 사이의 Spearman", "Spearman between the teachers")),
    "agreement": Words(
        ("일치", "agreement"),
        ("교사의 점수와 학생의 코사인의 Spearman", "Spearman between the teachers' scores and the student's cosines"),
    ),
}
#: Classes spread in another way than scores do.
_SPREAD_OF_CLASSES = Words(
    _CHECKS["spread"].name,
    ("가장 잦은 클래스가 아닌 쌍의 비율", "share of the pairs outside the most frequent class"),
)
_STRATEGIES = {
    "random": ("모든 쌍에서 뽑음", "drawn from all pairs"),
    "kde": ("점수의 분포가 gold와 같도록 뽑음", "drawn so that their scores are spread as gold's are"),
    "bm25": ("드문 낱말을 함께 가진 문장", "sentences that share their rarest words"),
    "semantic": ("코사인으로 가장 가까운 문장", "the nearest sentences by cosine"),
    "given": ("주어진 쌍", "pairs that were given"),
}
_CLASSES = {
    "entailment": ("함의", "entailment"),
    "neutral": ("중립", "neutral"),
    "contradiction": ("모순", "contradiction"),
}
_TARGETS = {"scores": ("점수", "scores"), "classes": ("클래스", "classes"), "triplets": ("삼중항", "triplets")}
_LEFT_OUT = {
    "disagreement": ("교사들의 의견이 갈려서", "because the teachers disagree"),
    "match": ("gold의 분포에 맞추려고", "to follow the spread of gold"),
    "probability": ("클래스의 확률이 낮아서", "because their class is not probable enough"),
}


class Share(NamedTuple):
    """A row of a table that says how many of all pairs are of a kind."""

    name: Any
    note: Any
    pairs: Any
    share: float | None
    """In 0..1; None where it is undefined."""


def write_silver_page(out: Path, title: str, report: Mapping[str, Any]) -> None:
    """Write `silver.html` into a folder.

    Args:
        out: an existing folder.
        title: which labels.
        report: of a stage that labels pairs. What it lacks, or holds as None, the page leaves out; what is not finite it
            calls undefined. Scores are on 0..1, those of models on dev are Spearman x 100.
    """
    write_page(out / PAGE_FILE, silver_page(title, report))


def silver_page(title: str, report: Mapping[str, Any]) -> str:
    """The page as HTML; see `write_silver_page`."""
    figures = _figures(report)
    gate = report.get("gate") or {}
    return render_page(
        "munjang.augment",
        "silver.html",
        plots=bool(figures),
        title=clip(title, _LONGEST_NAME),
        report=report,
        figures=figures,
        beside_gold=any((number(count) or 0) > 0 for count in report.get("gold_histogram") or ()),
        gate=gate,
        checks=[_check(check, report.get("target")) for check in (gate.get("checks") or ())[:_MOST_ROWS]],
        difference=_difference(gate.get("difference")),
        models=_models(report),
        left_out=_left_out(report),
        classes=_shares(report.get("classes"), _CLASSES, {}),
        strategies=_strategies(report.get("strategies")),
        target=in_both(*_TARGETS[report["target"]]) if report.get("target") in _TARGETS else None,
        examples=_by_tenth(report.get("examples") or ()),
        contested=(report.get("contested") or ())[:_MOST_ROWS],
        number=number,
        count=format_count,
        decimal=format_decimal,
        clip=clip,
        longest_name=_LONGEST_NAME,
    )


def clip(text: Any, limit: int = _LONGEST_TEXT) -> str:
    """A text from outside, cut where it is very long."""
    text = str(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def format_count(value: float | None) -> Any:
    """`12,345`, or that it is undefined."""
    found = number(value)
    return in_both(*_UNDEFINED) if found is None else f"{found:,.0f}"


def format_decimal(value: float | None, digits: int = 3, sign: str = "") -> Any:
    """`0.123`, or that it is undefined; with `sign="+"` also `+0.123`."""
    found = number(value, digits)
    return in_both(*_UNDEFINED) if found is None else f"{found:{sign}.{digits}f}"


def _figures(report: Mapping[str, Any]) -> dict[str, str]:
    """The plots that the report has numbers for, by name, as HTML."""
    strategies = report.get("strategies") or {}
    histograms = {name: one["histogram"] for name, one in strategies.items() if (one or {}).get("histogram")}
    found = {
        "scores": (plots.scores(report.get("histogram"), report.get("gold_histogram")), 340),
        "strategies": (plots.by_strategy(histograms), 340),
        "calibration": (plots.calibration((report.get("calibration") or {}).get("points")), 320),
        "disagreement": (plots.disagreements((report.get("disagreement") or {}).get("histogram")), 320),
    }
    return {
        name: figure_html(figure, f"plot-{name}", height)
        for name, (figure, height) in found.items()
        if figure is not None
    }


def _check(check: Mapping[str, Any], target: str | None) -> dict[str, Any]:
    """A check of the gate in words; one of another name keeps its own."""
    name = str(check.get("name"))
    words = _SPREAD_OF_CLASSES if (name, target) == ("spread", "classes") else _CHECKS.get(name)
    said = clip(check.get("said") or "")
    return {
        "name": in_both(*words.name) if words else clip(name, _LONGEST_NAME),
        "note": in_both(*words.note) if words else "",
        # The report says it in English; a Korean reader finds its figures in the other columns.
        "said": in_both("", said) if words else said,
        "value": format_decimal(check.get("value"), *((2, "+") if name == "teacher" else ())),
        "bound": f"{words.bound if words else ''} {number(check['bound']):g}" if _finite(check.get("bound")) else "",
        "passed": bool(check.get("passed")),
    }


def _difference(difference: Sequence[float | None] | None) -> dict[str, Any] | None:
    """Teachers minus student, and whether its interval reaches 0."""
    if not difference:
        return None
    value, low, high = (number(part, 2) for part in (*difference, None, None)[:3])
    shown = format_decimal(value, 2, "+")
    if value is None or low is None or high is None:
        return {"shown": shown, "unsure": False}
    return {"shown": f"{shown} [{low:+.2f}, {high:+.2f}]", "unsure": low <= 0 <= high}


def _models(report: Mapping[str, Any]) -> list[tuple[Any, str, Any]]:
    """Role, name and score on dev of the teachers, of all of them together, and of the student."""
    teachers, student = report.get("teachers") or (), report.get("student")
    rows = [(in_both("교사", "teacher"), one) for one in teachers[:_MOST_ROWS]]
    if len(teachers) > 1 and report.get("together") is not None:
        rows.append(
            (in_both("교사", "teachers"), {"name": in_both("모두 함께", "together"), "dev": report["together"]})
        )
    rows += [(in_both("학생", "student"), student)] if student else []
    return [
        (
            role,
            # What is markup already is not to be cut and escaped again.
            one["name"] if hasattr(one.get("name"), "__html__") else clip(one.get("name") or "-", _LONGEST_NAME),
            "-" if one.get("dev") is None else format_decimal(one["dev"], 2),
        )
        for role, one in rows
    ]


def _left_out(report: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Reason and count of the pairs that were scored and are not among the labels."""
    counts = report.get("left_out") or {}
    return [(in_both(*words), format_count(counts[why])) for why, words in _LEFT_OUT.items() if counts.get(why)]


def _shares(
    counts: Mapping[str, float | None] | None,
    names: Mapping[str, tuple[str, str]],
    notes: Mapping[str, tuple[str, str]],
) -> list[Share]:
    counts = {name: count for name, count in (counts or {}).items() if count is not None}
    total = sum(count for count in map(number, counts.values()) if count is not None)
    return [
        Share(
            name=in_both(*names[name]) if name in names else clip(name, _LONGEST_NAME),
            note=in_both(*notes[name]) if name in notes else "",
            pairs=format_count(count),
            share=number(count / total) if total else None,
        )
        for name, count in list(counts.items())[:_MOST_ROWS]
    ]


def _strategies(strategies: Mapping[str, Mapping[str, Any] | None] | None) -> list[Share]:
    counts = {name: (one or {}).get("pairs") for name, one in (strategies or {}).items()}
    return _shares(counts, {}, _STRATEGIES)


def _by_tenth(examples: Sequence[Mapping[str, Any]]) -> list[tuple[Any, list[Mapping[str, Any]]]]:
    """Examples under the tenth of the scale that they lie in, from high to low; those without a score come last."""
    tenths: dict[int, list[tuple[float, Mapping[str, Any]]]] = {}
    for example in examples:
        score = number(example.get("score"), 9)
        tenth = -1 if score is None else min(max(int(score * 10), 0), 9)
        tenths.setdefault(tenth, []).append((score or 0.0, example))
    return [
        (
            f"{tenth / 10:.1f} - {(tenth + 1) / 10:.1f}" if tenth >= 0 else in_both(*_UNDEFINED),
            [example for _, example in sorted(tenths[tenth], key=lambda scored: -scored[0])][:_MOST_EXAMPLES],
        )
        for tenth in sorted(tenths, reverse=True)
    ]


def _finite(value: float | None) -> bool:
    return number(value) is not None
