"""Orders of documents to the columns of the tasks retrieval and reranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from munjang.data.rows import Document, RankedList
from munjang.evaluate.retrieval import Judgements, average_precision, ndcg, recall, reciprocal_rank
from munjang.evaluate.sets import RetrievalRows

#: The deepest place that a metric of the task retrieval looks at.
DEPTH = 100


class Judged(NamedTuple):
    """The queries of a set of which a judgement tells something, and what was left out."""

    queries: list[Document]
    relevance: list[dict[str, int]]
    """Of each query: id of a document of the set -> judgement."""
    unjudged: int
    """Queries without a judgement."""
    lost: int
    """Judgements that name an unknown query or document."""


def judged_queries(rows: RetrievalRows) -> Judged:
    """Queries with their judgements; of two judgements of one pair the later counts.

    A query of which all judgements are 0 is kept, and has no value in any metric.
    """
    documents = {document.id for document in rows.documents}
    relevance: dict[str, dict[str, int]] = {query.id: {} for query in rows.queries}
    lost = 0
    for qrel in rows.qrels:
        if qrel.query_id in relevance and qrel.doc_id in documents:
            relevance[qrel.query_id][qrel.doc_id] = qrel.relevance
        else:
            lost += 1
    queries = [query for query in rows.queries if relevance[query.id]]
    return Judged(queries, [relevance[query.id] for query in queries], len(rows.queries) - len(queries), lost)


def retrieval_columns(rankings: Sequence[Sequence[str]], judged: Judged) -> dict[str, np.ndarray]:
    """The metrics of the task retrieval by query, NaN where nothing is relevant.

    Args:
        rankings: ids, best first, of each query.
        judged: the queries.
    """
    pairs = list(zip(rankings, judged.relevance, strict=True))
    return {
        "ndcg@10": _column([ndcg(r, j, 10) for r, j in pairs]),
        "mrr@10": _column([reciprocal_rank(r, j, 10) for r, j in pairs]),
        "recall@10": _column([recall(r, j, 10) for r, j in pairs]),
        "recall@100": _column([recall(r, j, 100) for r, j in pairs]),
        "map@100": _column([average_precision(r, j, 100) for r, j in pairs]),
    }


def reranking_columns(rows: Sequence[RankedList], scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics of the task reranking by list, NaN for lists that no order suits better than another.

    Relevant is what a list scores above 0, and its score is its gain. Of documents that a model scores alike the worse
    comes first, wherever they stand in the list: lists name their relevant documents first more often than not, and a
    model that scores all alike would otherwise be perfect.

    Args:
        rows: lists with their own scores.
        scores: (documents,) of the model, of each list.
    """
    values: dict[str, list[float | None]] = {"ndcg@10": [], "mrr@10": [], "map": []}
    for row, given in zip(rows, scores, strict=True):
        relevance: Judgements = {str(place): max(score, 0.0) for place, score in enumerate(row.scores)}
        order = np.lexsort((np.asarray(row.scores), -np.asarray(given, np.float64)))
        ranking = [str(place) for place in order]
        tells = len(set(relevance.values())) > 1
        values["ndcg@10"].append(ndcg(ranking, relevance, 10) if tells else None)
        values["mrr@10"].append(reciprocal_rank(ranking, relevance, 10) if tells else None)
        values["map"].append(average_precision(ranking, relevance) if tells else None)
    return {name: _column(column) for name, column in values.items()}


def _column(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)
