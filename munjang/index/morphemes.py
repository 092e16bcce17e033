"""Texts to terms for lexical search: Korean by morphemes, other languages by words, and never nothing.

A splitter by blanks takes 환불을 and 환불이 for two words, and one made for English finds no word in Hangul at all, silently
(jdocmunch-mcp issue 91, txtai issue 506). So a text in which anything is visible has at least one term here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from munjang.errors import missing_extra
from munjang.progress import Progress, silent
from munjang.text import clean

if TYPE_CHECKING:
    from kiwipiepy import Kiwi

AnalyserKind = Literal["auto", "kiwi", "bigrams"]
#: Kiwi's tags of what carries meaning: nouns, stems of verbs and adjectives, modifiers, roots, foreign words, numbers.
_CONTENT = ("NNG", "NNP", "NNB", "NR", "NP", "VV", "VA", "MM", "MAG", "XR", "SL", "SH", "SN", "W_")
#: Stems so frequent that they say nothing: to do, to be, to become, and the auxiliary ones have tags of their own.
_EMPTY = frozenset({("하", "VV"), ("되", "VV"), ("있", "VA"), ("없", "VA"), ("것", "NNB"), ("수", "NNB")})
_HANGUL = re.compile("[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]+")
#: Scripts that write no blanks between words: Han and Kana.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_WORD = re.compile(r"\w+")
#: Texts that Kiwi is given at a time.
_BLOCK = 4_096


class Analyser:
    """Splits texts into terms.

    Args:
        kind: `kiwi` for morphemes by kiwipiepy, `bigrams` for pairs of neighbouring syllables, which need nothing and find
            somewhat more and less exactly; `auto` takes Kiwi where it is installed.

    Raises:
        UnavailableError: Kiwi is asked for and not installed.
    """

    def __init__(self, kind: AnalyserKind = "auto") -> None:
        installed = _kiwi_installed()
        if kind == "kiwi" and not installed:
            raise missing_extra("kiwipiepy", "search")
        self.kind: Literal["kiwi", "bigrams"] = "kiwi" if installed and kind != "bigrams" else "bigrams"
        """Which one is at work."""

    def terms(self, texts: Sequence[str], progress: Progress = silent) -> list[list[str]]:
        """The terms of each text, in their order, repetitions included.

        Args:
            texts: any strings; a blank one has no terms, every other one has some.
            progress: called with (texts done, texts in all).
        """
        found: list[list[str]] = []
        for start in range(0, len(texts), _BLOCK):
            block = [clean(text).text for text in texts[start : start + _BLOCK]]
            found += self._of_block(block)
            progress(min(start + _BLOCK, len(texts)), len(texts))
        return found

    def _of_block(self, texts: list[str]) -> Iterator[list[str]]:
        if self.kind == "bigrams":
            yield from (_words(text) or _letters(text) for text in texts)
            return
        # Kiwi costs far more than a look at the characters; texts without Hangul do not need it.
        korean = [i for i, text in enumerate(texts) if _HANGUL.search(text)]
        analysed = dict(zip(korean, _kiwi().tokenize([texts[i] for i in korean]), strict=True))
        for i, text in enumerate(texts):
            tokens = [(token.form, token.tag) for token in analysed.get(i, ())]
            yield _content(tokens) or [form.casefold() for form, _ in tokens] or _words(text) or _letters(text)


def _content(tokens: list[tuple[str, str]]) -> list[str]:
    terms = []
    for form, tag in tokens:
        if not tag.startswith(_CONTENT) or (form, tag) in _EMPTY:
            continue
        # A verb's stem and a noun may be spelt alike.
        if tag.startswith(("VV", "VA")):
            terms.append(f"{form}다")
        else:
            terms += [form] if _HANGUL.fullmatch(form) else _words(form) or [form.casefold()]
    return terms


def _words(text: str) -> list[str]:
    """Words as blanks and punctuation divide them; runs of Hangul, Han and Kana as pairs of neighbouring characters."""
    terms = []
    for word in _WORD.findall(text.casefold()):
        at = 0
        for run in re.finditer(f"{_HANGUL.pattern}|{_UNSPACED.pattern}", word):
            terms += [word[at : run.start()]] if run.start() > at else []
            terms += _pairs(run[0])
            at = run.end()
        terms += [word[at:]] if at < len(word) else []
    return terms


def _pairs(run: str) -> list[str]:
    return [a + b for a, b in pairwise(run)] if len(run) > 1 else [run]


def _letters(text: str) -> list[str]:
    """Every visible character by itself: what is left of a text of symbols only."""
    return [character for character in text if not character.isspace()]


def _kiwi_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("kiwipiepy") is not None


@lru_cache(maxsize=1)
def _kiwi() -> Kiwi:
    """Loading takes seconds, so it is done once and only when there is Hangul."""
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=-1)
