"""Encodings: a whole file is read exactly as it was written, or the error names the byte."""

from __future__ import annotations

import codecs
import contextlib
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.data.encodings import MAX_LINE, detect_encoding, numbered_lines
from munjang.errors import DataError, MissingInputError, MunjangError

#: A sentence long enough that its cp949 bytes are no utf-8 and its utf-8 bytes no cp949.
SENTENCE = "한 남자가 큰 플루트를 연주하고 있다."
WRITERS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "cp949": lambda text: text.encode("cp949"),
    "utf-16 little endian": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16 big endian": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}
DETECTED = dict(zip(WRITERS, ["utf-8-sig", "utf-8-sig", "cp949", "utf-16", "utf-16"], strict=True))


def lines_of(path: Path, forced: str | None = None) -> list[str | None]:
    """All lines of a file in the encoding that was detected."""
    return [line for _, line in numbered_lines(path, detect_encoding(path, forced))]


def offsets(error: DataError) -> dict[str, int]:
    """Encoding -> byte offset, from the message of an error."""
    return {name: int(at) for name, at in re.findall(r"(\S+) \(byte (\d+):", error.got or "")}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("part", range(12))
def test_korsts_reads_back_exactly_in_every_encoding(real_data, scratch, name, part):
    lines = (real_data / "korsts" / "sts-train.tsv").read_text(encoding="utf-8").split("\n")[part * 400 :][:400]
    lines = [line for line in lines if line and line == line.encode("cp949", "ignore").decode("cp949")]
    path = scratch("part.tsv", WRITERS[name]("\n".join(lines) + "\n"))
    assert detect_encoding(path) == DETECTED[name]
    assert lines_of(path) == lines
    assert len(lines) > 300


korean = st.text(
    st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3) | st.sampled_from(" .,!?abc0\t\"'"), max_size=60
)


@pytest.mark.parametrize("name", WRITERS)
@given(lines=st.lists(korean, max_size=6))
def test_any_korean_text_reads_back_exactly(scratch, name, lines):
    lines = [SENTENCE, *lines]
    assert lines_of(scratch("any.txt", WRITERS[name]("\n".join(lines) + "\n"))) == lines


@pytest.mark.parametrize("label", ["euc-kr", "EUC-KR", "euckr", "euc_kr", "ks_c_5601-1987", "cp949"])
def test_a_file_labelled_euc_kr_is_read_as_cp949(scratch, label):
    text = "똠방각하가 펲시를 샾에서 찦차로"
    with pytest.raises(UnicodeDecodeError):
        text.encode("cp949").decode("euc_kr")
    assert lines_of(scratch("label.txt", text.encode("cp949")), label) == [text]


@pytest.mark.parametrize("forced", ["utf-8", "UTF-8", "utf-8-sig", "utf8"])
def test_a_forced_utf_8_drops_no_text_and_keeps_no_mark(scratch, forced):
    assert lines_of(scratch("mark.txt", SENTENCE.encode("utf-8-sig")), forced) == [SENTENCE]


def test_a_forced_encoding_alone_is_tried(scratch):
    path = scratch("forced.txt", SENTENCE.encode("cp949"))
    with pytest.raises(DataError) as caught:
        detect_encoding(path, "utf-8")
    assert list(offsets(caught.value)) == ["utf-8-sig"]
    assert lines_of(scratch("latin.txt", "café\n".encode("latin-1")), "latin-1") == ["café"]


@pytest.mark.parametrize(
    "forced",
    ["no-such", "", "hex", "rot13", "base64", "zlib", "bz2", "quopri", "uu", "undefined", "punycode", "a\0b", "가"],
    ids=repr,
)
def test_a_name_that_is_no_text_encoding_is_a_named_error(scratch, forced):
    path = scratch("name.txt", SENTENCE)
    with pytest.raises(DataError, match=r"name\.txt"):
        lines_of(path, forced)


@given(forced=st.text(max_size=12) | st.sampled_from(["idna", "unicode_escape", "utf-7", "utf-32", "mbcs", "charmap"]))
def test_no_name_of_an_encoding_raises_anything_but_a_named_error(scratch, forced):
    path = scratch("any-name.txt", SENTENCE)
    with contextlib.suppress(MunjangError):
        lines_of(path, forced)


def test_an_empty_file_has_an_encoding_and_no_lines(scratch):
    assert detect_encoding(scratch("empty.txt", b"")) == "utf-8-sig"
    assert lines_of(scratch("empty.txt", b"")) == []
    assert lines_of(scratch("mark.txt", codecs.BOM_UTF8)) == []


@pytest.mark.parametrize("content", [b"\xef", b"\xef\xbb"], ids=repr)
def test_part_of_a_byte_order_mark_is_no_empty_file(scratch, content):
    with pytest.raises(DataError) as caught:
        detect_encoding(scratch("part.txt", content))
    assert offsets(caught.value)["utf-8-sig"] == 0


def test_a_missing_file_is_a_missing_input(tmp_path):
    with pytest.raises(MissingInputError, match="gone"):
        detect_encoding(tmp_path / "gone.txt")


# -- broken files


