"""Cross-encoders: which pairs are scored in which order, what the logits say, and a second look at what was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from munjang.data.cells import NLI_LABELS
from munjang.data.rows import pairs_of
from munjang.engine.scorer import Pair, Scorer
from munjang.engine.topk import Neighbours
from munjang.evaluate.bi_tasks import (
    Outcome,
    Settings,
    UnmeasurableError,
    class_outcome,
    found_ids,
    list_outcome,
    pair_classes,
    retrieval_outcome,
)
from munjang.evaluate.outputs import PairLogits
from munjang.evaluate.rankings import Judged
from munjang.evaluate.sets import EvalSet
from munjang.evaluate.tasks import TASKS, UNORDERED
from munjang.models.settings import head_of, nli_order


def require_able(task: str, head: str | None) -> None:
    """Refuse a task that a cross-encoder cannot do.

    Args:
        task: a key of `munjang.evaluate.tasks.TASKS`.
        head: what it is set up for, see `munjang.models.settings.cross_task`.

    Raises:
        UnmeasurableError: with the reason.
    """
    if task == "retrieval":
        raise UnmeasurableError("a cross-encoder cannot search: measure it behind a bi-encoder, as BI+CROSS")
    if not TASKS[task].cross:
        raise UnmeasurableError("a cross-encoder has no vectors of single texts")
    if head is None:
        raise UnmeasurableError("its outputs are neither one score nor the three named classes of NLI")
    if task == "nli" and head != "nli":
        raise UnmeasurableError("it gives one score, not the classes of NLI")
    if task != "nli" and head == "nli":
        raise UnmeasurableError("it gives the classes of NLI, not one score")


def set_pairs(one: EvalSet) -> list[Pair]:
    """The pairs of a set in the order of its units, as they are given."""
    return [pair for row in one.rows for pair in pairs_of(row)]


def shown_pairs(one: EvalSet, settings: Settings) -> list[Pair]:
    """The pairs that the model has to see: also turned round where the order means nothing and `symmetric` is set."""
    pairs = set_pairs(one)
    return pairs + [(b, a) for a, b in pairs] if settings.symmetric and one.task in UNORDERED else pairs


def cross_outcome(one: EvalSet, logits: PairLogits, scorer: Scorer, settings: Settings) -> Outcome:
    """What the logits of a set's pairs say on its task.

    Raises:
        UnmeasurableError: they can say nothing.
    """
    pairs = set_pairs(one)
    if one.task == "nli":
        return _nli(one, logits.of(pairs), scorer)
    if one.task in UNORDERED:
        predicted = logits.scores(pairs, settings.symmetric).astype(np.float64)
        if one.task == "pair-classification":
            return pair_classes(one, predicted)
        return Outcome({"predicted": predicted, "gold": np.array([row.score for row in one.rows])}, list(pairs))
    # Logits and not scores: a sigmoid makes equal scores of large ones.
    scores = logits.of(pairs)[:, 0]
    if one.task == "triplets":
        right = (scores[0::2] > scores[1::2]).astype(np.float64)
        return Outcome({"triplet_accuracy": right}, [tuple(row) for row in one.rows])
    bounds = np.cumsum([len(row.documents) for row in one.rows])[:-1]
    return list_outcome(one.rows, np.split(scores, bounds))


def _nli(one: EvalSet, logits: np.ndarray, scorer: Scorer) -> Outcome:
    """Classes, and the probability of each, from which calibration can be seen."""
    head = head_of(scorer.folder)
    order = nli_order(head.labels) if head else None
    if order is None:
        raise UnmeasurableError("its three outputs do not say which is entailment, neutral and contradiction")
    shares = softmax(logits.astype(np.float64)[:, list(order)], axis=1)
    predicted = [NLI_LABELS[place] for place in shares.argmax(axis=1)]
    outcome = class_outcome([row.label for row in one.rows], predicted, [row[:2] for row in one.rows])
    probabilities = {f"p_{name}": shares[:, place] for place, name in enumerate(NLI_LABELS)}
    return outcome._replace(columns={**outcome.columns, **probabilities})


def candidate_pairs(one: EvalSet, judged: Judged, found: Neighbours, rerank: int) -> list[Pair]:
    """Each judged query with the first texts that were found for it."""
    return [
        (query.text, one.rows.documents[place].text)
        for query, places in zip(judged.queries, found.positions, strict=True)
        for place in places[:rerank]
    ]


def reranked_outcome(one: EvalSet, judged: Judged, found: Neighbours, logits: PairLogits, rerank: int) -> Outcome:
    """The first texts that were found in the order of their scores, equal ones as they were found, the rest behind."""
    pairs = candidate_pairs(one, judged, found, rerank)
    scores = logits.of(pairs)[:, 0].reshape(len(judged.queries), -1)
    rankings: list[Sequence[str]] = []
    for ids, given in zip(found_ids(one, found), scores, strict=True):
        order = np.argsort(-given, kind="stable")
        rankings.append([*(ids[place] for place in order), *ids[len(order) :]])
    outcome = retrieval_outcome(one, judged, rankings)
    return outcome._replace(extra={**outcome.extra, "reranked": min(rerank, len(one.rows.documents))})
