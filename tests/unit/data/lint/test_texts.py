"""Texts that a wrong encoding damaged, and texts in another script than their column."""

from __future__ import annotations

from pathlib import Path

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.lint import lint_texts
from munjang.data.lint.damage import damage_of
from munjang.data.load import load_rows
from munjang.data.readers import ROLES
from munjang.data.rows import ParallelPair, PositivePair, Qrel, RankedList, ScoredPair, sentences_of
from munjang.text import clean

KOREAN = ["환불은 며칠이나 걸리나요?", "주문을 취소하고 싶어요", "배송지를 바꾸려면 어떻게 하나요?"]


@pytest.mark.parametrize("text", KOREAN)
def test_utf8_that_was_read_as_cp1252_or_latin1(text: str) -> None:
    seen = clean(text.encode().decode("latin-1")).text  # the door takes the control characters out
    assert "cp1252 or Latin-1" in damage_of(seen).kind
    apostrophe = "Stallone’s 아들".encode().decode("cp1252", "replace")
    assert damage_of(apostrophe) is not None
    assert damage_of("it’s café".encode().decode("cp1252")).mended == "it’s café"


@pytest.mark.parametrize("text", KOREAN)
def test_cp949_that_was_read_as_latin1(text: str) -> None:
    damage = damage_of(text.encode("cp949").decode("latin-1"))
    assert damage.kind == "cp949 that was read as Latin-1"
    assert damage.mended == text


def test_utf8_that_was_read_as_cp949() -> None:
    # Four bytes of a character give two of cp949, three with a blank hardly ever do: hence the lost ones.
    seen = "가나다라".encode().decode("cp949", "replace")
    assert damage_of(seen).kind.startswith("bytes that could not be decoded")
    whole = next(t for c in range(0xAC00, 0xD7A4) if (t := decodes(chr(c) + "나" + chr(c) + "다")))
    assert damage_of(whole).kind == "UTF-8 that was read as cp949"


def decodes(text: str) -> str | None:
    try:
        return text.encode().decode("cp949")
    except UnicodeDecodeError:
        return None


@pytest.mark.parametrize(
    "text",
    [
        "환불은 며칠이나 걸리나요?",
        "plain English, it’s fine — “quoted”…",
        "café, naïve, Ünïcödé, señor, ação, Łódź, cœur, ÉÉ, à côté",
        "東京は日本の首都です",
        "한국어와 English와 日本語",
        "Привет, как дела?",
        "™ © ® 100€ £5 ½",
        "l'été » — «déjà»",
    ],
)
def test_whole_texts_are_left_alone(text: str) -> None:
    assert damage_of(text) is None


def test_real_sentences_are_left_alone(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    names = ("korsts:train", "kornli:test", "stsb:train", "park:dev", "klue-ner", "chatbot")
    texts = [t for n in names for t in sentences_of(load_rows(DataSpec(source=n), tuple(ROLES), real_data).rows)]
    damaged = [text for text in texts if damage_of(text)]
    print(f"{len(damaged)} of {len(texts):,} real texts are damaged: {damaged}")
    assert damaged == ["Sylvester Stalloneâ€™s son, Sage Stallone, found dead in Hol"]


def pairs(count: int) -> list[ScoredPair]:
    return [ScoredPair(f"{KOREAN[n % 3]} {n}", f"{KOREAN[(n + 1) % 3]} {n}", (n % 11) / 10) for n in range(count)]


def test_damaged_texts_are_a_warning_and_an_error_where_the_file_is_wrong() -> None:
    rows = pairs(40)
    rows[3] = rows[3]._replace(sentence2="환\ufffd은 며칠")
    (finding,) = lint_texts("set", rows)
    assert (finding.severity, finding.code) == ("warning", "mojibake")
    assert finding.message == "1 of 40 texts in sentence2 holds bytes that could not be decoded (U+FFFD)"
    wrong = [row._replace(sentence1=row.sentence1.encode("cp949").decode("latin-1")) for row in rows]
    finding = next(f for f in lint_texts("set", wrong) if "cp949" in f.message)
    assert finding.severity == "error"
    assert f"(was: {rows[0].sentence1})" in finding.example


def test_rows_of_another_script_in_a_column() -> None:
    rows = pairs(100)
    rows[7] = rows[7]._replace(sentence2="Where can I cancel my order?")
    rows[8] = rows[8]._replace(sentence2="注文をキャンセルしたいのですが")
    rows[9] = rows[9]._replace(sentence1="KBS 뉴스 9 iPhone 17 Pro Max")
    rows[10] = rows[10]._replace(sentence1="SBS 8 KBS")
    (finding,) = lint_texts("set", rows)
    assert (finding.severity, finding.code) == ("warning", "mixed-scripts")
    assert finding.message.startswith("2 of 100 texts in sentence2 have no letter of hangul")
    assert "latin 1" in finding.message
    assert finding.example == "Where can I cancel my order?"


def test_one_stray_row_of_many_is_a_note() -> None:
    rows = [*pairs(400), ScoredPair("Where can I cancel it?", "주문 취소", 0.5)]
    assert [f.severity for f in lint_texts("set", rows)] == ["note"]


def test_a_mixture_of_languages_is_said_with_its_shares() -> None:
    english = [row._replace(sentence1=f"Where is my order number {n}?") for n, row in enumerate(pairs(40))]
    (finding,) = lint_texts("set", [*pairs(60), *english])
    assert finding.message == "the texts in sentence1 are a mixture of scripts: hangul 60%, latin 40%"


def test_languages_in_columns_of_their_own_are_no_mixture() -> None:
    rows = [ParallelPair(KOREAN[n % 3], f"Where is my order {n}?") for n in range(60)]
    assert lint_texts("set", rows) == []
    japanese = [PositivePair("東京都", "とうきょうとのことです") for _ in range(20)]
    kana = [PositivePair("とうきょう", "トウキョウノコトデス") for _ in range(20)]
    assert lint_texts("set", [*japanese, *kana]) == []


def test_columns_of_every_kind_of_rows() -> None:
    assert lint_texts("set", []) == []
    assert lint_texts("set", [Qrel("가", "나", 1)]) == []
    bad = "환\ufffd불"
    assert "in documents" in lint_texts("set", [RankedList("가", ("나", bad), (1.0, 0.0))])[0].message
    assert "in sentence " in lint_texts("set", [bad])[0].message
