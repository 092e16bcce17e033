"""Rows of a data set as a training sees them: which texts stand together, and what is asked of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from munjang.data.cells import NLI_LABELS
from munjang.data.rows import LabelledPair, ScoredPair, pair_key, sentences_of, texts_of
from munjang.errors import DataError, Option, Phrase
from munjang.text import match_key, printable
from munjang.train.objectives import DISTILLING, PAIRED, Objective

#: From this share of the scale on, a scored pair counts as a positive one for the contrastive objectives.
POSITIVE = 0.5
#: Random texts that a query is shown with beside its own positive one, where the options say nothing.
_RANDOM_TEXTS = 4


#: What a kind of rows has to hold where an objective can use none of them.
_NEEDED = {
    "labelled-pairs": "premises with both an entailment and a contradiction",
    "ranked-lists": "lists whose texts are not all judged alike",
    "positive-pairs": "texts that belong to other queries",
    "parallel-pairs": "texts that belong to other queries",
}


@dataclass(frozen=True)
class TrainRows:
    """One data set of a training: its rows and how to learn from them."""

    name: str
    kind: str
    """A key of `munjang.data.readers.ROLES`."""
    rows: list[Any]
    objective: Objective
    repeat: int = 1
    tolerance: float = 0.0
    """See `munjang.train.options.TrainSet.tolerance`."""
    vectors: np.ndarray | None = None
    """Of a distillation: a teacher's vector for each example before repetition, float32 (n, d)."""


def without_leaks(rows: list[Any], others: Sequence[list[Any]]) -> list[Any]:
    """Training rows of which no text occurs in another set.

    Args:
        rows: candidates for training, of any kind.
        others: the sets that must stay unseen, of any kind.
    """
    seen = {match_key(text) for other in others for text in sentences_of(other)}
    return [row for row in rows if all(match_key(text) not in seen for text in texts_of(row))]


class Example(NamedTuple):
    """What one step can see of a row.

    For a bi-encoder `texts` are embedded one by one, the first against the others; for a cross-encoder the first
    stands in a pair with each of the others.
    """

    texts: tuple[str, ...]
    target: Any
    """A score, the number of a class, one number for each text but the first, or None."""


def rows_unused(data: TrainRows) -> int:
    """Rows that the objective has no use for, such as neutral ones where NLI becomes triplets."""
    if data.kind == "labelled-pairs" and data.objective.name == "mnrl":
        taken = {text for triplet in nli_triplets(data.rows) for text in triplet}
        return sum(
            row.label == "neutral" or row.sentence1 not in taken or row.sentence2 not in taken for row in data.rows
        )
    if data.kind == "ranked-lists" and data.objective.name != "kl":
        return sum(len(set(row.scores)) == 1 for row in data.rows)
    if data.kind in PAIRED and data.objective.task == "ranking":
        # A query to which all texts belong has none to be shown beside its own.
        answers = _answers(row[:2] for row in data.rows)
        texts = len(set().union(*answers.values()))
        return sum(len(answers[match_key(row[0])]) == texts for row in data.rows)
    return 0


def examples_of(data: TrainRows) -> list[Example]:
    """The examples of a data set under its objective, `repeat` times.

    Raises:
        DataError: the rows cannot teach what the objective asks for.
    """
    examples = _examples(data)
    if not examples:
        raise DataError(
            f"no row can be used for the objective {data.objective.name!r}",
            where=data.name,
            expected=_NEEDED.get(data.kind),
            got=f"{len(data.rows):,} rows",
        )
    return examples * data.repeat


def _examples(data: TrainRows) -> list[Example]:
    name, rows = data.objective.name, data.rows
    if name in DISTILLING:
        return [Example(texts, None) for texts in distilled_texts(data.kind, rows)]
    if data.kind == "scored-pairs":
        positive = name in ("contrastive", "online-contrastive")
        return [Example((r[0], r[1]), float(r.score >= POSITIVE) if positive else r.score) for r in rows]
    if data.kind == "labelled-pairs":
        if name == "mnrl":
            return [Example(texts, None) for texts in nli_triplets(rows)]
        _require_classes(data)
        return [Example((r[0], r[1]), NLI_LABELS.index(r.label)) for r in rows]
    if data.kind == "triplets":
        return [Example(tuple(r), (1.0, 0.0)) for r in rows]
    if data.kind == "ranked-lists":
        if name == "margin-mse":
            _require_raw_scores(data)
        return [_of_list(r) for r in rows if name == "kl" or len(set(r.scores)) > 1]
    if data.kind == "sentences":
        return [Example((text, text), None) for text in rows]
    return [Example((r[0], r[1]), (1.0,)) for r in rows]


def distilled_texts(kind: str, rows: Sequence[Any]) -> list[tuple[str, ...]]:
    """What a student reads for each vector of its teacher, the text that the teacher reads first: a sentence with its
    translation, else each distinct text by itself."""
    if kind == "parallel-pairs":
        return [(row.source, row.target) for row in rows]
    return [(text,) for text in dict.fromkeys(sentences_of(list(rows)))]


def _of_list(row: Any) -> Example:
    """A list with its texts from best to worst; equal scores keep their order."""
    order = sorted(range(len(row.documents)), key=lambda i: -row.scores[i])
    return Example((row.query, *(row.documents[i] for i in order)), tuple(row.scores[i] for i in order))


def _require_classes(data: TrainRows) -> None:
    found = {row.label for row in data.rows}
    if len(found) < 2:
        raise DataError(
            "all rows have one class: there is nothing to tell apart",
            where=data.name,
            expected=", ".join(NLI_LABELS),
            got=f"only {min(found)!r} in {len(data.rows):,} rows",
        )


