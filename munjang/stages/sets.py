"""From the options of an evaluation to its models and its sets, with their rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from munjang.config.recipe import MeasuredRows
from munjang.data.readers import ROLES
from munjang.data.rows import Document
from munjang.errors import DataError
from munjang.evaluate.mteb import read_mteb
from munjang.evaluate.options import EvaluateOptions, MeasuredSet
from munjang.evaluate.sets import ClassificationRows, EvalSet, ModelSpec, RetrievalRows, Run
from munjang.evaluate.tasks import TASKS, task_of
from munjang.pipeline.stage import Context
from munjang.stages.inputs import load_input_rows, model_folder
from munjang.text import match_key

_KINDS = tuple(kind for kind in MeasuredRows.__metadata__[0].accepts if kind in ROLES)


def load_models(options: EvaluateOptions, context: Context) -> list[ModelSpec]:
    """The models of an evaluation with their folders, those of earlier stages among them."""
    return [
        ModelSpec(
            label,
            [
                Run(model_folder(context, model), None if reranker is None else model_folder(context, reranker))
                for model, reranker in one.runs()
            ],
        )
        for label, one in options.models.items()
    ]


def load_sets(options: EvaluateOptions, context: Context) -> list[EvalSet]:
    """The sets of an evaluation with their rows; what was read is said.

    Raises:
        DataError: rows are of no task or of another than was asked for, ids repeat, or judgements match nothing.
    """
    return [load_set(one, context) for one in options.on]


def load_set(one: MeasuredSet, context: Context) -> EvalSet:
    """One set; see `load_sets`."""
    if one.mteb is not None:
        return _checked(read_mteb(one.mteb, one.name), one)
    if one.data is not None:
        rows = load_input_rows(context, one.data, (TASKS[one.task].kind,) if one.task else _KINDS)
        return EvalSet(one.label, one.task or task_of(rows.kind) or "", rows.rows, one.threshold)
    if one.train is not None:
        train, test = (load_input_rows(context, value, ("labelled-texts",)).rows for value in (one.train, one.test))
        known = {match_key(row.text) for row in train}
        shared = sum(match_key(row.text) in known for row in test)
        if shared:
            context.say(f"  {one.label}: {shared:,} of {len(test):,} test texts are in the training part as well")
        return EvalSet(one.label, "classification", ClassificationRows(train, test))
    return EvalSet(one.label, "retrieval", _retrieval(one, context))


def _retrieval(one: MeasuredSet, context: Context) -> RetrievalRows:
    texts = load_input_rows(context, one.documents, ("documents", "sentences")).rows
    documents = [Document(str(n), text) if isinstance(text, str) else text for n, text in enumerate(texts, 1)]
    queries = load_input_rows(context, one.queries, ("documents",)).rows
    qrels = load_input_rows(context, one.qrels, ("qrels",)).rows
    known = tuple(_distinct_ids(rows, value) for rows, value in ((queries, one.queries), (documents, one.documents)))
    matching = sum(qrel.query_id in known[0] and qrel.doc_id in known[1] for qrel in qrels)
    if not matching:
        example = f"query {qrels[0].query_id!r}, document {qrels[0].doc_id!r}"
        raise DataError(
            "no relevance judgement names a query and a document of the set",
            where=one.label,
            got=f"the first names {example}",
        )
    if matching < len(qrels):
        context.say(f"  {len(qrels) - matching:,} of {len(qrels):,} judgements name an unknown query or document")
    return RetrievalRows(documents, queries, qrels)


def _distinct_ids(rows: list[Document], where: Any) -> set[str]:
    repeated = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if repeated:
        raise DataError("an id occurs twice", where=where, got=f"{repeated[0]!r} and {len(repeated) - 1:,} others")
    return {row.id for row in rows}


def _checked(loaded: EvalSet, one: MeasuredSet) -> EvalSet:
    if one.task not in (None, loaded.task):
        raise DataError("this task of mteb is measured otherwise", where=one.label, expected=loaded.task, got=one.task)
    return loaded
