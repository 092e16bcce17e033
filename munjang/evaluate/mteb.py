"""Tasks of the package mteb as sets: its data, measured as Munjang measures.

Where a task of MTEB measures otherwise (it draws small training sets for classification, and samples for clustering), the
figures are not those of its leaderboard.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from munjang.data.rows import Document, LabelledText, ParallelPair, Qrel, RankedList, ScoredPair
from munjang.errors import DataError, MissingInputError, UnavailableError, missing_extra
from munjang.evaluate.sets import ClassificationRows, EvalSet, RetrievalRows
from munjang.text import clean, is_blank

#: An mteb dataset: a table of columns, or one row of lists.
Split = Any


def read_mteb(name: str, label: str | None = None) -> EvalSet:
    """A task of the package mteb as a set.

    Args:
        name: `NAME` or, of a task in several languages, `NAME:SUBSET`.
        label: in tables; `mteb:NAME` by default.

    Raises:
        UnavailableError: mteb is not installed, or cannot load the data. MissingInputError: there is no such task or subset.
        DataError: it is of a type that has no counterpart here.
    """
    try:
        mteb = importlib.import_module("mteb")
    except ImportError:
        raise missing_extra("mteb", "mteb") from None
    wanted, _, subset = name.partition(":")
    try:
        task = mteb.get_task(wanted)
    except KeyError as error:
        raise MissingInputError("mteb knows no such task", where=f"mteb:{name}", got=str(error)[:300]) from None
    return set_of_task(task, subset, label or f"mteb:{name}")


def set_of_task(task: Any, subset: str, label: str) -> EvalSet:
    """A task object of mteb as a set; see `read_mteb`.

    Args:
        task: of which `metadata`, `hf_subsets`, `load_data` and `dataset` are used.
        subset: "" where there is only one.
        label: the set's name.
    """
    convert = _CONVERTERS.get(task.metadata.type)
    if convert is None:
        expected = ", ".join(_CONVERTERS)
        raise DataError("tasks of this type cannot be measured", where=label, expected=expected, got=task.metadata.type)
    try:
        task.load_data()
    except Exception as error:
        got = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UnavailableError("mteb cannot load the data of this task", where=label, got=got) from error
    getattr(task, "convert_v1_dataset_format_to_v2", lambda: None)()
    splits = _subset(task, subset, label)
    asked = list(task.metadata.eval_splits)
    kind, rows = convert(task, splits, "test" if "test" in asked else asked[0])
    return EvalSet(label, kind, rows)


def _subset(task: Any, subset: str, label: str) -> Mapping[str, Split]:
    subsets = [str(name) for name in task.hf_subsets]
    if subset not in subsets and (subset or len(subsets) > 1):
        raise MissingInputError(
            "name one of the subsets of this task",
            where=label,
            expected=", ".join(f"{label}:{s}" for s in subsets[:20]),
        )
    chosen = subset or subsets[0]
    # Sets in one language lie flat in some tasks and under "default" in others.
    return task.dataset.get(chosen, task.dataset)


def _sts(task: Any, splits: Mapping[str, Split], split: str) -> tuple[str, list[ScoredPair]]:
    low, high = float(task.min_score), float(task.max_score)
    rows = _rows(splits[split], *getattr(task, "column_names", ("sentence1", "sentence2")), "score")
    return "sts", [ScoredPair(_text(a), _text(b), (float(score) - low) / (high - low)) for a, b, score in rows]


def _pairs(task: Any, splits: Mapping[str, Split], split: str) -> tuple[str, list[ScoredPair]]:
    names = [
        getattr(task, f"{part}_column_name", default)
        for part, default in (("input1", "sentence1"), ("input2", "sentence2"), ("label", "labels"))
    ]
    rows = _rows(splits[split], *names)
    return "pair-classification", [ScoredPair(_text(a), _text(b), float(label)) for a, b, label in rows]


def _classes(task: Any, splits: Mapping[str, Split], split: str) -> tuple[str, ClassificationRows]:
    names = (getattr(task, "input_column_name", "text"), getattr(task, "label_column_name", "label"))
    train, test = (
        [LabelledText(_text(text), str(label)) for text, label in _rows(splits[name], *names)]
        for name in (getattr(task, "train_split", "train"), split)
    )
    return "classification", ClassificationRows(train, test)


def _clusters(task: Any, splits: Mapping[str, Split], split: str) -> tuple[str, list[LabelledText]]:
    names = (getattr(task, "input_column_name", "sentences"), getattr(task, "label_column_name", "labels"))
    rows: list[LabelledText] = []
    for texts, labels in _rows(splits[split], *names):
        pairs = zip(texts, labels, strict=True) if isinstance(texts, list) else [(texts, labels)]
        # A label may be a path of several levels; the first is what MTEB's first level is.
        rows += [LabelledText(_text(t), str(c[0] if isinstance(c, list) else c)) for t, c in pairs]
    return "clustering", rows


def _bitext(task: Any, splits: Mapping[str, Split], split: str) -> tuple[str, list[ParallelPair]]:
    del task
    return "translation", [ParallelPair(_text(a), _text(b)) for a, b in _rows(splits[split], "sentence1", "sentence2")]


def _retrieval(task: Any, splits: Mapping[str, Split], split: str) -> tuple[str, RetrievalRows]:
    del task
    data = splits[split]
    documents = [Document(str(row["id"]), _titled(row)) for row in data["corpus"]]
    queries = [Document(str(row["id"]), _text(row["text"])) for row in data["queries"]]
    qrels = [
        Qrel(str(query), str(document), int(relevance))
        for query, judged in data["relevant_docs"].items()
        for document, relevance in judged.items()
    ]
    return "retrieval", RetrievalRows(documents, queries, qrels)


def _reranking(task: Any, splits: Mapping[str, Split], split: str) -> tuple[str, list[RankedList]]:
    _, (documents, queries, qrels) = _retrieval(task, splits, split)
    texts = {document.id: document.text for document in documents}
    relevance = {(qrel.query_id, qrel.doc_id): float(qrel.relevance) for qrel in qrels}
    lists = []
    for query in queries:
        ids = {texts[i]: i for i in map(str, splits[split]["top_ranked"].get(query.id, ())) if i in texts}
        scores = tuple(relevance.get((query.id, i), 0.0) for i in ids.values())
        if len(ids) > 1:
            lists.append(RankedList(query.text, tuple(ids), scores))
    return "reranking", lists


def _rows(split: Split, *names: str) -> Iterable[tuple[Any, ...]]:
    """The cells of some columns row by row; older sets hold one row of lists."""
    columns = [list(split[name]) for name in names]
    if len(columns[0]) == 1 and all(isinstance(column[0], list) for column in columns):
        columns = [column[0] for column in columns]
    return zip(*columns, strict=True)


def _titled(row: Mapping[str, Any]) -> str:
    return _text(" ".join(part for part in (row.get("title") or "", row["text"]) if not is_blank(part)))


def _text(value: Any) -> str:
    """A text through the door; a blank one, of which benchmarks hold some, stands as a full stop."""
    text = clean(str(value)).text
    return "." if is_blank(text) else text


_CONVERTERS: dict[str, Callable[[Any, Mapping[str, Split], str], tuple[str, Any]]] = {
    "STS": _sts,
    "PairClassification": _pairs,
    "Classification": _classes,
    "Clustering": _clusters,
    "BitextMining": _bitext,
    "Retrieval": _retrieval,
    "Reranking": _reranking,
}
