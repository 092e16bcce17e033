"""Retrieval metrics with intervals over queries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from munjang.evaluate.metrics import Estimate, bootstrap_rows


def ndcg(ranking: list[str], relevance: Mapping[str, int], k: int) -> float | None:
    """nDCG@k with gain 2^relevance - 1 (Burges et al. 2005), or None for a query without a relevant document.

    Args:
        ranking: ids, best first.
        relevance: id -> judgement; what is not judged counts as 0.
        k: cut.
    """
    ideal = sorted((r for r in relevance.values() if r > 0), reverse=True)[:k]
    if not ideal:
        return None
    gains = [2 ** relevance.get(i, 0) - 1 for i in ranking[:k]]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = float(np.dot([2**r - 1 for r in ideal], discounts[: len(ideal)]))
    return float(np.dot(gains, discounts[: len(gains)])) / best


def reciprocal_rank(ranking: list[str], relevance: Mapping[str, int], k: int) -> float | None:
    """1 / place of the first relevant document within k, 0 if there is none; None if no document is relevant."""
    if not any(r > 0 for r in relevance.values()):
        return None
    return next((1 / place for place, i in enumerate(ranking[:k], 1) if relevance.get(i, 0) > 0), 0.0)


def mean_estimate(values: list[float | None], seed: int = 0) -> Estimate:
    """Mean x 100 over the queries that have a value, with a 95% bootstrap interval over queries."""
    defined = np.array([v for v in values if v is not None], np.float64)
    if not len(defined):
        return Estimate(None, None, None, "no query has a relevant document")
    if len(defined) == 1:
        return Estimate(100 * float(defined[0]), None, None, "one query")
    resampled = defined[bootstrap_rows(len(defined), seed)].mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(100 * float(defined.mean()), 100 * float(low), 100 * float(high))
