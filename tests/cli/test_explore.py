"""munjang paraphrases: from files to pairs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

Run = Callable[..., tuple[int, str, str]]
TEXTS = ["환불은 언제 되나요?", "환불은 언제 될까요?", "배송이 늦어요", "비밀번호를 잊었어요", "=1+1", "배송이  늦어요"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.tsv"
    path.write_text("text\n" + "".join(f"{text}\n" for text in [*TEXTS, " "]), encoding="utf-8")
    return path


def test_pairs_are_those_of_the_model_and_lie_in_a_table(run: Run, tiny_bi: Path, texts: Path, tmp_path: Path) -> None:
    given = ["paraphrases", texts, "--model", tiny_bi, "--device", "cpu", "--threshold", "-1", "--out", "pairs.csv"]
    status, printed, _ = run(*given, "--json")
    report = json.loads(printed)
    assert (status, report["read"]["read"], report["read"]["kept"], report["read"]["rejected"]) == (0, 7, 6, 1)
    # What differs only in blanks is one sentence.
    assert (report["distinct"], len(report["pairs"]), report["reached_top"]) == ([5], 10, False)
    vectors = SentenceTransformer(str(tiny_bi), device="cpu").encode(TEXTS)
    for pair in report["pairs"]:
        assert pair["score"] == pytest.approx(float(vectors[pair["row1"]] @ vectors[pair["row2"]]), abs=1e-5)
        assert (pair["text1"], pair["text2"]) == (TEXTS[pair["row1"]], TEXTS[pair["row2"]])
    scores = [pair["score"] for pair in report["pairs"]]
    assert scores == sorted(scores, reverse=True)
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == scores
    assert any(row["text2"] == "'=1+1" for row in rows)


def test_words_say_how_many_and_whether_there_may_be_more(run: Run, tiny_bi: Path, texts: Path) -> None:
    given = ["paraphrases", texts, "--model", tiny_bi, "--device", "cpu", "--threshold", "-1"]
    status, printed, _ = run(*given, "--top", "2")
    assert status == 0
    assert "7 rows read, 6 kept, 1 rejected (the text is blank in 1)" in printed
    assert "2 pairs of cosine -1 or more among 5 distinct sentences; stopped at 2" in printed
    status, printed, _ = run(*given, "--neighbours", "1", "--json")
    assert 3 <= len(json.loads(printed)["pairs"]) <= 5


def test_translations_of_the_same_texts_are_themselves(run: Run, tiny_bi: Path, texts: Path) -> None:
    given = ["paraphrases", texts, "--others", texts, "--margin", "--model", tiny_bi, "--device", "cpu", "--json"]
    status, printed, _ = run(*given)
    report = json.loads(printed)
    assert (status, report["distinct"]) == (0, [5, 5])
    assert sorted((pair["row1"], pair["row2"]) for pair in report["pairs"]) == [(i, i) for i in range(5)]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "name at least one file"),
        (["texts.tsv", "--margin"], 2, "translations are between two sides"),
        (["texts.tsv", "--threshold", "2"], 78, "no such cosine"),
        (["texts.tsv", "--out", "pairs.xlsx"], 78, "unknown format"),
        (["missing.tsv"], 66, "missing.tsv"),
        (["blank.txt"], 65, "no row holds a text"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], status: int, said: str, run: Run, tiny_bi: Path, texts: Path, tmp_path: Path
) -> None:
    (tmp_path / "blank.txt").write_text(" \n\n", encoding="utf-8")
    found, printed, errors = run("paraphrases", *arguments, "--model", tiny_bi, "--device", "cpu")
    assert (found, printed) == (status, "")
    assert said in errors


def test_one_sentence_has_no_pairs(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("안녕하세요\n", encoding="utf-8")
    status, printed, _ = run("paraphrases", "one.txt", "--model", tiny_bi, "--device", "cpu")
    assert status == 0
    assert "0 pairs" in printed
