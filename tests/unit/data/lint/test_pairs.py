"""Scored pairs whose scores are crowded, unused in part, or turned round."""

from __future__ import annotations

import random

import pytest

from munjang.data.lint import Finding, lint_pairs
from munjang.data.lint.pairs import shared_letters
from munjang.data.rows import ScoredPair


def graded(count: int, seed: int = 1) -> list[ScoredPair]:
    """Pairs that share as many of their words as their score says."""
    draw = random.Random(seed)
    words = [f"{a}{b}" for a in "가나다라마바사아" for b in "거너더러머버서어"]
    rows = []
    for number in range(count):
        shared = number % 6
        left, others = draw.sample(words, 5), draw.sample([w for w in words], 5)
        rows.append(ScoredPair(" ".join(left), " ".join([*left[:shared], *others[shared:]]), shared / 5))
    return rows


def by_code(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.code: finding for finding in findings}


def test_graded_pairs_are_in_order() -> None:
    assert by_code(lint_pairs("set", graded(120))).keys() <= {"identical-below-maximum", "duplicate-pairs"}


def test_scores_that_are_distances() -> None:
    turned = [row._replace(score=1 - row.score) for row in graded(120)]
    finding = by_code(lint_pairs("set", turned))["inverted-scores"]
    assert finding.severity == "warning"
    assert "rank correlation -0." in finding.message
    assert finding.example.endswith("of 1")
    assert "distance" in finding.remedy
    assert "inverted-scores" not in by_code(lint_pairs("set", turned[:49]))


@pytest.mark.parametrize(
    ("scores", "code", "words"),
    [
        ([0.95] * 60 + [0.1] * 10, "skewed-scores", "86% of the scores lie in one tenth of the scale"),
        ([n / 100 for n in range(48)] * 2 + [1.0], "skewed-scores", "only 1.0% of the scores lie in the upper half"),
        (
            [0.5 + n / 100 for n in range(48)] * 2 + [0.0],
            "skewed-scores",
            "only 1.0% of the scores lie in the lower half",
        ),
        ([0.2 + n / 75 for n in range(61)], "unused-range", "use only 0.20 to 1.00 of the declared scale"),
        ([n / 75 for n in range(61)], "unused-range", "use only 0.00 to 0.80 of the declared scale"),
    ],
)
def test_the_shape_of_the_scores(scores: list[float], code: str, words: str) -> None:
    rows = [ScoredPair(f"왼쪽 {n}", f"다른 {n}", score) for n, score in enumerate(scores)]
    assert words in by_code(lint_pairs("set", rows))[code].message
    assert code not in by_code(lint_pairs("set", rows[:49]))


def test_evenly_spread_scores_are_not_skewed() -> None:
    rows = [ScoredPair(f"왼쪽 {n}", f"다른 {n}", (n % 11) / 10) for n in range(110)]
    assert lint_pairs("set", rows) == []
    binary = [row._replace(score=float(row.score >= 0.5)) for row in rows]
    assert lint_pairs("set", binary) == []


def test_shared_letters_are_counted_in_neighbouring_characters() -> None:
    assert shared_letters("가나다", "가나다") == 1.0
    assert shared_letters("가나다", "가나라") == 0.5
    assert shared_letters("가나다", "라마바") == 0.0
    assert shared_letters("", "가") == 0.0
