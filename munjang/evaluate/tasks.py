"""What can be measured, as a table: tasks, the rows they take, their metrics; no torch is imported to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from munjang.evaluate import statistics

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A number about one model on one set, reported x 100.

    `columns` name what `statistic` takes of the units, in its order; see `munjang.evaluate.statistics`.
    """

    name: str
    label: str
    statistic: Callable[..., np.ndarray]
    columns: tuple[str, ...]

    def values(self, columns: Columns, weights: np.ndarray) -> np.ndarray:
        """The metric under each row of weights: (r, units) -> (r,), NaN where it is undefined."""
        return self.statistic(*(columns[name] for name in self.columns), weights)

    def undefined(self, columns: Columns) -> str:
        """Why there is no value for these units, or an empty string."""
        given = [np.asarray(columns[name], np.float64) for name in self.columns]
        if not len(given[0]):
            return "no row"
        if self.statistic is statistics.mean:
            return "" if np.isfinite(given[0]).any() else "no query has a relevant document"
        if not all(np.isfinite(column).all() for column in given):
            return "a score is not a finite number"
        if self.statistic in (statistics.pearson, statistics.spearman):
            if len(given[0]) < 2:
                return "1 row"
            for which, column in zip(("predicted", "gold"), given, strict=True):
                if np.ptp(column) == 0:
                    return f"all {which} scores are equal"
        if self.statistic in _OF_TWO_CLASSES:
            if not given[1].any():
                return "no pair is positive"
            if given[1].all():
                return "every pair is positive"
        if self.statistic is statistics.v_measure:
            classes = len(np.unique(given[1]))
            if classes in (1, len(given[1])):
                return "all texts have one class" if classes == 1 else "every text has a class of its own"
        return ""


_OF_TWO_CLASSES = (statistics.average_precision, statistics.best_f1, statistics.best_accuracy)


@dataclass(frozen=True)
class Task:
    """A way to measure models on rows of some kind; its first metric is the one that verdicts are about."""

    name: str
    label: str
    kind: str
    """Of the rows; a set of this kind is measured so unless told otherwise where the task is the first with the kind."""
    unit: str
    """What is drawn anew for intervals."""
    bi: tuple[Metric, ...] = ()
    """Of a bi-encoder; empty where it cannot be measured so."""
    cross: tuple[Metric, ...] = ()
    """Of a cross-encoder."""
    both: tuple[Metric, ...] = ()
    """Of a bi-encoder that finds and a cross-encoder that orders anew."""
    parts: tuple[tuple[str, str], ...] = ()
    """Of a set that is made of several: (name, kind of its rows), in order."""

    def metrics(self, model_kind: str) -> tuple[Metric, ...]:
        """Those of a `bi-encoder`, a `cross-encoder` or of `retrieve+rerank`."""
        return {"bi-encoder": self.bi, "cross-encoder": self.cross, "retrieve+rerank": self.both}[model_kind]

    def every_metric(self, model_kind: str) -> tuple[Metric, ...]:
        """Those of `metrics` and those that are measured on request only."""
        asked = similarity_metrics(SIMILARITIES) if self.name == "sts" and model_kind == "bi-encoder" else ()
        return (*self.metrics(model_kind), *asked)


def _mean(name: str, label: str) -> Metric:
    return Metric(name, label, statistics.mean, (name,))


def correlations(*columns: str) -> tuple[Metric, ...]:
    """Spearman and Pearson of each column of scores; of `predicted` under their plain names."""
    return tuple(
        Metric(
            name + (f"_{column}" if named else ""),
            label + (f", {column}" if named else ""),
            statistic,
            (column, "gold"),
        )
        for column in columns
        for named in (column != "predicted",)
        for name, label, statistic in (
            ("spearman", "Spearman", statistics.spearman),
            ("pearson", "Pearson", statistics.pearson),
        )
    )


