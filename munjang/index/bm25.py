"""BM25 in this process: no server, no index on disk, exact (Robertson and Zaragoza 2009, in Lucene's variant)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from munjang.engine.topk import Neighbours

#: A term of more documents than this share (and than this number) hardly tells them apart, and costs by their number.
_COMMON_SHARE, _COMMON_LEAST = 1 / 200, 1_000
#: Scores of queries against documents that are in memory at a time, as far as a block of queries can be kept small.
_BLOCK_POSTINGS = 20_000_000


class Bm25:
    """Documents as weights of their terms, a sparse matrix.

    Args:
        documents: terms of each; see `munjang.index.morphemes.Analyser`.
        k1: how soon repetitions of a term stop to count; 1.2 is Lucene's default, and short texts hardly feel it.
        b: how much longer documents are held back; 0.75 is the usual value.
        common: documents from which on a term is common: queries leave it out where they have a rarer one. By default one
            in two hundred, but at least 1,000, so that nothing is left out of small collections. A million documents
            searched by a million queries would otherwise spend nearly all the time on terms that say next to nothing.
    """

    def __init__(
        self, documents: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75, common: int | None = None
    ) -> None:
        self.vocabulary: dict[str, int] = {}
        counts = _counts(documents, self.vocabulary, grow=True)
        self.size, terms = counts.shape
        lengths = np.asarray(counts.sum(axis=1), np.float64).ravel()
        mean = float(lengths.mean()) if self.size and lengths.any() else 1.0
        self.frequency = np.bincount(counts.indices, minlength=terms)
        self.idf = np.log1p((self.size - self.frequency + 0.5) / (self.frequency + 0.5))
        self.common = common if common is not None else max(_COMMON_LEAST, round(self.size * _COMMON_SHARE))
        norm = k1 * (1 - b + b * lengths / mean)
        rows = np.repeat(np.arange(self.size), np.diff(counts.indptr))
        weights = self.idf[counts.indices] * counts.data / (counts.data + norm[rows])
        matrix = scipy.sparse.csr_matrix((weights.astype(np.float32), counts.indices, counts.indptr), counts.shape)
        self._by_term = matrix.T.tocsr()

    def top_k(
        self, queries: Sequence[Sequence[str]], k: int, *, exclude_self: bool = False, block: int = 1_024
    ) -> Neighbours:
        """The k documents with the best scores for each query; equal scores by position.

        Args:
            queries: terms of each.
            k: how many.
            exclude_self: query i is document i and does not find itself.
            block: queries at a time at most; the result does not depend on it.

        Returns:
            positions int64 (q, k) and scores float32 (q, k); -1 and 0 where fewer documents share a term.
        """
        asked = self._asked(queries)
        positions = np.full((len(queries), k), -1, np.int64)
        scores = np.zeros((len(queries), k), np.float32)
        postings = np.add.reduceat(np.append(self.frequency[asked.indices], 0), asked.indptr[:-1]) if asked.nnz else []
        start = 0
        while start < len(queries):
            stop = _end_of_block(postings, start, min(start + block, len(queries)))
            found = (asked[start:stop] @ self._by_term).tocsr()
            if exclude_self:
                _clear_own(found, start)
            _best(found, k, positions[start:stop], scores[start:stop])
            start = stop
        return Neighbours(positions, scores)

    def _asked(self, queries: Sequence[Sequence[str]]) -> scipy.sparse.csr_matrix:
        """Terms of queries, each once, those that are common only where there is nothing rarer."""
        counts = _counts(queries, self.vocabulary, grow=False)
        rows = np.repeat(np.arange(len(queries)), np.diff(counts.indptr))
        frequency = self.frequency[counts.indices]
        rare = frequency <= self.common
        has_rare = np.zeros(len(queries), bool)
        has_rare[rows[rare]] = True
        # Of a query with common terms only, the rarest stays.
        order = np.lexsort((counts.indices, frequency, rows))
        first = np.zeros(len(rows), bool)
        first[order[np.unique(rows[order], return_index=True)[1]]] = True
        stays = rare | (first & ~has_rare[rows])
        shape = (len(queries), max(len(self.vocabulary), 1))
        ones = np.ones(int(stays.sum()), np.float32)
        return scipy.sparse.csr_matrix((ones, (rows[stays], counts.indices[stays])), shape)


def _counts(texts: Sequence[Sequence[str]], vocabulary: dict[str, int], *, grow: bool) -> scipy.sparse.csr_matrix:
    """How often each text holds each term: (texts, terms), float32. Unknown terms are added, or left out."""
    indices: list[int] = []
    ends = [0]
    for terms in texts:
        if grow:
            indices += [vocabulary.setdefault(term, len(vocabulary)) for term in terms]
        else:
            indices += [vocabulary[term] for term in terms if term in vocabulary]
        ends.append(len(indices))
    shape = (len(texts), max(len(vocabulary), 1))
    matrix = scipy.sparse.csr_matrix((np.ones(len(indices), np.float32), indices, ends), shape)
    matrix.sum_duplicates()
    return matrix


def _end_of_block(postings: np.ndarray, start: int, stop: int) -> int:
    """Where a block of queries ends so that its scores fit into memory; one query at least."""
    whole = np.cumsum(postings[start:stop])
    return start + max(1, int(np.searchsorted(whole, _BLOCK_POSTINGS, "right"))) if len(whole) else stop


def _clear_own(found: scipy.sparse.csr_matrix, start: int) -> None:
    rows = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    found.data[found.indices == rows + start] = 0.0


def _best(found: scipy.sparse.csr_matrix, k: int, positions: np.ndarray, scores: np.ndarray) -> None:
    """The k best of each row of scores, best first, ties by position."""
    rows = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    there = found.data > 0
    rows, columns, values = rows[there], found.indices[there], found.data[there]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    begins = np.searchsorted(rows, np.arange(found.shape[0]))
    place = np.arange(len(rows)) - begins[rows]
    top = place < k
    positions[rows[top], place[top]] = columns[top]
    scores[rows[top], place[top]] = values[top]
