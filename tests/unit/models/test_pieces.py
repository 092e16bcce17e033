"""What must stay so that texts of kept pieces keep their tokens; each rule with a vocabulary that breaks without it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from munjang.errors import ConfigError, DataError
from munjang.models.pieces import SCRIPTS, Pieces, cut_tokenizer, ids_in_post_processor


def content_of(tokenizer: Tokenizer) -> dict[str, Any]:
    return json.loads(tokenizer.to_str())


def trimmed(tokenizer: Tokenizer, names: set[str], rules: bool = True) -> Tokenizer:
    """The tokenizer with some pieces, and with what they need if `rules`."""
    content = content_of(tokenizer)
    pieces = Pieces(content)
    kept = {pieces.ids[name] for name in names}
    kept |= pieces.required_by(kept) if rules else set()
    return Tokenizer.from_str(json.dumps(cut_tokenizer(content, pieces, {i: n for n, i in enumerate(sorted(kept))})))


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


def unigram(scores: dict[str, float]) -> Tokenizer:
    return Tokenizer(models.Unigram([("<unk>", 0.0), *scores.items()], unk_id=0, byte_fallback=False))


def bpe(symbols: str, merges: list[tuple[str, str]], **settings: Any) -> Tokenizer:
    names = [*symbols, *dict.fromkeys(a + b for a, b in merges)]
    return Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges, **settings))


def test_bpe_keeps_the_parts_of_a_piece_and_their_parts() -> None:
    whole = bpe("abcd", [("a", "b"), ("c", "d"), ("ab", "cd")])
    assert tokens(whole, "abcd") == ["abcd"]
    assert tokens(trimmed(whole, {"abcd"}), "abcd") == ["abcd"]
    assert set(trimmed(whole, {"ab"}).get_vocab()) == {"a", "b", "ab"}


def test_bpe_keeps_every_way_in_which_a_piece_is_made() -> None:
    whole = bpe("abcx", [("b", "c"), ("x", "a"), ("a", "bc"), ("a", "b"), ("ab", "c"), ("xa", "bc")])
    for word in ("abc", "xabc"):
        kept = set(tokens(whole, word))
        assert tokens(trimmed(whole, kept), word) == tokens(whole, word)
    assert {"ab", "bc"} <= set(trimmed(whole, {"abc"}).get_vocab())


def test_bpe_with_a_prefix_inside_of_words_finds_the_parts() -> None:
    vocabulary = {name: i for i, name in enumerate(["a", "##b", "##c", "##bc", "abc"])}
    model = models.BPE(vocabulary, [("##b", "##c"), ("a", "##bc")], continuing_subword_prefix="##")
    assert tokens(Tokenizer(model), "abc") == ["abc"]
    assert tokens(trimmed(Tokenizer(model), {"abc"}), "abc") == ["abc"]


def test_unigram_keeps_what_an_unknown_character_costs() -> None:
    """An unknown character costs 10 more than the lowest score: 40 of the whole, 25 without "zz", and "abc" + "d" wins."""
    whole = unigram({"ab": -15.0, "cd": -15.0, "abc": -3.0, "zz": -30.0})
    assert tokens(whole, "abcd") == ["ab", "cd"]
    assert tokens(trimmed(whole, {"<unk>", "ab", "cd", "abc"}, rules=False), "abcd") == ["abc", "d"]
    assert tokens(trimmed(whole, {"<unk>", "ab", "cd", "abc"}), "abcd") == ["ab", "cd"]


def test_unigram_keeps_single_characters_of_its_pieces() -> None:
    whole = unigram({"ab": -25.0, "a": -1.0, "b": -40.0, "low": -8.0})
    assert tokens(whole, "ab") == ["ab"]
    assert {"a", "b"} <= set(trimmed(whole, {"<unk>", "ab"}).get_vocab())


def test_wordpiece_keeps_the_pieces_behind_which_an_unknown_word_got_stuck() -> None:
    names = ["[UNK]", "a", "ab", "##b", "##c", "##bcd"]
    model = models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    whole = Tokenizer(model)
    assert tokens(whole, "abcd") == ["[UNK]"]
    assert tokens(trimmed(whole, {"[UNK]", "a", "##bcd"}), "abcd") == ["a", "##bcd"]
    pieces = Pieces(content_of(whole))
    stuck = {pieces.names[i] for i in pieces.stuck("abcd")}
    assert stuck == {"ab", "##c"}
    assert tokens(trimmed(whole, {"[UNK]", "a", "##bcd", *stuck}), "abcd") == ["[UNK]"]
    assert pieces.stuck("x" * 101) == set()
    assert {pieces.names[i] for i in pieces.stuck("abc")} == {"ab", "##c"}


def test_pieces_of_a_script_have_letters_of_no_other() -> None:
    names = ["▁한국", "국", "▁2024년", "LG전자", "▁the", "é", "Ａ", "漢", "ㅋㅋ", "12", "½", "!?", "▁", "да", "한漢"]
    pieces = Pieces(content_of(unigram(dict.fromkeys(names, -1.0))))

    def found(*scripts: str) -> set[str]:
        return {pieces.names[i] for i in pieces.of_scripts(scripts)} - {"<unk>"}

    assert found("hangul") == {"▁한국", "국", "▁2024년", "ㅋㅋ"}
    assert found("latin") == {"▁the", "é", "Ａ"}
    assert found("digits") == {"12", "½"}
    assert found("punctuation") == {"!?"}
    assert found("hangul", "latin") == found("hangul") | found("latin") | {"LG전자"}
    assert found("hangul", "han") == found("hangul") | {"漢", "한漢"}
    assert found() == set()
    with pytest.raises(ConfigError, match="unknown script") as caught:
        pieces.of_scripts(["korean"])
    assert caught.value.got == "korean"
    assert all(script in caught.value.expected for script in SCRIPTS)


def test_byte_level_pieces_are_read_as_the_text_that_they_stand_for() -> None:
    tokenizer = Tokenizer(models.BPE({"Ġ": 0, "ê": 1, "°": 2, "Ģ": 3, "ê°": 4, "ê°Ģ": 5, "Ġthe": 6}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    pieces = Pieces(content_of(tokenizer))
    assert pieces.texts == {0: "", 1: None, 2: None, 3: None, 4: None, 5: "가", 6: "the"}
    assert pieces.alphabet() == {0, 1, 2, 3}
    assert pieces.unknown == {1, 2, 3, 4}
    assert pieces.of_scripts(["hangul"]) == {5}
    assert pieces.characters_of([5]) == {5}


def test_pieces_for_bytes_are_the_alphabet() -> None:
    pieces = Pieces(content_of(unigram({"<0x0A>": -1.0, "<0xEA>": -1.0, "a": -1.0, "<0xZZ>": -1.0})))
    assert {pieces.names[i] for i in pieces.alphabet()} == {"<0x0A>", "<0xEA>"}
    assert pieces.unknown == {0, 1, 2}


def test_post_processors_of_all_kinds_get_the_new_ids() -> None:
    template = {"type": "TemplateProcessing", "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}}}
    bert = {"type": "BertProcessing", "sep": ["[SEP]", 7], "cls": ["[CLS]", 6]}
    both = {"post_processor": {"type": "Sequence", "processors": [template, bert, {"type": "ByteLevel"}]}}
    assert ids_in_post_processor(both) == {5, 6, 7}
    assert ids_in_post_processor({"post_processor": None}) == set()
    content = content_of(unigram({c: -1.0 for c in "abcdefgh"})) | both
    content["padding"] = {"pad_id": 6, "pad_token": "f"}
    cut = cut_tokenizer(content, Pieces(content), {0: 0, 5: 1, 6: 2, 7: 3})
    parts = cut["post_processor"]["processors"]
    assert parts[0]["special_tokens"]["<s>"]["ids"] == [1]
    assert (parts[1]["sep"], parts[1]["cls"]) == (["[SEP]", 3], ["[CLS]", 2])
    assert cut["padding"]["pad_id"] == 2
    assert content["post_processor"] == both["post_processor"]
    assert [piece for piece, _ in cut["model"]["vocab"]] == ["<unk>", "e", "f", "g"]


def test_other_kinds_of_vocabularies_are_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    with pytest.raises(DataError) as caught:
        Pieces(content_of(tokenizer))
    assert (caught.value.expected, caught.value.got) == ("WordPiece or BPE or Unigram", "WordLevel")
