"""Mistakes in labelled pairs, triplets and ranked lists."""

from __future__ import annotations

from munjang.data.lint import Finding, lint_labels, lint_lists, lint_set, lint_triplets
from munjang.data.rows import LabelledPair, RankedList, Triplet

LABELS = ("entailment", "neutral", "contradiction")


def nli(premises: int) -> list[LabelledPair]:
    """Each premise with a hypothesis of each label."""
    return [LabelledPair(f"전제 {n}", f"가설 {n} {label}", label) for n in range(premises) for label in LABELS]


def only(findings: list[Finding], code: str) -> Finding:
    assert [finding.code for finding in findings] == [code]
    return findings[0]


def test_nothing_is_found_in_good_nli() -> None:
    assert lint_set("nli", nli(40)) == []


def test_premise_and_hypothesis_that_changed_places() -> None:
    turned = [LabelledPair(row.sentence2, row.sentence1, row.label) for row in nli(40)]
    finding = only(lint_labels("nli", turned), "swapped-columns")
    assert (finding.severity, "120 distinct premises and 40 distinct hypotheses" in finding.message) == (
        "warning",
        True,
    )
    assert lint_labels("nli", turned[:48]) == []


def test_one_pair_with_two_labels() -> None:
    rows = [*nli(20), LabelledPair("전제", "가설", "neutral"), LabelledPair("전제", "가설 ", "contradiction")]
    finding = only(lint_labels("nli", rows), "conflicting-duplicates")
    assert finding.example == "전제 / 가설: neutral, contradiction"
    turned = [*nli(20), LabelledPair("전제", "가설", "neutral"), LabelledPair("가설", "전제", "entailment")]
    assert lint_labels("nli", turned) == []


def test_one_pair_twice_with_one_label() -> None:
    assert only(lint_labels("nli", [*nli(20), nli(1)[0]]), "duplicate-pairs").severity == "note"


def test_one_label_and_a_rare_one() -> None:
    finding = only(lint_labels("nli", [row._replace(label="neutral") for row in nli(20)]), "constant-labels")
    assert (finding.severity, finding.example) == ("error", "entailment 0, neutral 60, contradiction 0")
    rare = [row for row in nli(40) if row.label != "contradiction"]
    assert "0.0% of the rows are labelled contradiction" in only(lint_labels("nli", rare), "skewed-labels").message


def test_identical_sentences_that_are_no_entailment() -> None:
    rows = [*nli(20), LabelledPair("같은 말", "같은  말", "contradiction"), LabelledPair("말", "말", "entailment")]
    finding = only(lint_labels("nli", rows), "identical-not-entailed")
    assert finding.message.startswith("1 pair has")
    assert finding.example == "같은 말 (contradiction)"


def test_a_column_of_nli_that_was_read_twice() -> None:
    rows = [row._replace(sentence2=row.sentence1) for row in nli(20)]
    assert "same-column" in {f.code for f in lint_labels("nli", rows) if f.severity == "error"}


def test_positive_and_negative_that_changed_places() -> None:
    good = [Triplet(f"환불은 며칠이나 {n}", f"환불은 며칠 걸려요 {n}", f"배송지 변경 {n}") for n in range(60)]
    assert lint_triplets("t", good) == []
    turned = [Triplet(row.anchor, row.negative, row.positive) for row in good]
    finding = only(lint_triplets("t", turned), "swapped-columns")
    assert finding.message.startswith("in 60 of 60 triplets")
    # One in five the other way is what hard negatives look like.
    assert lint_triplets("t", [*turned[:48], *good[48:]]) == []


def test_lists_that_order_nothing() -> None:
    lists = [RankedList(f"질의 {n}", ("가", "나"), (2.0, 0.0)) for n in range(9)]
    flat = RankedList("질의", ("가", "나"), (1.0, 1.0))
    assert only(lint_lists("t", [*lists, flat]), "flat-lists").severity == "note"
    assert only(lint_lists("t", [flat._replace(scores=(3.0, 3.0))]), "flat-lists").severity == "error"


def test_scores_that_passed_a_sigmoid() -> None:
    lists = [RankedList(f"질의 {n}", ("가", "나"), (0.9, 0.03)) for n in range(9)]
    finding = only(lint_lists("t", lists), "probability-scores")
    assert (finding.severity, "0.03 to 0.9" in finding.message) == ("note", True)
    assert lint_lists("t", [row._replace(scores=(1.0, 0.0)) for row in lists]) == []
    assert lint_lists("t", [*lists, RankedList("질의", ("가", "나"), (7.2, -1.0))]) == []
