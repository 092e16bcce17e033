"""Every mistake that the doctor knows is found where it was planted, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.lint import Finding, is_held_out, leakage, lint, lint_pairs, without_repeats
from munjang.data.lint.findings import counted
from munjang.data.load import load_rows
from munjang.data.rows import Document, LabelledPair, ParallelPair, PositivePair, Qrel, RankedList, ScoredPair, Triplet


def pairs(count: int, start: int = 0) -> list[ScoredPair]:
    """Distinct pairs of distinct sentences with scores over the whole scale."""
    numbers = range(start, start + count)
    return [ScoredPair(f"왼쪽 문장 {n}", f"오른쪽 문장 {n}", (n % 11) / 10) for n in numbers]


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def only(findings: list[Finding], code: str) -> Finding:
    assert codes(findings) == [code]
    return findings[0]


def test_nothing_is_found_in_good_sets() -> None:
    sets = {"x:train": pairs(50), "x:dev": pairs(20, 100), "x:test": pairs(20, 200), "raw": ["가", "나"]}
    assert lint(sets) == []
    assert lint({}) == []
    assert lint({"empty:train": [], "empty:test": []}) == []


# -- one set


def test_a_column_that_was_read_twice() -> None:
    rows = [
        ScoredPair(row.sentence1, f" {row.sentence1.upper()} ", 1.0 if n else 0.5) for n, row in enumerate(pairs(20))
    ]
    finding = next(f for f in lint_pairs("set", rows) if f.code == "same-column")
    assert finding.severity == "error"
    assert "20 of 20 pairs" in finding.message
    assert finding.example == rows[0].sentence1
    assert "columns" in finding.remedy


@pytest.mark.parametrize(
    ("identical", "total", "found"), [(10, 20, False), (11, 20, True), (9, 9, False), (10, 10, True)]
)
def test_more_than_half_identical_is_a_column_read_twice(identical: int, total: int, found: bool) -> None:
    rows = [
        ScoredPair(r.sentence1, r.sentence1 if n < identical else r.sentence2, 1.0) for n, r in enumerate(pairs(total))
    ]
    rows[0] = ScoredPair(rows[0].sentence1, rows[0].sentence2, 0.9)
    assert ("same-column" in codes(lint_pairs("set", rows))) is found


def test_identical_strings_below_the_maximum() -> None:
    same = [ScoredPair("같은 문장", "같은  문장 ", 0.8), ScoredPair("또 같은 문장", "또 같은 문장", 1.0)]
    finding = only(lint_pairs("set", [*pairs(20), *same]), "identical-below-maximum")
    assert finding.severity == "warning"
    assert finding.message.startswith("1 pair has")
    assert finding.example == "같은 문장 (score 0.80 of 1)"


def test_scores_that_are_all_equal() -> None:
    finding = only(lint_pairs("set", [r._replace(score=0.5) for r in pairs(30)]), "constant-scores")
    assert (finding.severity, finding.message, finding.example) == ("error", "all 30 scores are equal", "0.5 of 1")
    assert lint_pairs("set", pairs(1)) == []


@pytest.mark.parametrize(("count", "top", "found"), [(20, 0.25, True), (20, 0.26, False), (19, 0.25, False)])
def test_a_scale_declared_too_wide(count: int, top: float, found: bool) -> None:
    rows = [r._replace(score=top * n / (count - 1)) for n, r in enumerate(pairs(count))]
    assert codes(lint_pairs("set", rows)) == (["scale"] if found else [])


def test_one_pair_with_two_scores() -> None:
    rows = [*pairs(20), ScoredPair("가 나", "다", 0.2), ScoredPair("다", "가  나", 0.9), ScoredPair("가 나", "다", 0.2)]
    finding = only(lint_pairs("set", rows), "conflicting-duplicates")
    assert finding.severity == "warning"
    assert finding.message == "1 pair occurs more than once with different scores"
    assert finding.example == "가 나 / 다: 0.20, 0.90, 0.20"


def test_a_pair_with_many_scores_shows_a_few_and_their_number() -> None:
    scores = [0.2, 0.2, 0.2, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5]
    rows = [*pairs(20), *(ScoredPair("가", "나", score) for score in scores)]
    finding = only(lint_pairs("set", rows), "conflicting-duplicates")
    assert finding.example == "가 / 나: 0.20, 0.90, 0.80, 0.70 and 5 more"


def test_findings_that_say_the_same_are_one_that_names_all_places() -> None:
    one, other = (Finding("warning", "encoding", name, "message", "", "remedy") for name in ("a", "b"))
    different = Finding("warning", "encoding", "c", "message", "an example of its own", "remedy")
    merged = without_repeats([one, different, other, one])
    assert [finding.where for finding in merged] == ["a, b", "c"]


@pytest.mark.parametrize(("count", "text"), [(1, "1 of 3,000 rows is"), (0, "0 of 3,000 rows are")])
def test_a_count_and_its_verb_agree(count: int, text: str) -> None:
    assert counted(count, "rows is", "rows are", 3000) == text


def test_one_pair_twice_with_one_score() -> None:
    finding = only(lint_pairs("set", [*pairs(20), pairs(1)[0]]), "duplicate-pairs")
    assert finding.severity == "note"
    assert finding.message.startswith("1 pair occurs more than once")


def test_two_scores_that_differ_a_little_are_not_called_the_same() -> None:
    found = lint_pairs("set", [*pairs(20), ScoredPair("가", "나", 0.50), ScoredPair("나", "가", 0.55)])
    assert len(found) == 1
    assert "with the same score" not in found[0].message


def test_repeated_texts() -> None:
    finding = only(lint({"raw": ["가", "나", "가", " 가 ", "다"]}), "duplicate-texts")
    assert finding.message == "2 of 5 texts are repetitions"
    documents = [Document("1", "가"), Document("2", "나"), Document("3", "가")]
    assert only(lint({"help": documents}), "duplicate-texts").message == "1 of 3 texts is a repetition"
    assert lint({"help": documents[:2]}) == []


def triplets(count: int) -> list[Triplet]:
    return [Triplet(f"기준 {n}", f"긍정 {n}", f"부정 {n}") for n in range(count)]


def positives(count: int) -> list[PositivePair]:
    return [PositivePair(f"질문 {n}", f"답변 {n}") for n in range(count)]


@pytest.mark.parametrize("same", ["anchor", "positive"])
def test_triplets_whose_negative_is_their_anchor_or_positive(same: str) -> None:
    rows = triplets(20)
    rows[3] = rows[3]._replace(negative=f" {getattr(rows[3], same)} ")
    finding = only(lint({"nli": rows}), "contradicting-triplets")
    assert (finding.severity, finding.where) == ("warning", "nli")
    assert finding.message.startswith("the negative of 1 of 20 triplets")
    assert finding.example == f" {getattr(rows[3], same)} "
    assert "negative" in finding.remedy


def test_pairs_and_triplets_with_identical_sides() -> None:
    rows = [*triplets(20), Triplet("같은 말", "같은  말", "다른 말")]
    assert only(lint({"nli": rows}), "identical-positives").message.endswith("in 1 of 21 rows")
    pairs = [*positives(20), PositivePair("ABC", "abc")]
    assert only(lint({"faq": pairs}), "identical-positives").severity == "warning"


@pytest.mark.parametrize(
    ("wrong", "total", "severity"), [(10, 20, "warning"), (11, 20, "error"), (9, 9, "warning"), (10, 10, "error")]
)
def test_more_than_half_of_them_are_a_column_read_twice(wrong: int, total: int, severity: str) -> None:
    turned = [r._replace(negative=r.anchor) if n < wrong else r for n, r in enumerate(triplets(total))]
    assert only(lint({"nli": turned}), "contradicting-triplets").severity == severity
    doubled = [r._replace(positive=r.anchor) if n < wrong else r for n, r in enumerate(positives(total))]
    assert only(lint({"faq": doubled}), "identical-positives").severity == severity


def test_nothing_is_found_in_good_rows_of_the_other_kinds() -> None:
    lists = [RankedList(f"질의 {n}", ("가", "나"), (1.0, 0.0)) for n in range(20)]
    assert lint({"nli": triplets(20), "faq": positives(20), "teacher": lists}) == []


def test_an_example_cannot_write_to_the_terminal() -> None:
    bad = "\x1b[2J나쁜 \u202e문장"
    rows = [*pairs(20), ScoredPair(bad, bad, 0.1), ScoredPair("x" * 500, "x" * 500, 0.1)]
    for finding in lint({"x:train": rows, "x:test": rows}):
        assert finding.example.isprintable()
        assert len(finding.example) < 200


# -- several sets


def test_leakage_is_counted_in_sentences_and_pairs() -> None:
    train, test = pairs(50), pairs(50, 1000)
    planted = [
        *(ScoredPair(r.sentence2.upper(), f" {r.sentence1}", r.score) for r in train[:2]),  # whole pairs, turned
        *(ScoredPair(r.sentence1, f"새 문장 {n}", 0.3) for n, r in enumerate(train[5:8])),  # one sentence each
    ]
    finding = only(lint({"x:train": train, "x:test": [*test, *planted]}), "leakage")
    assert finding.severity == "warning"
    assert finding.where == "x:train / x:test"
    assert finding.message == "7 sentences and 2 whole pairs are in both sets"
    assert finding.example == min(t.lower() for r in train[:2] for t in r[:2])
    assert "exclude" in finding.remedy
    assert "held_out" in finding.remedy


def test_training_sets_may_share_sentences_but_it_is_noted() -> None:
    assert [f.severity for f in lint({"x:train": pairs(5), "y:train": pairs(5)})] == ["note"]
    assert [f.severity for f in lint({"train.tsv": pairs(5), "testset.tsv": pairs(5)})] == ["note"]
    assert codes(lint({"x:train": pairs(5), "y:dev": pairs(5)})) == ["leakage"]
    assert codes(lint({"x:test": pairs(5), "x:dev": pairs(5), "raw": [pairs(1)[0].sentence1]})) == ["leakage"] * 3


def test_leakage_is_seen_between_rows_of_any_kind() -> None:
    sets = {
        "raw": ["같은 문장", "다른 문장"],
        "nli": [LabelledPair("같은 문장", "전제", "neutral")],
        "parallel": [ParallelPair("같은 문장", "the same sentence")],
        "help": [Document("7", "같은 문장")],
        "sts:test": [ScoredPair("같은 문장", "또 다른", 0.5), ScoredPair("가", "나", 0.1)],
    }
    found = [f for f in leakage(sets) if f.severity == "warning"]
    assert [f.where for f in found] == [f"{name} / sts:test" for name in ("raw", "nli", "parallel", "help")]
    assert {f.message for f in found} == {"1 sentence and 0 whole pairs are in both sets"}


def test_whole_pairs_are_seen_in_rows_of_any_kind() -> None:
    sets = {
        "nli": [Triplet("가", "다", "나")],
        "faq": [PositivePair("나", "가")],
        "teacher": [RankedList("가", ("라", "나"), (1.0, 2.0))],
        "labels": [LabelledPair("가", "나", "neutral")],
        "sts:test": [ScoredPair("가", "나", 0.5)],
    }
    found = [f for f in leakage(sets) if f.severity == "warning"]
    assert [f.where for f in found] == [f"{name} / sts:test" for name in list(sets)[:4]]
    assert {f.message for f in found} == {"2 sentences and 1 whole pair are in both sets"}


def test_the_last_texts_of_a_row_leak_too() -> None:
    sets = {
        "nli": [Triplet("가", "나", "샌 문장")],
        "teacher": [RankedList("가", ("나", "샌 문장"), (1.0, 2.0))],
        "x:test": [ScoredPair("샌 문장", "다른 문장", 0.5)],
    }
    assert [f.where for f in leakage(sets) if f.severity == "warning"] == ["nli / x:test", "teacher / x:test"]


def test_judgements_hold_ids_and_no_sentences() -> None:
    assert lint({"qrels:test": [Qrel("가", "나", 1)], "raw": ["가", "나"]}) == []


@pytest.mark.parametrize(
    ("name", "held_out"),
    [
        ("korsts:test", True),
        ("korsts:dev", True),
        ("jhe:eval", True),
        ("my-dev", True),
        ("test", True),
        ("korsts:train", False),
        ("raw", False),
        ("contest", False),
        ("latest", False),
        ("test/train.tsv", False),
    ],
)
def test_names_of_splits_that_training_must_not_see(name: str, held_out: bool) -> None:
    assert is_held_out(name) is held_out


@pytest.mark.parametrize("path", ["test.tsv", "data/sts-test.tsv", "my data/dev.csv", "pairs_test.jsonl"])
def test_files_are_splits_by_their_names_too(path: str) -> None:
    assert codes(lint({"train.tsv": pairs(5), path: pairs(5)})) == ["leakage"]


def test_errors_come_first_and_notes_last() -> None:
    rows = [*(r._replace(score=0.5) for r in pairs(30)), pairs(1)[0]._replace(score=0.5)]
    found = lint({"x:train": rows, "x:test": pairs(30)})
    assert [f.severity for f in found] == ["error", "warning", "warning", "note"]
    assert set(found[0].as_dict()) == {"severity", "code", "where", "message", "example", "remedy"}
    assert all(isinstance(value, str) for f in found for value in f.as_dict().values())


# -- the real sets


@pytest.fixture(scope="module")
def korsts(real_data: Path) -> dict[str, list[ScoredPair]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUNJANG_DATA", str(real_data))
        names = [f"korsts:{split}" for split in ("train", "dev", "test")]
        return {n: load_rows(DataSpec(source=n), ("scored-pairs",), real_data).rows for n in names}


def test_what_the_real_splits_share(korsts: dict[str, list[ScoredPair]]) -> None:
    assert {f.where: f.message for f in leakage(korsts)} == {
        "korsts:train / korsts:dev": "166 sentences and 3 whole pairs are in both sets",
        "korsts:train / korsts:test": "153 sentences and 2 whole pairs are in both sets",
        "korsts:dev / korsts:test": "85 sentences and 6 whole pairs are in both sets",
    }


def test_what_is_wrong_inside_the_real_splits(korsts: dict[str, list[ScoredPair]]) -> None:
    found = lint(korsts)
    assert not [f for f in found if f.severity == "error"]
    messages = {(f.where, f.code): f.message for f in found}
    expected = "8 pairs are identical strings with a score below the maximum"
    assert messages["korsts:train", "identical-below-maximum"] == expected
