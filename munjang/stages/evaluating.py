"""The stages evaluate and search: the table before and after, for similarity and for retrieval."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from munjang.evaluate.options import EvaluateOptions
from munjang.evaluate.report import write_evaluation
from munjang.evaluate.retrieval import mean_estimate, ndcg, reciprocal_rank
from munjang.evaluate.sts import evaluate_sts
from munjang.files import write_json
from munjang.index.options import SearchOptions
from munjang.index.search import Answer, Searcher
from munjang.pipeline.stage import Context
from munjang.stages.inputs import load_input_rows, model_folder, stage_directory


def run_evaluate(options: EvaluateOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write `results.json`, `results.csv`, `rows.parquet` and `report.html`."""
    result = evaluate_sts(
        {label: model_folder(context, value) for label, value in options.models.items()},
        {value.removeprefix("data:"): load_input_rows(context, value).rows for value in options.on},
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
    relevance: dict[str, dict[str, int]] = defaultdict(dict)
    for judgement in load_input_rows(context, options.qrels, ("qrels",)).rows:
        relevance[judgement.query_id][judgement.doc_id] = judgement.relevance
    rows, answers = [], {}
    for label, value in options.indexes.items():
        searcher = Searcher(stage_directory(context, value), context.device)
        progress = context.progress(f"searching {label}")
        found = []
        for number, query in enumerate(queries, 1):
            found.append(searcher.search(query.text, options.top_k, options.rerank))
            progress(number, len(queries))
        judged = [relevance.get(query.id, {}) for query in queries]
        rows.append(_row(label, [_order(a, False) for a in found], judged, options.top_k))
        if searcher.scorer:
            rows.append(_row(f"{label} + rerank", [_order(a, True) for a in found], judged, options.top_k))
        answers[label] = [_both_orders(a, options.top_k) for a in found]
    write_json(out / "results.json", rows)
    write_json(out / "answers.json", answers)
    return {"queries": len(queries), "top_k": options.top_k, "rows": rows}


def _order(answer: Answer, reranked: bool) -> list[str]:
    hits = answer.reranked() if reranked else sorted(answer.hits, key=lambda hit: hit.rank)
    return [hit.document.id for hit in hits]


def _both_orders(answer: Answer, k: int) -> dict[str, Any]:
    return {"query": answer.query, "found": _order(answer, False)[:k], "reranked": _order(answer, True)[:k]}


def _row(label: str, rankings: list[list[str]], judged: list[dict[str, int]], k: int) -> dict[str, Any]:
    return {
        "search": label,
        "ndcg": mean_estimate([ndcg(r, j, k) for r, j in zip(rankings, judged, strict=True)]).as_dict(),
        "mrr": mean_estimate([reciprocal_rank(r, j, k) for r, j in zip(rankings, judged, strict=True)]).as_dict(),
    }