def test_a_wrong_byte_is_named_with_its_offset_for_every_encoding_tried(scratch):
    good = (SENTENCE + "\n").encode()
    with pytest.raises(DataError) as caught:
        detect_encoding(scratch("wrong.txt", good + b"\xff\xff" + good))
    found = offsets(caught.value)
    assert found["utf-8-sig"] == len(good)
    assert set(found) == {"utf-8-sig", "cp949"}
    assert caught.value.exit_status == 65
    assert "encoding = " in caught.value.hint


def test_the_offset_counts_the_byte_order_mark(scratch):
    good = codecs.BOM_UTF8 + (SENTENCE + "\n").encode()
    with pytest.raises(DataError) as caught:
        detect_encoding(scratch("mark.txt", good + b"\xff\xff"))
    assert offsets(caught.value)["utf-8-sig"] == len(good)


@pytest.mark.parametrize("before", [0, (1 << 20) - 1, (1 << 20) - 2, 1 << 20, (1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_a_character_cut_at_the_end_is_named_with_its_offset(scratch, before, encoding):
    content = b"a" * before + "한".encode(encoding)[:-1]
    with pytest.raises(DataError) as caught:
        detect_encoding(scratch("cut.txt", content), encoding)
    assert list(offsets(caught.value).values()) == [before]


@pytest.mark.parametrize("before", [0, 1 << 20])
def test_half_a_utf_16_unit_at_the_end_is_named_with_its_offset(scratch, before):
    content = codecs.BOM_UTF16_LE + ("가" * (before // 2)).encode("utf-16-le")
    with pytest.raises(DataError) as caught:
        detect_encoding(scratch("cut.txt", content + b"\x00"))
    assert offsets(caught.value) == {"utf-16": len(content)}


@pytest.mark.parametrize("before", [(1 << 20) - 1, (1 << 20) - 2, 1 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_a_character_across_two_chunks_is_whole(scratch, before, encoding):
    text = "a" * before + SENTENCE
    path = scratch("chunks.txt", text.encode(encoding))
    with path.open(encoding=detect_encoding(path)) as file:
        assert file.read() == text


@pytest.mark.parametrize("cut", [1, 2])
def test_a_truncated_korean_file_is_refused_and_never_read_as_another_encoding(real_data, scratch, cut):
    sentences = (real_data / "raw-ko" / "chatbot.txt").read_text(encoding="utf-8").split("\n")
    wrong = []
    for sentence in sentences[:1500]:
        stem = sentence.rstrip(".!?~ ")
        content = stem.encode()[:-cut]
        if not stem or not "가" <= stem[-1] <= "힣":
            continue
        path = scratch("truncated.txt", content)
        try:
            wrong.append((stem, content.decode(detect_encoding(path))))
        except DataError:
            continue
    assert wrong == []


def test_a_file_with_a_utf_8_mark_is_never_read_as_cp949(scratch):
    content = "\ufeff갡갡갡".encode()[:-2]
    assert content.decode("cp949"), "the point of this file is that cp949 accepts it"
    with pytest.raises(DataError):
        detect_encoding(scratch("mark.txt", content))


def test_two_encodings_in_one_file_are_refused(scratch):
    mixed = f"{SENTENCE}\n".encode() + f"{SENTENCE}\n".encode("cp949")
    for content in (mixed, f"{SENTENCE}\n".encode("cp949") + "한국어 ᄒᆞᆫ 줄\n".encode()):
        with pytest.raises(DataError):
            detect_encoding(scratch("mixed.txt", content))


@given(content=st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: codecs.BOM_UTF16_LE + b))
def test_any_bytes_are_read_without_losing_one_or_refused(scratch, content):
    path = scratch("any.bin", content)
    try:
        encoding = detect_encoding(path)
    except DataError:
        return
    text = content.decode(encoding)
    expected = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert lines_of(path) == (expected[:-1] if expected[-1] == "" else expected)


# -- lines


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\rb\r", ["a", "b"]),
        ("a\n\r\nb", ["a", "", "b"]),
        ("\n\n", ["", ""]),
        ("가\u2028나\u2029다\x85라\x0b마\x0c바\x1c사\n", ["가\u2028나\u2029다\x85라\x0b마\x0c바\x1c사"]),
        ("a\x00b\n", ["a\x00b"]),
    ],
    ids=repr,
)
def test_only_line_feeds_and_carriage_returns_end_a_line(scratch, content, expected):
    path = scratch("lines.txt", content)
    assert list(numbered_lines(path, "utf-8")) == list(enumerate(expected, 1))


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize(("length", "kept"), [(MAX_LINE, True), (MAX_LINE + 1, False), (3 * MAX_LINE, False)])
def test_a_line_is_too_long_from_the_first_character_over_the_limit(scratch, length, kept, end):
    path = scratch("long.txt", f"first\n{'x' * length}{end}" + ("last\n" if end else ""))
    lines = list(numbered_lines(path, "utf-8"))
    assert lines[0] == (1, "first")
    assert lines[1] == (2, "x" * length if kept else None)
    assert lines[2:] == ([(3, "last")] if end else [])


def test_a_file_of_one_long_line_is_never_whole_in_memory(tmp_path):
    size = 60_000_000
    with (tmp_path / "long.txt").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        assert lines_of(tmp_path / "long.txt") == [None]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 4
