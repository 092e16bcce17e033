"""Bi-encoders on every task: which texts are encoded under which prompt, and what their vectors say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from munjang.data.rows import LabelledText, ParallelPair, RankedList, ScoredPair, sentences_of
from munjang.engine.encoder import cosine_of_rows, normalise
from munjang.engine.topk import Neighbours, top_k
from munjang.evaluate import statistics
from munjang.evaluate.dev import triplets_of_nli
from munjang.evaluate.outputs import Vectors
from munjang.evaluate.rankings import DEPTH, Judged, judged_queries, reranking_columns, retrieval_columns
from munjang.evaluate.sets import ClassificationRows, EvalSet
from munjang.evaluate.tasks import Metric, correlations

Use = tuple[str, Sequence[str]]


class UnmeasurableError(Exception):
    """A model cannot be measured on a set; the message says why."""


class Outcome(NamedTuple):
    """The units of a set under one model; see `munjang.evaluate.measurement.Measurement`."""

    columns: dict[str, np.ndarray]
    texts: list[tuple[str, ...]]
    metrics: tuple[Metric, ...] = ()
    extra: Mapping[str, Any] = {}


class Settings(NamedTuple):
    """How to measure."""

    symmetric: bool = True
    similarities: tuple[str, ...] = ()
    rerank: int = DEPTH
    seed: int = 42


def uses_of(one: EvalSet) -> list[Use]:
    """The texts of a set, as (use, texts): what is searched and found under the prompts for it, all else under the
    model's default.

    Raises:
        UnmeasurableError: the set cannot tell anything about a bi-encoder.
    """
    if one.task == "retrieval":
        judged = judged_queries(one.rows)
        if not judged.queries:
            raise UnmeasurableError("no relevance judgement names a query and a document of the set")
        return [("query", sentences_of(judged.queries)), ("document", sentences_of(list(one.rows.documents)))]
    if one.task == "reranking":
        documents = [document for row in one.rows for document in row.documents]
        return [("query", [row.query for row in one.rows]), ("document", documents)]
    if one.task == "nli":
        triplets = triplets_of_nli(one.rows)
        if not triplets:
            raise UnmeasurableError("no premise has both an entailment and a contradiction")
        return [("similarity", sentences_of(triplets))]
    if one.task == "translation" and len(one.rows) < 2:
        raise UnmeasurableError("a single pair always finds itself")
    if one.task == "classification":
        return [("similarity", sentences_of([*one.rows.train, *one.rows.test]))]
    return [("similarity", one.texts())]


def bi_outcome(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    """What the vectors of a set's texts say on its task.

    Raises:
        UnmeasurableError: they can say nothing.
    """
    return _TASKS[one.task](one, vectors, settings)


def _sts(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    left, right = _sides(one.rows, vectors)
    columns = {"predicted": cosine_of_rows(left, right), "gold": np.array([row.score for row in one.rows])}
    columns |= {name: _SIMILARITIES[name](left, right) for name in settings.similarities}
    return Outcome(_doubles(columns), [row[:2] for row in one.rows], correlations("predicted", *settings.similarities))


def _pair_classification(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    del settings
    return pair_classes(one, cosine_of_rows(*_sides(one.rows, vectors)))


def pair_classes(one: EvalSet, predicted: np.ndarray) -> Outcome:
    """Scores (n,) of a set's pairs against whether they are positive."""
    predicted = np.asarray(predicted, np.float64)
    gold = np.array([float(row.score >= one.threshold) for row in one.rows])
    extra: dict[str, Any] = {"positive_from": one.threshold, "positives": int(gold.sum())}
    if 0 < gold.sum() < len(gold):
        extra["f1_threshold"] = statistics.f1_threshold(predicted, gold)
    return Outcome({"predicted": predicted, "gold": gold}, [row[:2] for row in one.rows], extra=extra)