def _require_raw_scores(data: TrainRows) -> None:
    """Probabilities in place of logits train to the wrong scale without a word (sentence-transformers issue 3540)."""
    scores = [score for row in data.rows for score in row.scores]
    if all(0 <= score <= 1 for score in scores):
        raise DataError(
            "margin-mse needs a teacher's raw logits, but all scores lie between 0 and 1",
            where=data.name,
            got=f"{min(scores):g} to {max(scores):g}",
            hint=Phrase("score the lists without a sigmoid, or train with {}", Option("objective", "kl")),
        )


def nli_triplets(rows: Sequence[LabelledPair]) -> list[tuple[str, str, str]]:
    """(premise, entailment, contradiction) for every premise that has both, in both directions of the first two.

    The construction of Gao, Yao and Chen 2021 (arXiv 2104.08821); of several entailments each is taken with each
    contradiction in turn.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        groups.setdefault(row.sentence1, {}).setdefault(row.label, []).append(row.sentence2)
    triplets = []
    for premise, texts in groups.items():
        against = texts.get("contradiction", [])
        for number, entailed in enumerate(texts.get("entailment", [])):
            if against:
                other = against[number % len(against)]
                triplets += [(premise, entailed, other), (entailed, premise, other)]
    return triplets


def in_orders(rows: list[ScoredPair], orders: str, seed: int) -> list[ScoredPair]:
    """Pairs as they are presented: in `both` orders, in one drawn at `random`, or as `given`."""
    turned = [ScoredPair(row.sentence2, row.sentence1, row.score) for row in rows]
    if orders == "both":
        return [row for pair in zip(rows, turned, strict=True) for row in pair]
    if orders == "random":
        draw = random.Random(seed)
        return [row if draw.random() < 0.5 else other for row, other in zip(rows, turned, strict=True)]
    return rows


def random_negatives(rows: list[ScoredPair], share: float, seed: int) -> list[ScoredPair]:
    """Pairs of sentences drawn at random from the rows, with score 0; none of them is a row.

    Args:
        rows: training pairs.
        share: pairs to draw for each row.
        seed: of the draw.
    """
    sentences = list({match_key(text): text for text in sentences_of(rows)}.values())
    known = {key for key in (pair_key(row.sentence1, row.sentence2) for row in rows) if key[0] != key[1]}
    wanted = min(round(len(rows) * share), len(sentences) * (len(sentences) - 1) // 2 - len(known))
    draw = random.Random(seed)
    drawn: list[ScoredPair] = []
    while len(drawn) < wanted:
        first, second = draw.choice(sentences), draw.choice(sentences)
        key = pair_key(first, second)
        if key not in known and key[0] != key[1]:
            known.add(key)
            drawn.append(ScoredPair(first, second, 0.0))
    return drawn


def cross_examples(data: TrainRows, orders: str, negatives: float | None, seed: int) -> list[Example]:
    """The examples of a data set for a cross-encoder: orders, and random negatives where they are wanted.

    Args:
        data: the rows.
        orders: of scored pairs; see `in_orders`.
        negatives: scored pairs: share of random pairs; positive pairs: random texts a query.
        seed: of all that is drawn.
    """
    if data.kind == "scored-pairs":
        rows = in_orders([*data.rows, *random_negatives(data.rows, negatives or 0.0, seed)], orders, seed)
        return examples_of(TrainRows(data.name, data.kind, rows, data.objective, data.repeat))
    examples = examples_of(data)
    if data.kind in PAIRED:
        count = _RANDOM_TEXTS if negatives is None else round(negatives)
        return _with_random_texts(examples, count, seed, data.name)
    return examples


def _with_random_texts(examples: list[Example], count: int, seed: int, where: str) -> list[Example]:
    """Each pair as a list: its own text, then `count` texts of other pairs."""
    answers = _answers(example.texts for example in examples)
    texts = list({match_key(example.texts[1]): example.texts[1] for example in examples}.values())
    if count < 1 or len(texts) < 2:
        raise DataError(
            "positive pairs alone teach a cross-encoder nothing",
            where=where,
            expected="random texts beside each positive one",
            got=f"negatives = {count}, {len(texts)} distinct texts",
            hint=Phrase("set {}, or give lists with judgements", Option("negatives", 4)),
        )
    draw = random.Random(seed)
    lists = []
    for query, text in (example.texts for example in examples):
        own = answers[match_key(query)]
        others: dict[str, None] = {}
        for candidate in draw.sample(texts, min(len(texts), 4 * count + len(own))):
            if match_key(candidate) not in own and len(others) < count:
                others[candidate] = None
        if others:
            lists.append(Example((query, text, *others), (1.0, *(0.0 for _ in others))))
    if not lists:
        raise DataError(
            "no pair can be shown among random texts", where=where, expected=_NEEDED["positive-pairs"], got="one query"
        )
    return lists


def _answers(pairs: Iterable[tuple[str, ...]]) -> dict[str, set[str]]:
    """Query -> its texts, both as they are compared."""
    answers: dict[str, set[str]] = {}
    for query, text in pairs:
        answers.setdefault(match_key(query), set()).add(match_key(text))
    return answers


def describe(example: Example) -> str:
    """An example for an error message, on one line."""
    texts = " / ".join(printable(text, 60) for text in example.texts[:3])
    target = f" ({example.target:.2f})" if isinstance(example.target, float) else ""
    return texts + target
