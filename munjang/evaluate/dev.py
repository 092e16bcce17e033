"""One number for a dev set of any kind, by which a training chooses its weights: x 100, higher is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from munjang.data.cells import NLI_LABELS
from munjang.data.rows import LabelledPair, RankedList, Triplet, sentences_of
from munjang.engine.encoder import Encoder, cosine_of_rows, normalise
from munjang.engine.scorer import Scorer
from munjang.engine.topk import top_k
from munjang.errors import DataError
from munjang.evaluate.statistics import spearman, whole
from munjang.evaluate.sts import cosine_of_pairs, gold_scores

#: What a dev set of each kind measures, as reports name it: (bi-encoders, cross-encoders); None where there is nothing.
DEV_METRICS: Mapping[str, tuple[str, str | None]] = {
    "scored-pairs": ("Spearman x 100", "Spearman x 100"),
    "labelled-pairs": ("triplet accuracy x 100", "accuracy x 100"),
    "triplets": ("triplet accuracy x 100", "triplet accuracy x 100"),
    "positive-pairs": ("matching accuracy x 100", None),
    "parallel-pairs": ("matching accuracy x 100", None),
    "ranked-lists": ("nDCG@10 x 100", "nDCG@10 x 100"),
}


def dev_metric(kind: str, rows: Sequence[Any], cross: bool, where: str) -> str:
    """The name of what a dev set measures.

    Args:
        kind: of the rows.
        rows: the dev set.
        cross: True for a cross-encoder.
        where: the data set, for the error.

    Raises:
        DataError: these rows cannot choose weights.
    """
    name = DEV_METRICS[kind][cross] or ""
    problem = ""
    if not rows:
        problem = "no row is left"
    elif kind == "scored-pairs" and len({row.score for row in rows}) < 2:
        problem = "all of its scores are equal"
    elif kind == "ranked-lists" and all(len(set(row.scores)) == 1 for row in rows):
        problem = "the texts of each list are judged alike"
    elif kind in ("positive-pairs", "parallel-pairs") and len(rows) < 2:
        problem = "a single pair always finds itself"
    elif kind == "labelled-pairs" and len({row.label for row in rows}) < 2:
        problem = "all of its rows have one class"
    elif kind == "labelled-pairs" and not cross and not triplets_of_nli(rows):
        problem = "no premise has both an entailment and a contradiction"
    if problem:
        raise DataError(f"dev cannot choose weights: {problem}", where=where, got=f"{len(rows)} rows")
    return name


def dev_of_encoder(encoder: Encoder, kind: str, rows: Sequence[Any]) -> float | None:
    """What a bi-encoder reaches on a dev set: see `DEV_METRICS`; None where it is undefined."""
    if kind in ("positive-pairs", "parallel-pairs"):
        return 100 * sum(matching_accuracies(encoder, rows)) / 2
    if kind == "scored-pairs":
        return _times_100(whole(spearman, cosine_of_pairs(encoder, list(rows)), gold_scores(list(rows))))
    if kind in ("triplets", "labelled-pairs"):
        triplets = list(rows) if kind == "triplets" else triplets_of_nli(rows)
        vectors = encoder.encode(sentences_of(triplets))
        near = cosine_of_rows(vectors[0::3], vectors[1::3])
        return 100 * float((near > cosine_of_rows(vectors[0::3], vectors[2::3])).mean())
    vectors = encoder.encode(sentences_of(list(rows)))
    scores, at = [], 0
    for row in rows:
        documents = vectors[at + 1 : at + 1 + len(row.documents)]
        scores.append(normalise(documents) @ normalise(vectors[at : at + 1])[0])
        at += 1 + len(row.documents)
    return 100 * mean_ndcg(rows, scores)


def dev_of_scorer(scorer: Scorer, kind: str, rows: Sequence[Any]) -> float | None:
    """What a cross-encoder reaches on a dev set: see `DEV_METRICS`; None where it is undefined."""
    if kind == "scored-pairs":
        return _times_100(whole(spearman, scorer.score([row[:2] for row in rows]), gold_scores(list(rows))))
    if kind == "labelled-pairs":
        classes = scorer.logits([row[:2] for row in rows]).argmax(axis=1)
        return 100 * float((classes == [NLI_LABELS.index(row.label) for row in rows]).mean())
    lists = [RankedList(r.anchor, (r.positive, r.negative), (1.0, 0.0)) for r in rows] if kind == "triplets" else rows
    flat = scorer.logits([(row.query, text) for row in lists for text in row.documents])[:, 0]
    scores = np.split(flat, np.cumsum([len(row.documents) for row in lists])[:-1])
    if kind == "triplets":
        return 100 * float(np.mean([s[0] > s[1] for s in scores]))
    return 100 * mean_ndcg(lists, scores)


def triplets_of_nli(rows: Sequence[LabelledPair]) -> list[Triplet]:
    """One triplet for each premise that has an entailment and a contradiction."""
    groups: dict[str, dict[str, str]] = {}
    for row in rows:
        groups.setdefault(row.sentence1, {}).setdefault(row.label, row.sentence2)
    return [
        Triplet(premise, texts["entailment"], texts["contradiction"])
        for premise, texts in groups.items()
        if {"entailment", "contradiction"} <= texts.keys()
    ]


def matching_accuracies(encoder: Encoder, rows: Sequence[Any]) -> tuple[float, float]:
    """Share of first texts whose partner is the nearest of all partners, and the same of second texts: 0..1."""
    vectors = normalise(encoder.encode(sentences_of(list(rows))))
    left, right = vectors[0::2], vectors[1::2]
    own = np.arange(len(rows))
    forth, back = top_k(left, right, 1).positions[:, 0], top_k(right, left, 1).positions[:, 0]
    return float((forth == own).mean()), float((back == own).mean())


def mean_ndcg(rows: Sequence[RankedList], scores: Sequence[np.ndarray], k: int = 10) -> float:
    """Mean nDCG@k; the gains are a list's own scores, less the lowest. Lists of equal scores count as perfect; of texts
    that the model scores alike the worse comes first, so that a model that scores all alike gains nothing.

    Args:
        rows: lists with judgements or a teacher's scores.
        scores: of the model, for each list.
        k: cut.
    """
    values = []
    discounts = 1 / np.log2(np.arange(2, k + 2))
    for row, given in zip(rows, scores, strict=True):
        gains = np.asarray(row.scores, np.float64) - min(row.scores)
        if not gains.any():
            values.append(1.0)
            continue
        found = gains[np.lexsort((gains, -np.asarray(given)))][:k]
        best = np.sort(gains)[::-1][:k]
        values.append(float(found @ discounts[: len(found)] / (best @ discounts[: len(best)])))
    return float(np.mean(values))


def _times_100(value: float | None) -> float | None:
    return None if value is None else 100 * value
