"""Which pieces of a tokenizer's vocabulary must stay so that some texts keep their tokens, and the tokenizer without the rest.

Why a text whose pieces all stay keeps its tokens, by kind of tokenizer:

- WordPiece takes the longest piece that fits, again and again. The pieces that were taken are still there and no longer one
  has come, so the same are taken. A word that ends as unknown got stuck behind some pieces; these stay as well (`stuck`),
  else a shorter piece in their place could lead to the end of the word.
- Unigram takes the path of the highest sum of scores. The path is still there with the same sum, and all others were there
  before; of equal ones the first is taken, and taking out later ones changes nothing. Two more things decide what an unknown
  character costs: whether a character has a piece of its own (so these stay for all characters of kept pieces), and the
  lowest score of the vocabulary (so its piece stays).
- BPE joins the pair of the lowest rank, again and again. With each piece stay all merges that make it and, again and again,
  their parts. Every pair that was joined on the way to a final piece is such a merge; so at each step the pair of the lowest
  rank is still there, it is still the lowest, as fewer compete, and in the end no pair is left that was not left before.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from functools import cached_property, lru_cache
from typing import Any

from munjang.errors import ConfigError, DataError

KINDS = ("WordPiece", "BPE", "Unigram")
#: Script -> how the Unicode names of its letters begin; `digits` and `punctuation` are pieces without letters.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "hangul": ("HANGUL",),
    "han": ("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH"),
    "kana": ("HIRAGANA", "KATAKANA"),
    "latin": ("LATIN",),
    "cyrillic": ("CYRILLIC",),
    "greek": ("GREEK",),
    "arabic": ("ARABIC",),
    "hebrew": ("HEBREW",),
    "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
    "digits": (),
    "punctuation": (),
}
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class Pieces:
    """The vocabulary of a tokenizer.

    Args:
        tokenizer: the content of a `tokenizer.json`.
        where: names the file in an error.

    Raises:
        DataError: its model is none of `KINDS`.
    """

    def __init__(self, tokenizer: dict[str, Any], where: object = None) -> None:
        self.model = tokenizer["model"]
        self.kind = self.model.get("type")
        if self.kind not in KINDS:
            raise DataError(
                "the vocabulary of this kind of tokenizer cannot be trimmed",
                where=where,
                expected=" or ".join(KINDS),
                got=str(self.kind),
            )
        vocabulary = self.model["vocab"]
        if self.kind == "Unigram":
            named = list(enumerate(piece for piece, _ in vocabulary))
        else:
            named = [(i, piece) for piece, i in vocabulary.items()]
        added = [(entry["id"], entry["content"]) for entry in tokenizer["added_tokens"]]
        self.names: dict[int, str] = dict(sorted([*named, *added]))
        self.ids: dict[str, int] = {piece: i for i, piece in self.names.items()}
        self.added = {i for i, _ in added}
        byte_level = _uses(tokenizer, "ByteLevel")
        self._bytes = {c: b for b, c in enumerate(_byte_symbols())} if byte_level else None
        self.texts: dict[int, str | None] = {i: self._text(piece) for i, piece in self.names.items()}

    def _text(self, piece: str) -> str | None:
        """What a piece stands for in a text, without marks of its place; None for a part of a character."""
        if _BYTE.fullmatch(piece):
            return None
        if self._bytes is not None and all(c in self._bytes for c in piece):
            try:
                return bytes(self._bytes[c] for c in piece).decode().strip(" ")
            except UnicodeDecodeError:
                return None
        start = self.model.get("continuing_subword_prefix") or ""
        end = self.model.get("end_of_word_suffix") or ""
        return piece.removeprefix(start).removesuffix(end).strip("▁")

    @cached_property
    def unknown(self) -> set[int]:
        """Ids of the token for what is unknown, and of pieces that stand for single bytes or parts of characters."""
        token = self.model.get("unk_token")
        own = self.model.get("unk_id") if self.kind == "Unigram" else self.ids.get(token)
        parts = {i for i, text in self.texts.items() if text is None}
        return parts if own is None else {own, *parts}

    def alphabet(self) -> set[int]:
        """Ids of the pieces for single bytes, of which any text can be put together."""
        symbols = self._bytes or ()
        return {i for i, piece in self.names.items() if piece in symbols or _BYTE.fullmatch(piece)}

    def of_scripts(self, scripts: Collection[str]) -> set[int]:
        """Ids of the pieces whose letters all belong to some scripts.

        Raises:
            ConfigError: an unknown script.
        """
        require_scripts(scripts)
        return {i for i, text in self.texts.items() if text and _script_of_text(text, frozenset(scripts))}

    def characters_of(self, ids: Iterable[int]) -> set[int]:
        """Ids of the pieces that stand for one character of what the given pieces stand for."""
        seen = {c for i in ids for c in self.texts[i] or ""}
        return {i for i, text in self.texts.items() if text and len(text) == 1 and text in seen}

    def required_by(self, kept: set[int]) -> set[int]:
        """Ids without which texts of the kept pieces would be cut in another way; see the module's text."""
        if self.kind == "Unigram":
            raw = {c for i in kept for c in self.names[i]}
            lowest = min(range(len(self.model["vocab"])), key=lambda i: self.model["vocab"][i][1])
            return {lowest, *(self.ids[c] for c in raw if c in self.ids)}
        return self._parts_of(kept) if self.kind == "BPE" else set()

    def _parts_of(self, kept: set[int]) -> set[int]:
        made: dict[str, list[tuple[str, str]]] = {}
        for first, second, result in self._merges():
            made.setdefault(result, []).append((first, second))
        open_ends, parts = [self.names[i] for i in kept], set()
        while open_ends:
            for part in (part for pair in made.pop(open_ends.pop(), ()) for part in pair):
                open_ends.append(part)
                parts.add(self.ids[part])
        return parts

    def _merges(self) -> Iterable[tuple[str, str, str]]:
        start = self.model.get("continuing_subword_prefix") or ""
        for merge in self.model["merges"]:
            first, second = merge.split(" ") if isinstance(merge, str) else merge
            yield first, second, first + second.removeprefix(start)

    def stuck(self, word: str) -> set[int]:
        """Ids of the pieces that WordPiece takes from a word before it finds no further one; of all if it finds them."""
        start = self.model.get("continuing_subword_prefix") or ""
        taken, position = set(), 0
        if len(word) > self.model.get("max_input_chars_per_word", 100):
            return taken
        while position < len(word):
            prefix = start if position else ""
            ends = range(len(word), position, -1)
            end = next((end for end in ends if prefix + word[position:end] in self.model["vocab"]), None)
            if end is None:
                return taken
            taken.add(self.model["vocab"][prefix + word[position:end]])
            position = end
        return taken


