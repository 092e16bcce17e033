"""Translations: which side is which, and what was never translated."""

from __future__ import annotations

from munjang.data.lint import lint_parallel, lint_set, swapped_sides
from munjang.data.rows import ParallelPair

PAIRS = [ParallelPair(f"오늘은 {i}번째 날입니다", f"today is day {i}") for i in range(40)]
TURNED = [ParallelPair(row.target, row.source) for row in PAIRS]


def test_pairs_that_stand_the_other_way_round_are_found() -> None:
    rows = PAIRS[:36] + TURNED[36:]
    assert swapped_sides(rows) == TURNED[36:]
    (finding,) = [f for f in lint_set("x", rows) if f.code == "swapped-sides"]
    assert finding.severity == "error"
    assert "4 of 40" in finding.message


def test_the_direction_of_most_is_right_whichever_it_is() -> None:
    assert swapped_sides(TURNED) == []
    assert swapped_sides(TURNED[:39] + PAIRS[39:]) == PAIRS[39:]


def test_sides_of_one_script_say_nothing() -> None:
    assert swapped_sides([ParallelPair(f"bonjour {i} amis", f"hello {i} friends") for i in range(40)]) == []
    assert swapped_sides(PAIRS[:10] + TURNED[:9]) == []  # too few
    assert swapped_sides(PAIRS[:20] + TURNED[:20]) == []  # no side has a language of its own


def test_originals_that_were_copied_are_no_translations() -> None:
    rows = [*PAIRS[:30], ParallelPair("그대로", "그대로")]
    (finding,) = lint_parallel("x", rows)
    assert (finding.code, finding.severity) == ("untranslated", "warning")
    assert lint_parallel("x", PAIRS) == []
    mostly = [ParallelPair(f"글 {i}", f"글 {i}") for i in range(40)]
    assert [f.severity for f in lint_parallel("x", mostly)] == ["error"]
