"""Texts to terms: no text without terms, NFC and NFD alike, other scripts alike by both analysers, Kiwi or a clear error."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.errors import ConfigError, UnavailableError
from munjang.index import morphemes
from munjang.index.morphemes import Analyser, Kind
from munjang.text import is_blank

KINDS = ("kiwi", "bigrams")
both = pytest.mark.parametrize("kind", KINDS)

#: Hangul of all kinds, other scripts, symbols, blanks and what breaks programs.
characters = st.one_of(
    st.sampled_from("가나다학교는이다ㅋㅠ각ㅤᅟ뷁 ,.!?'’abZ09_"),
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3),
    st.characters(),
)


def terms(text: str, kind: Kind) -> list[str]:
    return Analyser(kind, workers=1).terms([text])[0]


@pytest.fixture
def without_kiwi(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if kiwipiepy were not installed."""
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)


# -- Korean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("학교에 갔습니다.", ["학교", "가다"]),
        ("아주 빨리 달렸다", ["아주", "빨리", "달리다"]),
        ("아름다운 꽃", ["아름답다", "꽃"]),
        ("깨끗하다", ["깨끗"]),
        ("차를 타고 공을 찼다", ["차", "타다", "공", "차다"]),
        ("커피 두 잔", ["커피", "두", "잔"]),
        ("#해시태그", ["해시태그"]),
        ("그러나", ["그러나"]),  # a conjunction alone is all there is
        ("ㅋㅋㅋ", ["ㅋㅋㅋ"]),
    ],
)
def test_kiwi_leaves_content_morphemes(text: str, expected: list[str]) -> None:
    assert terms(text, "kiwi") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("학교에 간다", ["학교", "교에", "간다"]),
        ("나 너", ["나", "너"]),
        ("ㅋㅋㅋ", ["ㅋㅋ", "ㅋㅋ"]),
        ("가a나다", ["가", "a", "나다"]),
    ],
)
def test_bigrams_stay_inside_a_word(text: str, expected: list[str]) -> None:
    assert terms(text, "bigrams") == expected


@pytest.mark.parametrize(
    "forms",
    [("학교에 갔다", "학교에 간다", "학교에 가요"), ("깨끗하다", "방이 깨끗하게", "방이 깨끗한 집", "깨끗했던 집")],
)
def test_inflected_forms_share_their_stem(forms: tuple[str, ...]) -> None:
    shared = set.intersection(*map(set, Analyser("kiwi", workers=1).terms(forms)))
    assert shared & {"가다", "깨끗"}


# -- never nothing


@both
@given(st.text(characters, max_size=12))
def test_only_a_blank_text_has_no_terms(kind: Kind, text: str) -> None:
    found = terms(text, kind)
    assert (found == []) is is_blank(text)
    assert all(found)


@both
@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=8))
def test_hangul_always_has_terms_of_hangul(kind: Kind, text: str) -> None:
    assert any("가" <= character <= "힣" for term in terms(text, kind) for character in term)


@both
@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\u3164", "\u115f\u1160", "\u200b\ufeff", "\u0301"])
def test_a_blank_text_has_no_terms(kind: Kind, text: str) -> None:
    assert terms(text, kind) == []


@both
@pytest.mark.parametrize(
    ("text", "expected"),
    [("😀", ["😀"]), ("👍🏽 ❤️", ["👍", "🏽", "❤"]), ("?!", ["?", "!"]), ("\ud800", ["\ufffd"])],
)
def test_symbols_are_terms_where_there_is_nothing_else(kind: Kind, text: str, expected: list[str]) -> None:
    assert terms(text, kind) == expected
    assert terms(f"a {text}", kind) == ["a"]


