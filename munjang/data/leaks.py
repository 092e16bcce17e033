"""Which texts of a small set come again in a large one, exactly or nearly: leakage at the size of a corpus.

Exactly means one `match_key`. Nearly means that the sets of character trigrams of the two, over letters and digits only
and with the ends marked, have a Jaccard similarity of at least a threshold. Everything is counted, nothing estimated:
candidates come from an inverted index over the rarest trigrams of each text of the small side, as many as make sure
that no pair above the threshold is missed (the prefix filter of Chaudhuri, Ganti and Kaushik 2006), and each candidate
is verified. The large side streams by in blocks, so that memory is bounded by the small side and one block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from munjang.text import match_key

#: Jaccard similarity of trigrams from which two texts count as nearly the same: a quarter of the trigrams of each may be
#: missing in the other. Between KorSTS train and test, what lies above differs in a word or two, and mostly in an article.
NEAR = 0.6
#: Letters and digits that both texts have at least; shorter ones are alike by chance.
SHORTEST = 10
#: Characters of the large side that are looked at together; 16 arrays of this length are in memory at once.
_BLOCK = 1 << 20
#: Candidates that are verified together.
_CANDIDATES = 1 << 18
#: Share of the trigrams that must be shared that is indexed beyond the first: a candidate then has to share that many, and few
#: do by chance.
_SURPLUS = 0.15
_CLASS = np.log(8 / 7)
#: A code point has 21 bits, so that three fit into 63.
_BITS = 21
_Ints = NDArray[np.int64]


class Matches(NamedTuple):
    """Pairs of nearly equal texts, ordered by the first."""

    text: _Ints
    """Places in the texts that were asked for."""
    known: _Ints
    """Places in the texts of the index."""
    similarity: NDArray[np.float32]


@dataclass
class Overlap:
    """For each watched text the most similar one that came by, and how many of those that came by are like any."""

    similarity: NDArray[np.float32]
    """(watched,) 1 for the same text; 0 where none reached the threshold."""
    exact: NDArray[np.bool_]
    """(watched,) whether the same text came by, after normalising."""
    place: _Ints
    """(watched,) place of the most similar text in the stream, the first of equal ones; -1 where there is none."""
    found: list[str]
    """That text itself; empty where there is none."""
    texts: int = 0
    """Texts that came by."""
    same: int = 0
    """Of these, those that are the same as a watched one."""
    near: int = 0
    """Of these, those that are not the same as any, but nearly."""


class NearIndex:
    """An index over texts that finds all that are nearly the same as a given one.

    Args:
        keys: the texts, as `match_key` makes them.
        threshold: least Jaccard similarity of two sets of trigrams, above 0 and at most 1.
        shortest: least number of trigrams (about that of letters and digits) of a text that is compared.
    """

    def __init__(self, keys: Sequence[str], threshold: float = NEAR, shortest: int = SHORTEST) -> None:
        self.threshold, self.shortest = threshold, shortest
        grams = _Grams.of(keys)
        self._vocabulary = grams.vocabulary
        self._sizes = grams.sizes
        self._rows = _incidence(grams.text, grams.gram, len(keys), len(self._vocabulary))
        self._classes = 2 + int(_size_class(np.max(self._sizes, initial=1)))
        needed = np.ceil(threshold * self._sizes - 1e-9).astype(np.int64)
        indexed = self._sizes - needed + np.ceil(_SURPLUS * needed).astype(np.int64)
        #: Of each text, how many trigrams are not in the index.
        self._outside = self._sizes - np.minimum(indexed, self._sizes)
        self._starts, self._postings = self._index(grams, indexed)

    def _index(self, grams: _Grams, indexed: _Ints) -> tuple[_Ints, _Ints]:
        """Where the postings of each trigram and class of sizes start, and the postings: places of texts.

        If two texts have a similarity of t, at least t * n of the n trigrams of one are in the other. So of any
        n - ceil(t * n) + k of them k are, and the rarest cost the least.
        """
        frequency = np.bincount(grams.gram, minlength=len(self._vocabulary))
        order = np.lexsort((grams.gram, frequency[grams.gram], grams.text))
        text, gram = grams.text[order], grams.gram[order]
        rank = np.arange(len(text)) - np.repeat(_starts(self._sizes)[:-1], self._sizes)
        kept = (rank < indexed[text]) & (self._sizes[text] >= self.shortest)
        place = gram[kept] * self._classes + _size_class(self._sizes[text[kept]])
        counts = np.bincount(place, minlength=len(self._vocabulary) * self._classes)
        return _starts(counts), text[kept][np.lexsort((text[kept], place))]

    def matches(self, keys: Sequence[str]) -> Matches:
        """All pairs of one of some texts and one of the index that are nearly the same.

        Args:
            keys: as `match_key` makes them.
        """
        grams = _Grams.of(keys)
        place = np.searchsorted(self._vocabulary, grams.vocabulary)
        place[place == len(self._vocabulary)] = 0
        here = len(self._vocabulary) > 0
        known = (self._vocabulary[place] == grams.vocabulary) if here else np.zeros(len(place), bool)
        of_index = np.where(known, place, -1)[grams.gram]
        text, gram = grams.text[of_index >= 0], of_index[of_index >= 0]
        rows = _incidence(text, gram, len(keys), len(self._vocabulary))
        found = [self._verified(rows, grams.sizes, *pairs) for pairs in self._candidates(text, gram, grams.sizes)]
        parts = zip(*found, strict=True) if found else ([], [], [])
        text, other, similarity = (np.concatenate([*part, np.zeros(0)]) for part in parts)
        return Matches(text.astype(np.int64), other.astype(np.int64), similarity.astype(np.float32))

    def _candidates(self, text: _Ints, gram: _Ints, sizes: _Ints) -> Iterator[tuple[_Ints, _Ints]]:
        """Pairs that share enough of the indexed trigrams and whose sizes allow the similarity, a bounded number at a time."""
        kept = sizes[text] >= self.shortest
        text, gram = text[kept], gram[kept]
        least, most = (_size_class(of[text]) for of in (self.threshold * sizes - 1e-9, sizes / self.threshold + 1e-9))
        starts = self._starts[gram * self._classes + np.minimum(least, self._classes - 1)]
        lengths = self._starts[gram * self._classes + np.minimum(most + 1, self._classes - 1)] - starts
        text, starts, lengths = text[lengths > 0], starts[lengths > 0], lengths[lengths > 0]
        # A part ends where its candidates are many enough, and never inside a text, so that no pair comes twice.
        part = (np.cumsum(lengths) // _CANDIDATES)[np.searchsorted(text, text)]
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(text)]):
            size, of = lengths[start:end], text[start:end]
            first = _starts(size)
            other = self._postings[np.arange(first[-1]) + np.repeat(starts[start:end] - first[:-1], size)]
            both, times = _distinct(np.repeat(of * len(self._sizes), size) + other)
            asked, other = np.divmod(both, max(len(self._sizes), 1))
            # A similarity of t needs t / (1 + t) of both sizes shared, of which some may lie outside of the index.
            shared = self.threshold / (1 + self.threshold) * (sizes[asked] + self._sizes[other])
            enough = times >= np.ceil(shared - 1e-6) - self._outside[other]
            if enough.any():
                yield asked[enough], other[enough]

    def _verified(self, rows: csr_array, sizes: _Ints, text: _Ints, other: _Ints) -> Matches:
        shared = np.asarray(rows[text].multiply(self._rows[other]).sum(axis=1)).ravel().astype(np.int64)
        similarity = shared / (sizes[text] + self._sizes[other] - shared)
        near = similarity >= self.threshold - 1e-9
        return Matches(text[near], other[near], similarity[near].astype(np.float32))


@dataclass(frozen=True)
class _Grams:
    """The distinct trigrams of some texts, ordered by text."""

    text: _Ints
    gram: _Ints
    """Places in `vocabulary`, rising within a text."""
    vocabulary: _Ints
    """Three code points in 63 bits each, rising."""
    sizes: _Ints
    """Of each text, how many distinct trigrams it has; 0 without any letter or digit."""

    @classmethod
    def of(cls, keys: Sequence[str]) -> _Grams:
        """The distinct trigrams of some texts, all cut at once."""
        joined = "\0".join(["", *(key.replace("\0", " ") for key in keys), ""])
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
        codes = codes[_told_apart()[codes]]
        middle = codes[1:-1]
        # A text lies between two zeros, which mark its ends; what has a zero in the middle belongs to two texts.
        inside = middle != 0
        packed = ((codes[:-2] << 2 * _BITS) | (middle << _BITS) | codes[2:])[inside]
        text = np.cumsum(codes == 0)[1:-1][inside] - 1
        vocabulary, gram = np.unique(packed, return_inverse=True)
        distinct, _ = _distinct(text * max(len(vocabulary), 1) + gram)
        text, gram = np.divmod(distinct, max(len(vocabulary), 1))
        return cls(text, gram, vocabulary, np.bincount(text, minlength=len(keys)))


@lru_cache(maxsize=1)
def _told_apart() -> NDArray[np.bool_]:
    """Of every code point, whether it counts in a comparison: letters, digits, marks, and the zero between texts."""
    table = np.fromiter((chr(c).isalnum() for c in range(0x110000)), bool, 0x110000)
    table[0] = True
    return table


def _size_class(size: Any) -> Any:
    """Classes of sizes that each reach a seventh further than the one before; what two texts can share depends on it."""
    return np.floor(np.log(np.maximum(size, 1)) / _CLASS).astype(np.int64)


def _distinct(values: _Ints) -> tuple[_Ints, _Ints]:
    """The distinct ones of some numbers, rising, and how often each comes; sorting beats numpy's hashing here."""
    ordered = np.sort(values)
    first = np.flatnonzero(np.concatenate([np.ones(min(len(ordered), 1), bool), ordered[1:] != ordered[:-1]]))
    return ordered[first], np.diff(np.concatenate([first, [len(ordered)]]))