def require_scripts(scripts: Iterable[str]) -> None:
    """Refuse a script that is none of `SCRIPTS`.

    Raises:
        ConfigError: names the known ones.
    """
    for script in scripts:
        if script not in SCRIPTS:
            near = difflib.get_close_matches(script, SCRIPTS, n=1)
            hint = f"did you mean {near[0]}?" if near else None
            raise ConfigError("unknown script", expected=" or ".join(SCRIPTS), got=script, hint=hint)


def cut_tokenizer(tokenizer: dict[str, Any], pieces: Pieces, new_ids: dict[int, int]) -> dict[str, Any]:
    """The content of a `tokenizer.json` with some pieces only, under new ids.

    Args:
        tokenizer: of the whole vocabulary.
        pieces: the same, read.
        new_ids: old id -> new id of the pieces that stay, in the same order.
    """
    model = dict(tokenizer["model"])
    if pieces.kind == "Unigram":
        model["vocab"] = [entry for i, entry in enumerate(model["vocab"]) if i in new_ids]
        if model.get("unk_id") is not None:
            model["unk_id"] = new_ids[model["unk_id"]]
    else:
        model["vocab"] = {piece: new_ids[i] for piece, i in model["vocab"].items() if i in new_ids}
    if pieces.kind == "BPE":
        results = zip(model["merges"], pieces._merges(), strict=True)
        model["merges"] = [merge for merge, (_, _, result) in results if result in model["vocab"]]
    cut = {**tokenizer, "model": model}
    cut["added_tokens"] = [{**entry, "id": new_ids[entry["id"]]} for entry in tokenizer["added_tokens"]]
    cut["post_processor"] = _with_ids(tokenizer.get("post_processor"), lambda i: new_ids[i])
    padding = tokenizer.get("padding")
    cut["padding"] = {**padding, "pad_id": new_ids.get(padding["pad_id"], 0)} if padding else padding
    return cut


def ids_in_post_processor(tokenizer: dict[str, Any]) -> set[int]:
    """Ids that the post-processor puts around a text."""
    found: set[int] = set()
    _with_ids(tokenizer.get("post_processor"), lambda i: found.add(i) or i)
    return found


def _with_ids(node: Any, change: Callable[[int], int]) -> Any:
    """A post-processor with other ids: of templates, of BERT's and RoBERTa's pairs (token, id), and of sequences."""
    if not isinstance(node, dict):
        return node
    result = dict(node)
    for name in ("sep", "cls"):
        if isinstance(node.get(name), list):
            result[name] = [node[name][0], change(node[name][1])]
    if isinstance(node.get("special_tokens"), dict):
        tokens = node["special_tokens"].items()
        result["special_tokens"] = {key: {**entry, "ids": [change(i) for i in entry["ids"]]} for key, entry in tokens}
    if isinstance(node.get("processors"), list):
        result["processors"] = [_with_ids(part, change) for part in node["processors"]]
    return result


def _uses(node: Any, kind: str) -> bool:
    """True if a part of a tokenizer besides its vocabulary is of a kind."""
    if isinstance(node, dict):
        return node.get("type") == kind or any(_uses(v, kind) for k, v in node.items() if k not in ("vocab", "merges"))
    return isinstance(node, list) and any(_uses(part, kind) for part in node)


def _byte_symbols() -> list[str]:
    """The characters by which byte-level tokenizers write the 256 bytes (GPT-2's table)."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(rest)) for byte in range(256)]


def _script_of_text(text: str, scripts: frozenset[str]) -> bool:
    letters = [c for c in text if unicodedata.category(c).startswith("L")]
    if letters:
        return all(script_of_letter(c) in scripts for c in letters)
    has_digit = any(unicodedata.category(c).startswith("N") for c in text)
    return ("digits" if has_digit else "punctuation") in scripts


@lru_cache(maxsize=1 << 16)
def script_of_letter(letter: str) -> str | None:
    """The script of `SCRIPTS` that a letter belongs to, or None."""
    name = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return next((script for script, starts in SCRIPTS.items() if starts and name.startswith(starts)), None)
