"""munjang paraphrases and munjang dedup: from files to pairs and groups."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

Run = Callable[..., tuple[int, str, str]]
TEXTS = [
    "환불은 신청하고 언제 되나요?",
    "환불은 신청하고 언제 될까요?",
    "배송이 늦어요",
    "비밀번호를 잊었어요",
    "=1+1",
    "배송이  늦어요",
]


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


def test_duplicates_are_grouped_and_lie_in_tables(run: Run, tiny_bi: Path, texts: Path, tmp_path: Path) -> None:
    given = ["dedup", texts, "--model", tiny_bi, "--device", "cpu", "--threshold", "1", "--near", "0.4"]
    status, printed, _ = run(*given, "--out", "out", "--json")
    report = json.loads(printed)
    assert (status, report["kept"], report["dropped"], report["exact"], report["near"]) == (0, 4, 2, 1, 1)
    members = [[one["row"] for one in group["members"]] for group in report["groups"]]
    assert members == [[0, 1], [2, 5]]
    with (tmp_path / "out" / "kept.csv").open(encoding="utf-8", newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["0", "2", "3", "4"]
    with (tmp_path / "out" / "groups.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["group"], row["row"], row["kept"]) for row in csv.DictReader(file)]
    assert rows == [("1", "0", "True"), ("1", "1", "False"), ("2", "2", "True"), ("2", "5", "False")]
    status, _, errors = run(*given, "--out", "out")
    assert (status, "there already" in errors) == (74, True)


def test_a_cross_encoder_may_refuse_what_letters_join(run: Run, tiny_bi: Path, tiny_cross: Path, texts: Path) -> None:
    given = ["dedup", texts, "--model", tiny_bi, "--device", "cpu", "--threshold", "1", "--near", "0.4"]
    status, printed, _ = run(*given, "--verify", tiny_cross, "--least", "1.1")
    assert status == 0
    assert "1 of 1 refused by the cross-encoder" in printed
    assert "1 groups of duplicates: 5 rows kept, 1 dropped" in printed


def test_letters_alone_need_no_model(run: Run, texts: Path) -> None:
    status, printed, _ = run("dedup", texts, "--letters-only", "--near", "0.4", "--json", "--model", "no/such/model")
    report = json.loads(printed)
    assert (status, report["kept"], report["groups"][0]["members"][0]["cosine"]) == (0, 4, None)


@pytest.mark.parametrize("wrong", [["--threshold", "0"], ["--near", "2"], ["--verify", "no/such/folder"]])
def test_bad_options_of_dedup_are_named(wrong: list[str], run: Run, tiny_bi: Path, texts: Path, tmp_path: Path) -> None:
    status, _, errors = run("dedup", texts, "--model", tiny_bi, "--device", "cpu", "--out", "out", *wrong)
    assert status in (66, 69, 78)
    assert "error:" in errors
    assert not (tmp_path / "out").exists()
