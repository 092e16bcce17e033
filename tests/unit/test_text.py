"""The door for text: NFC, no lone surrogates, no invisible characters, bounded length, one key a sentence."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from munjang.text import MAX_CHARS, TextChanges, clean, is_blank, match_key, printable

KOREAN = "한 남자가 큰 플루트를 연주하고 있다."
#: Characters that one of the steps treats in a way of its own, U+0958 and its like grow under NFC.
SPECIAL = [*"a가각 \t\n\r\u2028\x00\x1b\x85\u3164\u115f\u1160\u200b\u200d\ufeff\ufe0f\u0301\u1100\u1161\u11a8👍🏽"]
SPECIAL += [
    "\ud83d",
    "\ude00",
    "\u0958",
    "\u0344",
    "\U0001d160",
    "\ufb1d",
    "\u202e",
    "\u00a0",
    "\u3000",
    "\u1e9b",
    "\u0323",
]
texts = st.one_of(st.text(st.characters(), max_size=80), st.lists(st.sampled_from(SPECIAL), max_size=80).map("".join))

#: Characters of Unicode's Default_Ignorable_Code_Point and Zs/Zl/Zp that a person cannot see.
ZERO_WIDTH = (
    "\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\u206a\ufeff\u00ad\u034f\u061c\u180e\u17b4\u17b5"
)
FILLERS = "\u115f\u1160\u3164\uffa0\u2800"
SELECTORS = "\ufe00\ufe0e\ufe0f\U000e0100\U000e0001\U000e0020"


@given(texts)
def test_what_leaves_the_door_is_nfc_without_lone_surrogates_and_blank_ends(text):
    result = clean(text).text
    assert unicodedata.is_normalized("NFC", result)
    assert not any(unicodedata.category(c) == "Cs" for c in result)
    assert result == result.strip()
    assert not set(result) & set("\u3164\u200b\ufeff\n\r\t\u2028\x00\x1b\u202e")


@given(texts)
def test_cleaning_twice_changes_nothing_more(text):
    once = clean(text).text
    assert clean(once) == (once, ())


@given(texts, st.integers(1, 20))
def test_a_text_never_leaves_longer_than_allowed(text, max_chars):
    assert len(clean(text, max_chars).text) <= max_chars


@given(texts, st.integers(1, 20))
def test_cutting_twice_changes_nothing_more(text, max_chars):
    once = clean(text, max_chars).text
    assert clean(once, max_chars).text == once


@given(texts)
def test_the_names_of_the_changes_tell_what_was_done(text):
    result, changes = clean(text)
    if not changes:
        assert result == text.strip()
    assert ("surrogate" in changes) == any(unicodedata.category(c) == "Cs" for c in text)
    assert "cut" not in changes


@pytest.mark.parametrize(
    ("text", "expected", "changes"),
    [
        (KOREAN, KOREAN, ()),
        ("  plain ascii  ", "plain ascii", ()),
        (unicodedata.normalize("NFD", KOREAN), KOREAN, ("nfc",)),
        ("반쪽 \ud83d 문자", "반쪽 \ufffd 문자", ("surrogate",)),
        ("경고\x1b[31m", "경고[31m", ("control",)),
        ("\u202e뒤집힌", "뒤집힌", ("control",)),
        ("채움\u3164문자", "채움문자", ("filler",)),
        ("\ufeff서명", "서명", ("filler",)),
        ("한 줄\r\n두 줄", "한 줄 두 줄", ("line-break",)),
        ("칸\t막이", "칸 막이", ("line-break",)),
        ("U+2028\u2028줄", "U+2028 줄", ("line-break",)),
        ("ㄱㄴㅏ", "ㄱㄴㅏ", ()),
        ("ＡＢＣ ﾊﾝ", "ＡＢＣ ﾊﾝ", ()),
        ("👨‍👩‍👧", "👨‍👩‍👧", ()),
    ],
)
def test_known_texts(text, expected, changes):
    assert clean(text) == (expected, changes)


def test_several_changes_are_all_named_in_the_order_of_the_work():
    decomposed = unicodedata.normalize("NFD", "가")
    assert clean(f"\ud800\x00\u3164\n{decomposed}") == (
        "\ufffd 가",
        ("surrogate", "control", "filler", "line-break", "nfc"),
    )


@pytest.mark.parametrize("max_chars", range(4, 40))
def test_a_cut_never_splits_a_hangul_syllable_written_as_jamo(max_chars):
    jamo = unicodedata.normalize("NFD", "값싼 닭꽃을 많이 샀다, 정말 좋았다")
    result, changes = clean(jamo, max_chars)
    assert unicodedata.normalize("NFC", jamo).startswith(result)
    assert "cut" in changes


@pytest.mark.parametrize(
    "unit",
    ["e\u0301\u0323", "क\u0941", "क\u093e", "👍\U0001f3fd", "👨\u200d👩\u200d👧", "❤\ufe0f"],
    ids=[
        "latin marks",
        "devanagari mark",
        "devanagari spacing mark",
        "emoji skin tone",
        "emoji joined",
        "emoji selector",
    ],
)
def test_a_cut_never_splits_a_combined_character(unit):
    text = unit * 20
    for max_chars in range(len(unit), len(text)):
        result = clean(text, max_chars).text
        pieces = unicodedata.normalize("NFD", result).count(unicodedata.normalize("NFD", unit))
        assert result == unicodedata.normalize("NFC", unit * pieces), f"cut at {max_chars}"


def test_a_text_of_exactly_the_limit_is_kept_whole():
    assert clean("가" * MAX_CHARS) == ("가" * MAX_CHARS, ())
    assert clean("가" * (MAX_CHARS + 1)) == ("가" * MAX_CHARS, ("cut",))
    assert clean("a" * (MAX_CHARS + 1)) == ("a" * MAX_CHARS, ("cut",))


def test_outer_blanks_do_not_use_up_the_length():
    assert clean(" " * (MAX_CHARS + 10) + "안녕").text == "안녕"


def test_a_text_of_marks_only_is_cut_all_the_same():
    assert len(clean("\u0301" * 500, 100).text) == 100


def test_text_changes_count_texts_by_change():
    changes = TextChanges()
    assert [changes.clean(t) for t in ("가\x00", "\x00\x00나", "다\n라", "마")] == ["가", "나", "다 라", "마"]
    assert changes.counts == {"control": 2, "line-break": 1}


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000\u00a0", *FILLERS, "\x00\x1b", "\u200b \ufeff\u3164\r\n"])
def test_a_text_without_anything_visible_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("character", [*ZERO_WIDTH, *SELECTORS], ids=lambda c: f"U+{ord(c):04X}")
def test_zero_width_characters_alone_are_blank(character):
    assert is_blank(character)
    assert is_blank(f" {character}{character} ")


@pytest.mark.parametrize("text", ["a", "가", "ㄱ", "\u1100", "0", ".", "👍", "\ufffd", "\u3164.", "\u200b가"])
def test_a_text_with_something_visible_is_not_blank(text):
    assert not is_blank(text)


def test_every_space_and_control_character_of_unicode_is_blank_and_every_letter_is_not():
    wrong = []
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if category in ("Zs", "Zl", "Zp", "Cc") and not is_blank(character):
            wrong.append(f"U+{ord(character):04X} counts as visible")
        if category[0] in "LNPS" and character not in FILLERS and is_blank(character):
            wrong.append(f"U+{ord(character):04X} counts as blank")
    assert wrong == []


@given(texts)
def test_a_text_that_is_not_blank_keeps_something(text):
    assert is_blank(text) or clean(text).text


@given(texts)
@example("문장 Åßΐｱİ")
def test_the_match_key_is_the_same_for_composed_and_decomposed_text(text):
    key = match_key(text)
    assert key == match_key(unicodedata.normalize("NFC", text)) == match_key(unicodedata.normalize("NFD", text))


@pytest.mark.parametrize(
    ("one", "other"),
    [("A  man\tis here", "a MAN is here "), ("STRASSE", "straße"), ("가\u200b나", "가나"), (" 가 나", "가\n나")],
)
def test_spellings_of_one_sentence_share_a_key(one, other):
    assert match_key(one) == match_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("가 나", "가나"), ("가", "까"), ("ㄱ", "\u1100"), ("1.0", "10"), ("a", "ａ")]
)
def test_different_sentences_have_different_keys(one, other):
    assert match_key(one) != match_key(other)


@given(texts, st.integers(1, 300))
def test_what_is_printed_is_printable_bounded_and_encodable(text, limit):
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("가나", "가나"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_control_characters_are_shown_escaped(text, shown):
    assert printable(text) == shown


def test_a_long_text_is_shown_with_an_ellipsis():
    assert printable("가" * 10, 5) == "가가가가…"
    assert printable("가" * 5, 5) == "가가가가가"
