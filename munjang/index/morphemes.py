"""Texts to terms for lexical search: Korean by morphemes or by bigrams of syllables, other scripts by words.

A Korean word carries particles and endings, so two sentences about one thing share few words and many morphemes. Kiwi
(the package kiwipiepy) takes them apart. Where it is not installed, overlapping bigrams of syllables do without a
dictionary; they are the classic choice for Korean (Lee and Ahn 1996).
"""

from __future__ import annotations

import importlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, Literal

from munjang.errors import ConfigError, missing_extra
from munjang.progress import Progress, silent
from munjang.text import clean, is_blank

Kind = Literal["auto", "kiwi", "bigrams"]

#: Tags of Kiwi whose morphemes say what a sentence is about: nouns, pronouns, numerals, roots, determiners, adverbs,
#: interjections, and what it cannot tell. Particles, endings, affixes, auxiliaries and the copula are left out.
_CONTENT = frozenset({"NNG", "NNP", "NNB", "NP", "NR", "XR", "MM", "MAG", "IC", "UN"})
#: Verbs and adjectives, whose stems get the ending of the dictionary: else the verb 차다 and the car 차 were one term.
_STEMS = frozenset({"VV", "VA", "VCN"})
#: Texts that are analysed between two reports of progress.
_PART = 4096

