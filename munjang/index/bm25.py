"""BM25 in memory: for each query the documents that share its terms, the rarer the term the more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from munjang.engine.topk import Neighbours

#: A term that occurs in at most this many documents is never common.
_RARE = 1000
#: Of more documents, the share of them from which on a term is common: one in so many.
_COMMON_SHARE = 200
#: Shared terms that are counted together, which bounds the memory of a block: 40 bytes for each.
_SHARED = 1 << 22
#: The largest position that fits beside a score.
_LAST = np.uint64(0xFFFF_FFFF)
_NOBODY = -2
_Ints = NDArray[np.int64]


class Bm25:
    """An index over documents of terms, scored by BM25 as Lucene does.

    The score of a document is the sum over the terms of the query, each as often as it stands there, of
    idf * tf / (tf + k1 * (1 - b + b * length / mean length)), with idf = ln(1 + (n - df + 0.5) / (df + 0.5)), which is never
    negative. See Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework", and for the variants Kamphuis et al.
    2020, "Which BM25 Do You Mean?"; unlike Lucene, lengths are exact here and not rounded to a byte.

    Args:
        documents: the terms of each, with repetitions, as `munjang.index.morphemes.Analyser` gives them.
        k1: how much a repeated term still counts; at 0 it counts once.
        b: how much a long document loses, from 0 to 1.
    """

    def __init__(self, documents: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75) -> None:
        self._documents = len(documents)
        self._vocabulary: dict[str, int] = {}
        lengths = np.fromiter(map(len, documents), np.int64, len(documents))
        known = self._vocabulary
        terms = (known.setdefault(term, len(known)) for term in chain.from_iterable(documents))
        counts = _counts(np.fromiter(terms, np.int32, int(lengths.sum())), lengths, len(known))
        self._frequency = np.bincount(counts.indices, minlength=len(known))
        idf = np.log1p((self._documents - self._frequency + 0.5) / (self._frequency + 0.5))
        damping = k1 * (1 - b + b * lengths / max(float(lengths.mean()) if len(lengths) else 0.0, 1e-9))
        document = _rows(counts)
        counts.data = idf[counts.indices] * counts.data / (counts.data + damping[document])
        #: Of a term that occurs in one document only, that document; -1 for others.
        self._only = np.full(len(known), -1, np.int64)
        single = self._frequency[counts.indices] == 1
        self._only[counts.indices[single]] = document[single]
        self._weights = csr_array(counts.T.tocsr())

    def __len__(self) -> int:
        """How many documents there are."""
        return self._documents

    def top_k(
        self,
        queries: Sequence[Sequence[str]],
        k: int,
        *,
        exclude_self: bool = False,
        block: int = 1024,
        common: int | None = None,
    ) -> Neighbours:
        """The k documents with the highest score for each query.

        A term that occurs in many documents says little and costs most. So common terms are left out of a query that also
        has a rarer one, both of the terms that are found and of the score; of a query that has none, only its rarest term
        is looked for. Apart from that rule the result is exact, and it is the same for every `block`. Scores are summed in
        double precision; those that are equal as float32 are ordered by position.

        Args:
            queries: the terms of each, with repetitions. Terms that no document has are passed over.
            k: how many.
            exclude_self: the queries are the documents: query i never finds document i, and a term that stands in no
                other document is passed over, since it finds nothing.
            block: queries at a time; memory besides the index and the result is bounded by it.
            common: documents that a term may occur in without being common; None for a 200th of all documents and at
                least 1,000. As many as there are documents: no term is left out.

        Returns:
            Positions int64 and scores float32, both (queries, k), best first. Where fewer than k documents share a term
            with a query, the rest has position -1 and score 0.
        """
        positions = np.full((len(queries), k), -1, np.int64)
        scores = np.zeros((len(queries), k), np.float32)
        most = max(_RARE, self._documents // _COMMON_SHARE) if common is None else common
        for start in range(0, len(queries) if k > 0 else 0, block):
            asked = self._asked(queries[start : start + block])
            own = np.arange(start, start + asked.shape[0]) if exclude_self else np.full(asked.shape[0], _NOBODY)
            asked = self._without_common(asked, own, most)
            for first, end in self._parts(asked):
                best = _best(csr_array(asked[first:end] @ self._weights), own[first:end], k)
                place = slice(start + first, start + end)
                positions[place] = np.where(best > 0, (_LAST - (best & _LAST)).astype(np.int64), -1)
                scores[place] = (best >> np.uint64(32)).astype(np.uint32).view(np.float32)
        return Neighbours(positions, scores)

    def _asked(self, queries: Sequence[Sequence[str]]) -> csr_array:
        """How often each known term stands in each query: (queries, terms)."""
        lengths = np.fromiter(map(len, queries), np.int64, len(queries))
        terms = (self._vocabulary.get(term, -1) for term in chain.from_iterable(queries))
        term = np.fromiter(terms, np.int32, int(lengths.sum()))
        row = np.repeat(np.arange(len(queries)), lengths)[term >= 0]
        return _counts(term[term >= 0], np.bincount(row, minlength=len(queries)), len(self._vocabulary))

    def _without_common(self, asked: csr_array, own: _Ints, most: int) -> csr_array:
        """The queries with the terms that are looked for.

        Args:
            asked: (queries, terms). own: of each query, the document that it must not find.
            most: see `common` of `top_k`.
        """
        row, term = _rows(asked), asked.indices
        reach = self._frequency[term] - (self._only[term] == own[row])
        # The rarest term of each query that finds anything: the first of its row.
        order = np.lexsort((term, reach, reach == 0, row))
        kept = reach <= most
        kept[order[np.unique(row[order], return_index=True)[1]]] = True
        kept &= reach > 0
        starts = _starts(np.bincount(row[kept], minlength=asked.shape[0]))
        return csr_array((asked.data[kept], term[kept], starts), shape=asked.shape)

    def _parts(self, asked: csr_array) -> Iterator[tuple[int, int]]:
        """Ranges of queries that share about `_SHARED` terms with documents, or of one query that shares more."""
        shared = np.bincount(_rows(asked), self._frequency[asked.indices], asked.shape[0])
        part = np.cumsum(shared) // _SHARED
        yield from pairwise([0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(part)])


def _best(found: csr_array, own: _Ints, k: int) -> NDArray[np.uint64]:
    """The k best documents of each row as keys: (rows, k), falling, 0 where there is none.

    A key is the score's bits above the position's complement. Floats above 0 are in the order of their bits, so the larger
    key is the better document, ties included, and one partial sort of integers finds exactly the first k.

    Args:
        found: scores above 0, (rows, documents). own: of each row, the document that is left out.
    """
    keys = found.data.astype(np.float32).view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= _LAST - found.indices.astype(np.uint64)
    keys[found.indices == np.repeat(own, np.diff(found.indptr))] = 0
    best = np.zeros((found.shape[0], k), np.uint64)
    for row, (start, end) in enumerate(pairwise(found.indptr.tolist())):
        of = keys[start:end]
        if len(of) > k:
            of.partition(len(of) - k)
            of = of[-k:]
        best[row, : len(of)] = of
    best.sort(axis=1)
    return best[:, ::-1]


def _counts(term: NDArray[np.int32], lengths: _Ints, vocabulary: int) -> csr_array:
    """How often each term stands in each text: float64 (texts, vocabulary), terms rising within a text.

    Args:
        term: the terms of all texts, one after the other. lengths: of each text, how many are its own.
    """
    counts = csr_array((np.ones(len(term)), term, _starts(lengths)), shape=(len(lengths), vocabulary))
    # A product sums in the order of a row, so this order makes equal texts score equally.
    counts.sum_duplicates()
    return counts


def _rows(matrix: csr_array) -> _Ints:
    """The row of each entry."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _starts(counts: _Ints) -> _Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
