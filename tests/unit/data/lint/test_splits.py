"""What sets share: near copies, pairs with two scores, and test sets that nobody named."""

from __future__ import annotations

from munjang.data.lint import conflicting_sets, lint, lint_set, near_leakage
from munjang.data.lint.repeats import near_duplicates
from munjang.data.lint.splits import is_test, known_leakage
from munjang.data.rows import ScoredPair

LONG = "환불은 신청하신 날부터 영업일로 사흘 안에 처리됩니다"
NEARLY = "환불은 신청하신 날부터 영업일로 나흘 안에 처리됩니다."
OTHER = "배송지는 상품이 출고되기 전까지 마이페이지에서 바꿀 수 있습니다"


def test_near_copies_of_held_out_sentences() -> None:
    sets = {"x:train": [NEARLY, OTHER], "x:test": [LONG], "y:train": [NEARLY]}
    found = near_leakage(sets)
    assert [f.where for f in found] == ["x:train / x:test", "y:train / x:test"]
    assert {(f.severity, f.code) for f in found} == {("warning", "near-leakage")}
    assert found[0].message.startswith("1 further sentence of x:test nearly stands in x:train")
    assert f"{LONG} | {NEARLY}" in found[0].example
    assert near_leakage({"x:train": [NEARLY], "y:train": [LONG]}) == []


def test_a_few_near_copies_of_many_are_a_note() -> None:
    words = ["가", "나", "다", "라", "마", "바", "사", "아"]
    many = [f"{a}{b} {c}{a}{b} 문장 {b}{c}{a}{a} {c}{c}" for a in words for b in words for c in words]
    assert [f.severity for f in near_leakage({"x:train": [NEARLY], "x:test": [*many, LONG]})] == ["note"]


def test_what_is_the_same_is_leakage_and_not_near() -> None:
    assert {f.code for f in lint({"x:train": [LONG], "x:test": [LONG.replace(" ", "  ")]})} == {"leakage"}


def test_two_held_out_sets_are_told_once() -> None:
    assert [f.where for f in near_leakage({"x:dev": [LONG], "x:test": [NEARLY]})] == ["x:dev / x:test"]


def test_known_test_sets_are_compared_with_what_is_not_held_out() -> None:
    known = {"korsts:test": [LONG, OTHER]}
    found = known_leakage({"raw": [LONG], "near": [NEARLY], "x:test": [LONG]}, known)
    assert {(f.where, f.code) for f in found} == {
        ("raw / korsts:test", "leakage"),
        ("near / korsts:test", "near-leakage"),
    }
    assert known_leakage({"x:dev": [LONG]}, known) == []
    assert known_leakage({"raw": [LONG]}, {}) == []


def test_gold_pairs_that_came_back_with_another_score() -> None:
    gold = [ScoredPair(f"왼쪽 {n}", f"오른쪽 {n}", n / 10) for n in range(10)]
    silver = [ScoredPair(r.sentence2, r.sentence1, 1 - r.score) for r in gold[:3]] + [gold[9]]
    (finding,) = conflicting_sets({"gold": gold, "silver": silver, "raw": ["가"]})
    assert (finding.severity, finding.code, finding.where) == ("warning", "conflicting-sets", "gold / silver")
    assert finding.message == "3 of 4 pairs in both sets have different scores"
    assert finding.example == "오른쪽 0 / 왼쪽 0: 0.00, 1.00"
    assert conflicting_sets({"gold": gold, "again": gold}) == []


def test_near_repetitions_inside_of_a_set() -> None:
    (finding,) = near_duplicates("raw", [OTHER, LONG, f"{LONG}!", LONG])
    assert finding.message == "1 of 4 rows nearly repeats an earlier one (at least 85% of their trigrams)"
    assert finding.example == f"{LONG}! | {LONG} (1.00)"
    assert near_duplicates("raw", [OTHER, LONG, NEARLY[:20]]) == []


def test_rows_are_compared_whole_not_sentence_by_sentence() -> None:
    rows = [ScoredPair(LONG, OTHER, 0.1), ScoredPair(LONG, NEARLY, 0.9)]
    assert "near-duplicates" not in {f.code for f in lint_set("x", rows)}


def test_names_of_splits_that_only_measure() -> None:
    assert [is_test(name) for name in ("korsts:test", "jhe:eval", "gold_test.tsv")] == [True] * 3
    assert [is_test(name) for name in ("korsts:dev", "contest", "korsts:train", "valid.tsv")] == [False] * 4
