"""Texts to terms: no visible text is without one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.errors import UnavailableError
from munjang.index import morphemes
from munjang.index.morphemes import Analyser
from munjang.text import clean, is_blank

KINDS = ("kiwi", "bigrams")


def terms(text: str, kind: str = "kiwi") -> list[str]:
    return Analyser(kind).terms([text])[0]


def test_particles_and_endings_do_not_count() -> None:
    assert terms("환불을 요청합니다") == terms("환불이 요청했어요")
    assert "환불" in terms("환불을 요청합니다")
    assert "알리다" in terms("규정을 알려 주세요")


def test_words_of_several_languages_in_one_text() -> None:
    found = terms("iPhone 15 배터리가 빨리 닳아요")
    assert {"iphone", "15", "배터리", "닳다"} <= set(found)
    assert terms("How long does a Refund take?") == ["how", "long", "does", "a", "refund", "take"]
    assert terms("東京タワー") == ["東京", "京タ", "タワ", "ワー"]


def test_pairs_of_syllables_need_nothing() -> None:
    assert terms("환불을 iPhone으로", "bigrams") == ["환불", "불을", "iphone", "으로"]
    assert terms("네", "bigrams") == ["네"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["그래서 그랬다", "을", "ㅋㅋㅋ", "ㅠㅠ", "😀😀", "???", "하", "- · -", "!", "것"])
def test_a_visible_text_has_a_term(kind: str, text: str) -> None:
    assert terms(text, kind)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.sampled_from("가힣ㄱㅏ을 를 a1.,!?一あ😀\u3164\u200b"), max_size=12))
def test_no_visible_text_is_without_a_term(kind: str, text: str) -> None:
    found = terms(text, kind)
    assert bool(found) == (not is_blank(clean(text).text))
    assert all(term and not term.isspace() for term in found)


@pytest.mark.parametrize("kind", KINDS)
def test_spellings_of_one_text_have_the_same_terms(kind: str) -> None:
    text = "환불 규정을 알려 주세요"
    assert terms(unicodedata.normalize("NFD", text), kind) == terms(text, kind)


def test_order_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["환불", "", "refund", "배송을 기다려요"] * 3
    expected = Analyser("kiwi").terms(texts)
    monkeypatch.setattr(morphemes, "_BLOCK", 5)
    told: list[tuple[int, int]] = []
    assert Analyser("kiwi").terms(texts, lambda done, total, note="": told.append((done, total))) == expected
    assert told == [(5, 12), (10, 12), (12, 12)]
    assert expected[1] == []


def test_without_kiwi_there_are_pairs_of_syllables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Analyser().kind == "kiwi"
    monkeypatch.setattr(morphemes, "_kiwi_installed", lambda: False)
    assert Analyser().kind == "bigrams"
    with pytest.raises(UnavailableError, match=r"munjang\[search\]"):
        Analyser("kiwi")