def _triplets(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    del settings
    triplets = triplets_of_nli(one.rows) if one.task == "nli" else list(one.rows)
    rows = vectors.of(sentences_of(triplets))
    right = cosine_of_rows(rows[0::3], rows[1::3]) > cosine_of_rows(rows[0::3], rows[2::3])
    return Outcome(_doubles({"triplet_accuracy": right}), [tuple(row) for row in triplets])


def _reranking(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    del settings
    queries = normalise(vectors.of([row.query for row in one.rows], "query"))
    scores = [
        normalise(vectors.of(row.documents, "document")) @ query for row, query in zip(one.rows, queries, strict=True)
    ]
    return list_outcome(one.rows, scores)


def list_outcome(rows: Sequence[RankedList], scores: Sequence[np.ndarray]) -> Outcome:
    """A model's scores of the documents of ranked lists.

    Raises:
        UnmeasurableError: every list judges its documents alike.
    """
    columns = reranking_columns(rows, scores)
    if not np.isfinite(columns["ndcg@10"]).any():
        raise UnmeasurableError("each list judges its documents alike, so no order is better than another")
    return Outcome(columns, [(row.query,) for row in rows])


def _retrieval(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    del settings
    judged = judged_queries(one.rows)
    return retrieval_outcome(one, judged, found_ids(one, nearest(one, judged, vectors, DEPTH)))


def nearest(one: EvalSet, judged: Judged, vectors: Vectors, depth: int) -> Neighbours:
    """The documents nearest to each judged query by cosine, equal ones in the order of the set."""
    documents = normalise(vectors.of(sentences_of(list(one.rows.documents)), "document"))
    return top_k(normalise(vectors.of(sentences_of(judged.queries), "query")), documents, depth)


def found_ids(one: EvalSet, found: Neighbours) -> list[list[str]]:
    """The ids of what was found, best first, of each query."""
    return [[one.rows.documents[place].id for place in places] for places in found.positions]


def retrieval_outcome(one: EvalSet, judged: Judged, rankings: Sequence[Sequence[str]]) -> Outcome:
    """Orders of documents, of each judged query."""
    extra = {"documents": len(one.rows.documents), "unjudged_queries": judged.unjudged, "lost_judgements": judged.lost}
    return Outcome(retrieval_columns(rankings, judged), [(query.text,) for query in judged.queries], extra=extra)


def _translation(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    del settings
    left, right = (normalise(side) for side in _sides(one.rows, vectors))
    rows: Sequence[ParallelPair] = one.rows
    forward = _found(left, right, [row.target for row in rows])
    backward = _found(right, left, [row.source for row in rows])
    columns = {"accuracy": (forward + backward) / 2, "forward": forward, "backward": backward}
    return Outcome(columns, [tuple(row) for row in rows])


def _found(queries: np.ndarray, corpus: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """1 where the nearest text is the own one, be it the same text of another row."""
    places = top_k(queries, corpus, 1).positions[:, 0]
    return np.array([float(texts[place] == own) for place, own in zip(places, texts, strict=True)])


def _clustering(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    names, gold = np.unique([row.label for row in one.rows], return_inverse=True)
    points = normalise(vectors.of([row.text for row in one.rows]))
    with warnings.catch_warnings():
        # Fewer distinct texts than classes: the clusters that stay empty are no fault of the model.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = KMeans(len(names), n_init=10, random_state=settings.seed)
        predicted = means.fit_predict(points)
    columns = {"predicted": predicted.astype(np.int64), "gold": gold.astype(np.int64)}
    return Outcome(columns, _texts(one.rows), extra={"classes": names.tolist()})


def _classification(one: EvalSet, vectors: Vectors, settings: Settings) -> Outcome:
    from sklearn.linear_model import LogisticRegression

    rows: ClassificationRows = one.rows
    if len({row.label for row in rows.train}) < 2:
        raise UnmeasurableError("all training rows have one class")
    model = LogisticRegression(max_iter=1000, random_state=settings.seed)
    model.fit(vectors.of([row.text for row in rows.train]), [row.label for row in rows.train])
    labels = [row.label for row in rows.test]
    guessed = [str(label) for label in model.predict(vectors.of([row.text for row in rows.test]))]
    return class_outcome(labels, guessed, _texts(rows.test), {"train_rows": len(rows.train)})


def class_outcome(
    gold: Sequence[str], predicted: Sequence[str], texts: list[tuple[str, ...]], extra: Mapping[str, Any] = {}
) -> Outcome:
    """Predicted classes by name against the right ones; `extra` names the classes in the order of their numbers."""
    names = sorted({*gold, *predicted})
    number = {name: place for place, name in enumerate(names)}
    columns = {
        "accuracy": np.array([float(a == b) for a, b in zip(gold, predicted, strict=True)]),
        "predicted": np.array([number[name] for name in predicted], np.int64),
        "gold": np.array([number[name] for name in gold], np.int64),
    }
    return Outcome(columns, texts, extra={"classes": names, **extra})


def _texts(rows: Sequence[LabelledText]) -> list[tuple[str, ...]]:
    return [(row.text,) for row in rows]


def _sides(rows: Sequence[ScoredPair] | Sequence[ParallelPair], vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
    return vectors.of([row[0] for row in rows]), vectors.of([row[1] for row in rows])


def _doubles(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(column, np.float64) for name, column in columns.items()}


#: Higher is more alike, so distances are negative, as in sentence-transformers.
_SIMILARITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "dot": lambda left, right: np.einsum("ij,ij->i", left, right),
    "euclidean": lambda left, right: -np.linalg.norm(left - right, axis=1),
    "manhattan": lambda left, right: -np.abs(left - right).sum(axis=1),
}
_TASKS: dict[str, Callable[[EvalSet, Vectors, Settings], Outcome]] = {
    "sts": _sts,
    "pair-classification": _pair_classification,
    "nli": _triplets,
    "triplets": _triplets,
    "reranking": _reranking,
    "retrieval": _retrieval,
    "translation": _translation,
    "clustering": _clustering,
    "classification": _classification,
}
