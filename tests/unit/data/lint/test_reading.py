"""What reading a file showed becomes findings: encodings, rejects with their reasons, characters that nobody sees."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.lint import Finding
from munjang.data.lint.page import findings_page
from munjang.data.lint.reading import lint_reading
from munjang.data.load import load_rows

Write = Callable[[str, bytes | str], Path]
GOOD = "sentence1\tsentence2\tscore\n환불은 며칠 걸리나요?\t언제 환불되나요?\t4.5\n"


def found(path: Path, declared: str = "stop", **settings: Any) -> list[Finding]:
    spec = DataSpec(source=str(path), rejects="skip", **{"scale": (0, 5), **settings})
    return lint_reading("set", load_rows(spec, ("scored-pairs", "sentences"), path.parent).report, declared)


def test_a_good_file_shows_nothing(scratch: Write) -> None:
    assert found(scratch("good.tsv", GOOD)) == []


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_the_encoding_that_was_decided_is_said(encoding: str, scratch: Write) -> None:
    (finding,) = found(scratch("old.tsv", GOOD.encode(encoding)))
    assert (finding.severity, finding.code) == ("note", "encoding")
    assert finding.message == f"the file is no UTF-8: the whole of it was read as {encoding}"


@pytest.mark.parametrize(("declared", "severity"), [("stop", "error"), ("skip", "warning")])
def test_all_malformed_rows_are_said_at_once(declared: str, severity: str, scratch: Write) -> None:
    bad = GOOD + "가\t나\t높음\n다\t라\n마\t바\t높음\n \t사\t3\n\u3164\t아\t3\n"
    findings = {f.code: f for f in found(scratch("bad.tsv", bad), declared)}
    assert {code: f.severity for code, f in findings.items()} == {"rejected-rows": severity, "empty-texts": severity}
    assert findings["rejected-rows"].message.startswith("3 of 6 rows are malformed and ")
    assert "expected a number from 0 to 5 (2); expected 3 columns, got 2 (1)" in findings["rejected-rows"].message
    assert findings["rejected-rows"].example == "bad.tsv:3:score: expected a number from 0 to 5: 높음"
    assert findings["empty-texts"].message.startswith("2 of 6 rows have an empty text")
    assert findings["empty-texts"].example.startswith("bad.tsv:6:sentence1: the text is blank")


def test_scores_outside_of_the_declared_scale_say_how_far_they_reach(scratch: Write) -> None:
    (finding,) = found(scratch("scale.tsv", GOOD + "가\t나\t0.5\n다\t라\t3.0\n"), scale=(0, 1))
    assert (finding.severity, finding.code) == ("error", "scale")
    assert finding.message == "2 of 3 scores are outside the declared scale 0 to 1; they reach from 3 to 4.5"
    assert "scale = [0, 5]" in finding.remedy


def test_decomposed_hangul_and_fillers_are_shown(scratch: Write) -> None:
    apart = unicodedata.normalize("NFD", "환불은 며칠")
    path = scratch("mac.tsv", GOOD + f"{apart}\t배송\u200b지 변경\t2\n{apart}!\t주문\t1\n")
    findings = {f.code: f for f in found(path)}
    assert {f.severity for f in findings.values()} == {"note"}
    assert findings["decomposed-text"].message.startswith("2 texts were composed to NFC")
    assert findings["invisible-characters"].message.endswith("filler in 1")
    assert "\\u200b" in findings["invisible-characters"].example


def test_the_page_shows_everything_and_runs_nothing() -> None:
    finding = Finding("error", "scale", "<b>set</b>", "a & b", "<script>alert(1)</script>", "mend it")
    said = {
        "counts": {"error": 1, "warning": 0, "note": 0},
        "findings": [finding.as_dict()],
        "read": [{"source": "gold.tsv", "encoding": "cp949", "read": 1200, "kept": 1199, "rejected": 1}],
        "known_tests": {"compared": ["korsts:test"], "not_here": ["klue-sts:dev"]},
        "tokens": {
            "m": {
                "s": {"tokens_per_character": 0.613, "unknown_share": 0.5, "longest": 9, "limit": None, "too_long": 3}
            }
        },
    }
    page = findings_page("제목 <i>", said)
    for text in (
        "&lt;b&gt;set&lt;/b&gt;",
        "a &amp; b",
        "&lt;script&gt;alert(1)",
        "mend it",
        "1,200",
        "cp949",
        "0.61",
        "50.00%",
    ):
        assert text in page
    assert "korsts:test" in page
    assert "klue-sts:dev" in page
    assert not [word for word in ("<script>alert", "http:", "https:", "src=", "<i>", "@import") if word in page]
    assert 'name="viewport"' in page
    assert "@media print" in page
    assert "Nothing found" in findings_page("t", {**said, "counts": dict.fromkeys(said["counts"], 0), "findings": []})