def _incidence(text: _Ints, gram: _Ints, texts: int, vocabulary: int) -> csr_array:
    starts = _starts(np.bincount(text, minlength=texts))
    return csr_array((np.ones(len(gram), np.int32), gram, starts), shape=(texts, max(vocabulary, 1)))


def _starts(counts: _Ints) -> _Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


class Watch:
    """Watches a stream of texts for those that are, exactly or nearly, among some texts.

    Args:
        texts: the small side, such as all test sentences.
        threshold: see `NearIndex`; None looks for exact repetitions only.
        shortest: see `NearIndex`.
    """

    def __init__(self, texts: Sequence[str], threshold: float | None = NEAR, shortest: int = SHORTEST) -> None:
        keys = [match_key(text) for text in texts]
        self._distinct = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        self._of = np.array([self._distinct[key] for key in keys], np.int64)
        self._index = None if threshold is None else NearIndex(list(self._distinct), threshold, shortest)

    def compare(self, texts: Iterable[str]) -> Overlap:
        """Let a stream of texts pass by.

        Args:
            texts: the large side, read once and not kept.

        Returns:
            What came by, for each watched text in the order given.
        """
        count = len(self._distinct)
        seen = Overlap(np.zeros(count, np.float32), np.zeros(count, bool), np.full(count, -1), [""] * count)
        for block in _blocks(texts):
            self._pass(block, seen)
            seen.texts += len(block)
        of = self._of
        return Overlap(
            seen.similarity[of],
            seen.exact[of],
            seen.place[of],
            [seen.found[i] for i in of],
            seen.texts,
            seen.same,
            seen.near,
        )

    def _pass(self, block: list[str], seen: Overlap) -> None:
        keys = [match_key(text) for text in block]
        same = np.array([self._distinct.get(key, -1) for key in keys], np.int64)
        seen.same += int((same >= 0).sum())
        for place in np.flatnonzero(same >= 0).tolist():
            known = same[place]
            if not seen.exact[known]:
                seen.exact[known], seen.similarity[known] = True, 1.0
                seen.place[known], seen.found[known] = seen.texts + place, block[place]
        if self._index is not None:
            self._pass_nearly(self._index, block, keys, same, seen)

    def _pass_nearly(self, index: NearIndex, block: list[str], keys: list[str], same: _Ints, seen: Overlap) -> None:
        places: dict[str, int] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, place)
        found = index.matches(list(places))
        distinct = list(places.items())
        near = {distinct[i][0] for i in np.unique(found.text).tolist()}
        seen.near += sum(known < 0 and key in near for key, known in zip(keys, same.tolist(), strict=True))
        order = np.lexsort((found.text, -found.similarity, found.known))
        heads = np.unique(found.known[order], return_index=True)[1]
        for at in order[heads].tolist():
            known, similarity, place = found.known[at], found.similarity[at], distinct[found.text[at]][1]
            if not seen.exact[known] and similarity > seen.similarity[known]:
                seen.similarity[known], seen.place[known] = similarity, seen.texts + place
                seen.found[known] = block[place]


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists of about `_BLOCK` characters."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text) + 1
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def near_repetitions(
    texts: Sequence[str], threshold: float = NEAR, shortest: int = SHORTEST
) -> list[tuple[int, int, float]]:
    """Texts that nearly repeat an earlier one of the same list, each with the most similar earlier one.

    Exact repetitions of one text count as one text.

    Args:
        texts: the list.
        threshold, shortest: see `NearIndex`.

    Returns:
        (place, earlier place, similarity), by place; of equally similar ones the earliest.
    """
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(match_key(text), place)
    keys, places, found = list(first), list(first.values()), []
    for matches in near_pairs(keys, threshold, shortest):
        order = np.lexsort((matches.known, -matches.similarity, matches.text))
        heads = np.unique(matches.text[order], return_index=True)[1]
        for at in order[heads].tolist():
            similarity = float(matches.similarity[at])
            found.append((places[int(matches.text[at])], places[int(matches.known[at])], similarity))
    return found


def near_pairs(keys: Sequence[str], threshold: float = NEAR, shortest: int = SHORTEST) -> Iterator[Matches]:
    """All pairs of some texts that are nearly the same, in parts; all of a text with earlier ones are in one part.

    Args:
        keys: as `match_key` makes them, no two alike.
        threshold, shortest: see `NearIndex`.

    Yields:
        `known` < `text`, both places in `keys`.
    """
    index, begin = NearIndex(keys, threshold, shortest), 0
    for block in _blocks(keys):
        text, known, similarity = index.matches(block)
        text = text + begin
        earlier = known < text
        yield Matches(text[earlier], known[earlier], similarity[earlier])
        begin += len(block)