def test_where_kiwi_finds_nothing_there_are_bigrams(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute:
        def tokenize(self, texts: list[str], **how: object) -> list[list[object]]:
            return [[] for _ in texts]

    monkeypatch.setattr(morphemes, "_kiwi", lambda workers: Mute())
    assert terms("은는이가", "kiwi") == ["은는", "는이", "이가"]


# -- other scripts


@both
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Quick-brown fox's snake_case", ["the", "quick", "brown", "fox's", "snake_case"]),
        ("It’s 3.14, 10,000 and v1.2.", ["it’s", "3.14", "10,000", "and", "v1.2"]),
        ("Straße CAFÉ İ", ["strasse", "café", "i̇"]),
        ("ＡＢＣ ｍ² ①", ["abc", "m2", "1"]),
        ("русский Язык", ["русский", "язык"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("北京大学", ["北京", "京大", "大学"]),
        ("私は学生", ["私は", "は学", "学生"]),
        ("ﾊﾝﾊﾞｰ", ["ハン", "ンバ", "バー"]),
        ("猫", ["猫"]),
        ("ไทย", ["ไท", "ทย"]),
        ("1️⃣", ["1"]),
    ],
)
def test_other_scripts_are_cut_alike_by_both(kind: Kind, text: str, expected: list[str]) -> None:
    assert terms(text, kind) == expected


def test_korean_and_english_in_one_sentence() -> None:
    text = "iPhone15를 Apple에서 샀다"
    assert sorted(terms(text, "kiwi")) == ["apple", "iphone15", "사다"]
    assert terms(text, "bigrams") == ["iphone15", "를", "apple", "에서", "샀다"]


def test_a_name_of_two_scripts_is_also_found_by_its_letters() -> None:
    assert {"sk", "sk텔레콤"} <= set(terms("SK텔레콤", "kiwi"))


@both
@given(st.text(characters, max_size=12))
def test_spellings_in_nfc_and_nfd_have_the_same_terms(kind: Kind, text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert terms(composed, kind) == terms(decomposed, kind)


# -- many texts


@both
def test_many_texts_come_back_in_order(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(morphemes, "_PART", 16)
    texts = [
        ["학교에 간 날", "", "plain words", "😀", "그는 사과를 먹었다"][n % 5] + f" {n}" * (n % 5 != 1)
        for n in range(50)
    ]
    told: list[tuple[int, int]] = []
    together = Analyser(kind, workers=2).terms(texts, lambda done, total, note="": told.append((done, total)))
    assert together == [terms(text, kind) for text in texts]
    assert told == [(16, 50), (32, 50), (48, 50), (50, 50)]


@both
def test_no_texts_are_no_terms(kind: Kind) -> None:
    assert Analyser(kind).terms([]) == []


def test_equal_terms_are_one_string() -> None:
    one, other = Analyser("bigrams").terms(["학교에", "학교는"])
    assert one[0] is other[0]


# -- which analyser


def test_kiwi_is_taken_where_it_is_installed() -> None:
    assert Analyser().kind == Analyser("kiwi").kind == "kiwi"
    assert Analyser("bigrams").kind == "bigrams"


def test_kiwi_is_loaded_once_and_late(monkeypatch: pytest.MonkeyPatch) -> None:
    import kiwipiepy

    loaded = []
    monkeypatch.setattr(kiwipiepy, "Kiwi", lambda **how: loaded.append(how) or kiwi)
    kiwi = morphemes._kiwi(1)
    morphemes._kiwi.cache_clear()
    try:
        one, other = Analyser("kiwi", workers=3), Analyser("auto", workers=3)
        one.terms(["plain words", "😀"])
        assert loaded == []
        assert one.terms(["학교"]) == other.terms(["학교"]) == [["학교"]]
        assert loaded == [{"num_workers": 3}]
    finally:
        morphemes._kiwi.cache_clear()


@pytest.mark.usefixtures("without_kiwi")
def test_without_kiwi_auto_means_bigrams() -> None:
    analyser = Analyser()
    assert analyser.kind == "bigrams"
    assert analyser.terms(["학교에"]) == [["학교", "교에"]]


@pytest.mark.usefixtures("without_kiwi")
def test_without_kiwi_asking_for_it_is_one_clear_error() -> None:
    with pytest.raises(UnavailableError, match=r"kiwipiepy, which is not installed.*pip install 'munjang\[search\]'"):
        Analyser("kiwi")


def test_another_kind_is_an_error() -> None:
    with pytest.raises(ConfigError, match="expected auto, kiwi or bigrams; got mecab"):
        Analyser("mecab")  # type: ignore[arg-type]