_PAIR_CLASSES = (
    Metric("ap", "average precision", statistics.average_precision, ("predicted", "gold")),
    Metric("f1", "best F1", statistics.best_f1, ("predicted", "gold")),
    Metric("accuracy", "best accuracy", statistics.best_accuracy, ("predicted", "gold")),
)
_CLASSES = (_mean("accuracy", "accuracy"), Metric("macro_f1", "macro F1", statistics.macro_f1, ("predicted", "gold")))
_RANKING = (_mean("ndcg@10", "nDCG@10"), _mean("mrr@10", "MRR@10"), _mean("map", "MAP"))
_RETRIEVAL = (
    _mean("ndcg@10", "nDCG@10"),
    _mean("mrr@10", "MRR@10"),
    _mean("recall@10", "recall@10"),
    _mean("recall@100", "recall@100"),
    _mean("map@100", "MAP@100"),
)
_TRIPLETS = (_mean("triplet_accuracy", "triplet accuracy"),)

#: Other similarities of vectors than the cosine, measured on request; each is a column of the units.
SIMILARITIES = ("dot", "euclidean", "manhattan")


def similarity_metrics(similarities: Sequence[str]) -> tuple[Metric, ...]:
    """Correlations of the gold scores with other similarities than the cosine, such as `spearman_dot`."""
    return correlations(*similarities)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("sts", "similarity", "scored-pairs", "pair", correlations("predicted"), correlations("predicted")),
        Task("pair-classification", "same or not", "scored-pairs", "pair", _PAIR_CLASSES, _PAIR_CLASSES),
        Task("nli", "inference", "labelled-pairs", "pair", _TRIPLETS, _CLASSES),
        Task("triplets", "triplets", "triplets", "triplet", _TRIPLETS, _TRIPLETS),
        Task("reranking", "reranking", "ranked-lists", "query", _RANKING, _RANKING),
        Task(
            "retrieval",
            "retrieval",
            "retrieval",
            "query",
            _RETRIEVAL,
            (),
            _RETRIEVAL,
            (("documents", "documents"), ("queries", "documents"), ("qrels", "qrels")),
        ),
        Task(
            "translation",
            "translation matching",
            "parallel-pairs",
            "pair",
            (
                _mean("accuracy", "accuracy"),
                _mean("forward", "source to target"),
                _mean("backward", "target to source"),
            ),
        ),
        Task(
            "clustering",
            "clustering",
            "labelled-texts",
            "text",
            (Metric("v_measure", "V-measure", statistics.v_measure, ("predicted", "gold")),),
        ),
        Task(
            "classification",
            "classification",
            "classification",
            "text",
            _CLASSES,
            parts=(("train", "labelled-texts"), ("test", "labelled-texts")),
        ),
    )
}


#: Tasks in which two texts change places without a change of meaning.
UNORDERED = ("sts", "pair-classification")


class Reach(NamedTuple):
    """The measurements that a setting can change."""

    tasks: tuple[str, ...]
    model_kind: str

    def __str__(self) -> str:
        """Such as `a bi-encoder on sts`."""
        model = {"retrieve+rerank": "a bi-encoder with a cross-encoder behind it"}
        return f"{model.get(self.model_kind, f'a {self.model_kind}')} on {' or '.join(self.tasks)}"


#: Settings of an evaluation; a measurement that one does not reach is the same under each of its values.
REACH = {
    "symmetric": Reach(UNORDERED, "cross-encoder"),
    "similarities": Reach(("sts",), "bi-encoder"),
    "rerank": Reach(("retrieval",), "retrieve+rerank"),
    "seed": Reach(("clustering", "classification"), "bi-encoder"),
}


def reaches(setting: str, task: str, model_kind: str) -> bool:
    """True if a setting can change what a kind of model does on a task."""
    return task in REACH[setting].tasks and model_kind == REACH[setting].model_kind


def task_of(kind: str) -> str | None:
    """The task that rows of a kind are measured as unless told otherwise; None for rows that measure nothing."""
    return next((name for name, task in TASKS.items() if task.kind == kind), None)
