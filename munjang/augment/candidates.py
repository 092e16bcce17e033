"""Candidate pairs as columns: unordered, unique, never a pair that is known, never a sentence with itself.

Pairs are positions in a list of distinct sentences, first below second. A million sentences with five neighbours each are
five million pairs; as objects they would take gigabytes, as columns they take 200 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from munjang.text import match_key


@dataclass(frozen=True)
class Candidates:
    """Pairs in order of preference, best first; all columns (n,)."""

    first: np.ndarray
    """int64, position of a sentence."""
    second: np.ndarray
    """int64, position of another, behind the first."""
    rank: np.ndarray
    """int32, the better of the two places that each has among the neighbours of the other, from 1; 0 for a drawn pair."""
    score: np.ndarray
    """float32, by what the strategy ranks: cosine, BM25, a teacher's score; NaN for a random pair."""

    def take(self, which: np.ndarray) -> Candidates:
        """Some of them: positions or a mask."""
        return Candidates(*(column[which] for column in self.columns))

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All of them, in order."""
        return self.first, self.second, self.rank, self.score

    def __len__(self) -> int:
        return len(self.first)


def concatenated(parts: Iterable[Candidates]) -> Candidates:
    """The pairs of some parts behind each other; there must be one part at least."""
    return Candidates(*map(np.concatenate, zip(*(part.columns for part in parts), strict=True)))


def no_candidates() -> Candidates:
    """None at all."""
    return Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))


def code_of(first: np.ndarray, second: np.ndarray, sentences: int) -> np.ndarray:
    """One int64 for each unordered pair of positions, the same for both orders."""
    return np.minimum(first, second) * sentences + np.maximum(first, second)


def known_codes(sentences: Sequence[str], known: Iterable[tuple[str, str]]) -> np.ndarray:
    """Codes of the pairs that must not come back, sorted.

    Args:
        sentences: distinct by `munjang.text.match_key`.
        known: keys of pairs; see `munjang.data.rows.pair_key`. Pairs of other sentences do not matter here.
    """
    place = {match_key(text): position for position, text in enumerate(sentences)}
    found = [(place[a], place[b]) for a, b in known if a in place and b in place]
    both = np.array(found, np.int64).reshape(-1, 2)
    return np.unique(code_of(both[:, 0], both[:, 1], len(sentences)))


def unique_candidates(found: Candidates, sentences: int, taken: np.ndarray) -> Candidates:
    """Each pair once, the first time that it comes; none of a sentence with itself, none that is taken.

    Args:
        found: in order of preference.
        sentences: how many there are.
        taken: codes, sorted; see `known_codes`.
    """
    codes = code_of(found.first, found.second, sentences)
    places = np.unique(codes, return_index=True)[1]
    new = (found.first[places] != found.second[places]) & ~is_in(codes[places], taken)
    return found.take(np.sort(places[new]))


def is_in(codes: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Which codes are among sorted ones: bool (n,)."""
    if not len(taken):
        return np.zeros(len(codes), bool)
    return taken[np.minimum(np.searchsorted(taken, codes), len(taken) - 1)] == codes


class Mined(NamedTuple):
    """Candidate pairs of several strategies."""

    pairs: Candidates
    strategy: np.ndarray
    """int8, number of each pair's strategy in `names`."""
    names: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of each strategy."""
        return {name: int((self.strategy == number).sum()) for number, name in enumerate(self.names)}


def joined(parts: Mapping[str, Candidates]) -> Mined:
    """The pairs of several strategies behind each other."""
    numbers = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part) for part in parts.values()])
    return Mined(concatenated(parts.values()), numbers, list(parts))
