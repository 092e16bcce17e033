"""Measures of a ranking, query by query.

What counts as relevant is a judgement above 0. A query without a relevant document has no value: it says nothing of a
model. Documents that nobody judged count as not relevant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Judgements = Mapping[str, float]


def ndcg(ranking: Sequence[str], relevance: Judgements, k: int) -> float | None:
    """nDCG@k with the relevance itself as gain (Järvelin and Kekäläinen 2002), or None for a query without a relevant
    document.

    So defined in trec_eval and BEIR, and, where judgements are 0 and 1, in sentence-transformers. The other usual gain,
    2^relevance - 1, agrees with neither as soon as there are grades.

    Args:
        ranking: ids, best first.
        relevance: id -> judgement; what is not judged counts as 0.
        k: cut.
    """
    ideal = sorted((r for r in relevance.values() if r > 0), reverse=True)[:k]
    if not ideal:
        return None
    gains = [max(relevance.get(i, 0), 0) for i in ranking[:k]]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return float(np.dot(gains, discounts[: len(gains)]) / np.dot(ideal, discounts[: len(ideal)]))


def reciprocal_rank(ranking: Sequence[str], relevance: Judgements, k: int) -> float | None:
    """1 / place of the first relevant document within k, 0 if there is none; None if no document is relevant."""
    if not _relevant(relevance):
        return None
    return next((1 / place for place, i in enumerate(ranking[:k], 1) if relevance.get(i, 0) > 0), 0.0)


def recall(ranking: Sequence[str], relevance: Judgements, k: int) -> float | None:
    """Share of the relevant documents that stand within k; None if no document is relevant."""
    relevant = _relevant(relevance)
    return sum(i in relevant for i in ranking[:k]) / len(relevant) if relevant else None


def average_precision(ranking: Sequence[str], relevance: Judgements, k: int | None = None) -> float | None:
    """Mean of the precision at the places of the relevant documents, what lies beyond k counting 0; None if no document is
    relevant.

    With more than k relevant documents it is divided by k, as in sentence-transformers, so that a perfect order is 1;
    trec_eval divides by all of them.
    """
    relevant = _relevant(relevance)
    if not relevant:
        return None
    found, total = 0, 0.0
    for place, i in enumerate(ranking[:k], 1):
        if i in relevant:
            found += 1
            total += found / place
    return total / (len(relevant) if k is None else min(k, len(relevant)))


def _relevant(relevance: Judgements) -> set[str]:
    return {i for i, judgement in relevance.items() if judgement > 0}
