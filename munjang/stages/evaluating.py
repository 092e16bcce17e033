"""The stages evaluate and search: the table before and after, for similarity and for retrieval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from munjang.data.rows import Document, Qrel
from munjang.errors import ConfigError, DataError
from munjang.evaluate.options import EvaluateOptions
from munjang.evaluate.report import write_evaluation
from munjang.evaluate.retrieval import mean_estimate, ndcg, reciprocal_rank
from munjang.evaluate.sts import evaluate_sts
from munjang.files import write_json
from munjang.index.options import SearchOptions
from munjang.index.search import Answer, Searcher
from munjang.pipeline.stage import Context
from munjang.stages.inputs import load_input_rows, stage_directory
from munjang.stages.sets import load_models, load_sets


def run_evaluate(options: EvaluateOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write `results.json`, `results.csv`, `rows.parquet` and `report.html`."""
    models, sets = load_models(options, context), load_sets(options, context)
    if any(one.task != "sts" for one in sets) or any(len(m.runs) > 1 or m.runs[0].reranker for m in models):
        raise ConfigError("this stage writes reports of single models on scored pairs")
    result = evaluate_sts(
        {model.label: model.runs[0].folder for model in models},
        {one.name: one.rows for one in sets},
        baseline=options.baseline,
        symmetric=options.symmetric,
        device=context.device,
        progress=context.progress,
    )
    write_evaluation(result, out, context.recipe.title)
    return result.as_dict()


def run_search(options: SearchOptions, context: Context, out: Path) -> dict[str, Any]:
    """Search every query in every index; write `results.json` and each query's two orders to `answers.json`."""
    queries = load_input_rows(context, options.queries, ("documents",)).rows
    judgements = load_input_rows(context, options.qrels, ("qrels",)).rows
    rows: list[dict[str, Any]] = []
    answers, first = {}, None
    for label, value in options.indexes.items():
        searcher = Searcher(stage_directory(context, value), context.device)
        relevance = _judged(judgements, queries, {d.id for d in searcher.index.documents}, context)
        judged = [relevance[query.id] for query in queries]
        progress = context.progress(f"searching {label}")
        found = []
        for number, query in enumerate(queries, 1):
            found.append(searcher.search(query.text, options.top_k, options.rerank))
            progress(number, len(queries))
        for suffix, reranked in (("", False), (" + rerank", True)) if searcher.scorer else (("", False),):
            values = _values([_order(a, reranked) for a in found], judged, options.top_k)
            first = first or values
            rows.append({"search": label + suffix, **_row(values, None if values is first else first)})
        answers[label] = [_both_orders(a, options.top_k) for a in found]
    write_json(out / "results.json", rows)
    write_json(out / "answers.json", answers)
    return {"queries": len(queries), "top_k": options.top_k, "rows": rows}


def _judged(
    judgements: list[Qrel], queries: list[Document], documents: set[str], context: Context
) -> dict[str, dict[str, int]]:
    """Judgements by query; those that name no query or no document of the index are counted and said.

    Raises:
        DataError: not one of them matches.
    """
    relevance: dict[str, dict[str, int]] = {query.id: {} for query in queries}
    lost = repeated = 0
    for judgement in judgements:
        if judgement.query_id not in relevance or judgement.doc_id not in documents:
            lost += 1
            continue
        repeated += judgement.doc_id in relevance[judgement.query_id]
        relevance[judgement.query_id][judgement.doc_id] = judgement.relevance
    if lost == len(judgements):
        example = f"query {judgements[0].query_id!r}, document {judgements[0].doc_id!r}"
        raise DataError(
            "no relevance judgement names a query and a text of the index", got=f"the first names {example}"
        )
    if lost or repeated:
        context.say(
            f"  {lost:,} of {len(judgements):,} judgements name an unknown query or text, {repeated:,} repeat another"
        )
    return relevance


def _order(answer: Answer, reranked: bool) -> list[str]:
    hits = answer.reranked() if reranked else sorted(answer.hits, key=lambda hit: hit.rank)
    return [hit.document.id for hit in hits]


def _both_orders(answer: Answer, k: int) -> dict[str, Any]:
    return {"query": answer.query, "found": _order(answer, False)[:k], "reranked": _order(answer, True)[:k]}


def _values(rankings: list[list[str]], judged: list[dict[str, int]], k: int) -> dict[str, list[float | None]]:
    """Each query's nDCG@k and reciprocal rank; None where nothing is relevant."""
    return {
        "ndcg": [ndcg(r, j, k) for r, j in zip(rankings, judged, strict=True)],
        "mrr": [reciprocal_rank(r, j, k) for r, j in zip(rankings, judged, strict=True)],
    }


def _row(values: dict[str, list[float | None]], first: dict[str, list[float | None]] | None) -> dict[str, Any]:
    """Means with intervals, and the paired difference to the first row of the table."""
    row: dict[str, Any] = {name: mean_estimate(column).as_dict() for name, column in values.items()}
    if first is not None:
        pairs = zip(values["ndcg"], first["ndcg"], strict=True)
        row["against_first"] = mean_estimate([None if a is None or b is None else a - b for a, b in pairs]).as_dict()
    return row