# Without the fillers, which are letters by category and drawn as nothing.
_HANGUL = "\u1100-\u115e\u1161-\u11ff\u3131-\u3163\u3165-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uffa1-\uffdc"
#: Scripts that are written without spaces: Han and Kana; Thai, Lao, Burmese and Khmer.
_SPACELESS = (
    "\u3005\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff\u0e01-\u0e3a\u0e40-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_FILLERS = "\u115f\u1160\u3164\uffa0"


class Analyser:
    """Cuts texts into terms.

    Args:
        kind: `kiwi` for Korean morphemes, `bigrams` for bigrams of Hangul syllables, `auto` for the first where its
            package is installed and the second elsewhere. Terms of the two do not go together: what is searched and
            what is searched for need one analyser.
        workers: threads of Kiwi; None for one on each core. The terms do not depend on it.

    Raises:
        UnavailableError: `kiwi` is asked for and not installed.
        ConfigError: there is no such kind.
    """

    kind: Literal["kiwi", "bigrams"]
    """Which of the two is at work."""

    def __init__(self, kind: Kind = "auto", workers: int | None = None) -> None:
        if kind not in ("auto", "kiwi", "bigrams"):
            raise ConfigError("there is no such analyser", expected="auto, kiwi or bigrams", got=str(kind))
        installed = kind != "bigrams" and _kiwipiepy() is not None
        if kind == "kiwi" and not installed:
            raise missing_extra("kiwipiepy", "search")
        self.kind = "kiwi" if installed else "bigrams"
        self._workers = workers or len(os.sched_getaffinity(0))

    def terms(self, texts: Sequence[str], progress: Progress = silent) -> list[list[str]]:
        """The terms of each text, with repetitions, case folded; for BM25, their order means nothing.

        Of Korean, Kiwi leaves content morphemes: nouns, roots, adverbs and the like as they stand, verbs and adjectives
        in the form of the dictionary (달렸다: 달리다), and their root where they are made of one and 하다 (깨끗한: 깨끗).
        Where a text has none but endings and particles, these are its terms.

        Both kinds cut other scripts alike: words, with a number such as 3.14 in one piece, compatibility forms unified
        (NFKC); bigrams of characters where a script is written without spaces. Symbols are left out unless there is
        nothing else.

        Args:
            texts: any strings; each is cleaned as by `munjang.text.clean`, so NFD and NFC give the same terms, and what
                stands beyond 32,768 characters is not read.
            progress: told of texts.

        Returns:
            A list for each text in the order given; empty only where the cleaned text is blank.
        """
        # A million sentences hold ten million terms, of which few are distinct: one string for each saves gigabytes.
        known: dict[str, str] = {}
        found: list[list[str]] = []
        for start in range(0, len(texts), _PART):
            part = [clean(text).text for text in texts[start : start + _PART]]
            analysed = self._morphemes(part) if self.kind == "kiwi" else map(_bigram_terms, part)
            for text, own in zip(part, analysed, strict=True):
                if is_blank(text):
                    own = []
                elif not own:
                    own = [symbol for symbol in text if not is_blank(symbol)]
                found.append([known.setdefault(term, term) for term in own])
            progress(len(found), len(texts))
        return found

    @cached_property
    def _kiwi(self) -> Any:
        return _kiwi(self._workers)

    def _morphemes(self, texts: list[str]) -> Iterator[list[str]]:
        """The terms of each text by Kiwi, which sees only texts that hold Hangul."""
        hangul = re.compile(f"[{_HANGUL}]")
        korean = [hangul.search(text) is not None for text in texts]
        asked = [text for text, is_korean in zip(texts, korean, strict=True) if is_korean]
        # Kiwi hands its results on in the order given. Jamo are written as a keyboard does, as in the texts.
        analysed = iter(self._kiwi.tokenize(asked, compatible_jamo=True) if asked else ())
        for text, is_korean in zip(texts, korean, strict=True):
            words = [term for name, run in _runs(text) if name != "hangul" for term in _word_terms(name, run)]
            if is_korean:
                tokens = [(token.form, token.tag.partition("-")[0]) for token in next(analysed)]
                words += [term for form, tag in tokens for term in _content(form, tag)]
                words = words or [form.casefold() for form, _ in tokens if hangul.search(form)] or _bigram_terms(text)
            yield words


def _content(form: str, tag: str) -> list[str]:
    """The terms of one morpheme; what holds no Hangul is found as a word of its script."""
    if tag in _STEMS:
        # Kiwi cuts 깨끗하다 in two (a root and 하다) or leaves it whole, as the sentence goes.
        return [form[:-1] if form.endswith("하") and len(form) > 2 else form + "다"]
    runs = [run for name, run in _runs(form) if name == "hangul"] if tag in _CONTENT or tag.startswith("W_") else []
    # Addresses and hashtags (W_) are one morpheme each; of these the Hangul inside can be found.
    return [form.casefold()] if runs and tag in _CONTENT else runs


def _bigram_terms(text: str) -> list[str]:
    """The terms of a text without a dictionary."""
    return [term for name, run in _runs(text) for term in _word_terms(name, run)]


def _word_terms(name: str, run: str) -> list[str]:
    """The terms of a run of one script: itself, or its bigrams; a single character is a term."""
    if run.isascii():
        return [run.lower()]
    if name == "hangul":
        return _bigrams(run)
    folded = unicodedata.normalize("NFKC", run).casefold()
    return _bigrams(folded) if name == "spaceless" else [folded]


def _bigrams(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """The runs of a text with what they are: `hangul`, `spaceless`, or a `word` of another script."""
    for match in _pattern().finditer(text):
        yield match.lastgroup or "", match.group()


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """Hangul, scripts without spaces, words.

    Python's `\\w` ends a word at a combining mark, on which the vowels of Hindi and others are built, so marks that
    follow a letter are added; those of emoji are not. As in Unicode's word boundaries (UAX 29), a point or comma between
    digits and an apostrophe between letters stand inside of a word.
    """
    marks = "".join(
        chr(code)
        for code in range(0x20000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc")
        and not (0x20D0 <= code <= 0x20FF or 0xFE00 <= code <= 0xFE0F)
    )
    letter = rf"[^\W{_HANGUL}{_SPACELESS}{_FILLERS}]"
    inner = rf"{letter}(?:{letter}|[{marks}])*"
    between = r"(?:(?<=\d)[.,](?=\d)|(?<=[^\W\d_])['’](?=[^\W\d_]))"
    return re.compile(
        rf"(?P<hangul>[{_HANGUL}]+)|(?P<spaceless>[{_SPACELESS}]+)|(?P<word>{inner}(?:{between}{inner})*)"
    )


def _kiwipiepy() -> Any:
    """The package, or None where it is not installed."""
    try:
        return importlib.import_module("kiwipiepy")
    except ImportError:
        return None


@lru_cache(maxsize=1)
def _kiwi(workers: int) -> Any:
    """Kiwi with its model, which takes seconds to load: analysers with as many workers share it."""
    return _kiwipiepy().Kiwi(num_workers=workers)
