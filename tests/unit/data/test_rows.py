"""Rows and reports: what a reader says about its work, safe to print and complete."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter

import pytest

from munjang.data.rows import (
    Document,
    LabelledPair,
    LabelledText,
    ParallelPair,
    PositivePair,
    Qrel,
    RankedList,
    ReadReport,
    Reject,
    ScoredPair,
    Triplet,
    pair_key,
    pairs_of,
    sentences_of,
    texts_of,
)


def test_a_reject_reads_place_then_reason_then_excerpt():
    assert Reject("a.tsv", 3, "score", "not a number", "4,5").sentence() == "a.tsv:3:score: not a number: 4,5"
    assert Reject("a.tsv", 3, None, "expected 3 columns, got 2").sentence() == "a.tsv:3: expected 3 columns, got 2"


@pytest.mark.parametrize(
    "reject",
    [
        Reject("a.tsv", 1, "score", "wrong", "\x1b[2J\n\u202e" + "x" * 500),
        Reject("a\x1b[2J.tsv", 1, "score", "wrong"),
        Reject("a.tsv", 1, "sc\x1bore\n", "wrong"),
    ],
    ids=["excerpt", "file", "column"],
)
def test_a_reject_is_one_printable_line(reject):
    assert reject.sentence().isprintable()
    assert len(reject.sentence()) < 200


def test_a_report_names_what_was_read_kept_rejected_and_changed():
    report = ReadReport("korsts:train", read=5749, kept=5740, rejects=[Reject("a", i, None, "x") for i in range(9)])
    assert report.sentence() == "korsts:train: 5,749 rows read, 5,740 kept, 9 rejected"
    report.changes = Counter(nfc=1200, control=3)
    assert report.sentence().endswith("9 rejected (control in 3, nfc in 1,200)")


def test_a_report_says_what_each_choice_left():
    report = ReadReport("x", read=9, kept=9, handed_on={"part 0-0.5": 1200, "sample": 3}, changes=Counter(nfc=2))
    line = "x: 9 rows read, 9 kept, 0 rejected (part 0-0.5: 1,200 rows; sample: 3 rows) (nfc in 2)"
    assert report.sentence() == line
    assert report.as_dict()["handed_on"] == {"part 0-0.5": 1200, "sample": 3}


def test_a_report_as_json_holds_every_reject_of_a_usual_file():
    report = ReadReport("x", "cp949", 30, 5, [Reject("a.tsv", i, None, "wrong") for i in range(25)], Counter(nfc=2))
    assert json.loads(json.dumps(report.as_dict())) == {
        "source": "x",
        "encoding": "cp949",
        "read": 30,
        "kept": 5,
        "rejected": 25,
        "rejects": [f"a.tsv:{i}: wrong" for i in range(25)],
        "changes": {"nfc": 2},
        "handed_on": {},
    }


def test_a_report_as_json_counts_all_rejects_and_lists_ten_thousand_of_them():
    written = ReadReport("x", rejects=[Reject("a", i, None, "wrong") for i in range(10_001)]).as_dict()
    assert written["rejected"] == 10_001
    assert len(written["rejects"]) == 10_000


def test_a_pair_has_one_key_in_both_orders_and_spellings():
    key = pair_key("가 나", "STRASSE")
    assert key == pair_key("straße ", unicodedata.normalize("NFD", "가  나"))
    assert key != pair_key("가 나", "가 나")


def test_all_texts_of_rows_come_in_order():
    assert sentences_of(["가", "나"]) == ["가", "나"]
    assert sentences_of([ScoredPair("가", "나", 0.5), ScoredPair("다", "라", 1.0)]) == ["가", "나", "다", "라"]
    assert sentences_of([LabelledPair("가", "나", "neutral")]) == ["가", "나"]
    assert sentences_of([ParallelPair("가", "a")]) == ["가", "a"]
    assert sentences_of([Document("1", "가"), Document("2", "나")]) == ["가", "나"]
    assert sentences_of([]) == []


#: A row of each kind, its texts and the pairs that it compares.
EACH_KIND = [
    ("가", ("가",), []),
    (Document("1", "가"), ("가",), []),
    (LabelledText("가", "주제"), ("가",), []),
    (Qrel("q", "d", 1), (), []),
    (ScoredPair("가", "나", 0.5), ("가", "나"), [("가", "나")]),
    (LabelledPair("가", "나", "neutral"), ("가", "나"), [("가", "나")]),
    (PositivePair("가", "나"), ("가", "나"), [("가", "나")]),
    (ParallelPair("가", "a"), ("가", "a"), [("가", "a")]),
    (Triplet("가", "나", "다"), ("가", "나", "다"), [("가", "나"), ("가", "다")]),
    (
        RankedList("가", ("나", "다", "라"), (1.0, 2.0, 3.0)),
        ("가", "나", "다", "라"),
        [("가", "나"), ("가", "다"), ("가", "라")],
    ),
]


@pytest.mark.parametrize(("row", "texts", "pairs"), EACH_KIND, ids=[type(row).__name__ for row, *_ in EACH_KIND])
def test_a_row_gives_all_of_its_texts_and_pairs(row, texts, pairs):
    assert texts_of(row) == texts
    assert pairs_of(row) == pairs


def test_rows_of_several_kinds_give_all_their_texts_in_order():
    rows = [row for row, *_ in EACH_KIND]
    assert sentences_of(rows) == [text for _, texts, _ in EACH_KIND for text in texts]


@pytest.mark.parametrize("row", [("가", "나", 0.5), ["가", "나"], None, b"x"], ids=repr)
def test_a_row_of_no_known_kind_is_a_mistake_and_not_two_texts(row):
    with pytest.raises(TypeError, match="no known texts"):
        texts_of(row)
