"""The stages evaluate and search: any models on any sets, and the two orders of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from munjang.data.rows import Document, Qrel
from munjang.errors import DataError
from munjang.evaluate.changes import Change, changes
from munjang.evaluate.compare import compare, mean_estimate
from munjang.evaluate.measure import measure
from munjang.evaluate.measurement import Measurement
from munjang.evaluate.options import EvaluateOptions
from munjang.evaluate.report import write_report
from munjang.evaluate.results import Results, measurement_key, renamed
from munjang.evaluate.retrieval import ndcg, reciprocal_rank
from munjang.evaluate.sets import EvalSet, ModelSpec, Run
from munjang.evaluate.table import Table
from munjang.evaluate.tasks import reaches
from munjang.files import write_json
from munjang.index.options import SearchOptions
from munjang.index.search import Answer, Searcher
from munjang.models.record import TrainingRecord, read_record, seen_before
from munjang.pipeline.stage import Context
from munjang.stages.inputs import load_input_rows, stage_directory
from munjang.stages.sets import load_models, load_sets


def run_evaluate(options: EvaluateOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write `measurements/`, `results.json`, `results.csv` and `report.html`."""
    models, sets = load_models(options, context), load_sets(options, context)
    return evaluate_into(Results(out), models, sets, options, context)[0].as_dict()


def evaluate_into(
    results: Results,
    models: Sequence[ModelSpec],
    sets: Sequence[EvalSet],
    options: EvaluateOptions,
    context: Context,
) -> tuple[Table, list[Change]]:
    """Measure what the results do not hold yet, compare all, and write the report beside them.

    Returns:
        The table, and what changed since the evaluation before.
    """
    history = results.history()  # read first: a damaged folder is found before any work
    measured: list[tuple[str, Measurement]] = []
    reasons: dict[tuple[str, str], str] = {}
    for model in models:
        for run in model.runs:
            found, missing = _measured(results, model.label, run, sets, options, context)
            measured += found
            reasons |= missing
    table = compare([one for _, one in measured], options.baseline, reasons=reasons)
    changed = changes(table, results.of_past(history[-1])) if history else []
    results.record(measured, options.baseline, table.as_dict())
    write_report(table, results.folder, context.recipe.title, changed)
    return table, changed


def _measured(
    results: Results, label: str, run: Run, sets: Sequence[EvalSet], options: EvaluateOptions, context: Context
) -> tuple[list[tuple[str, Measurement]], dict[tuple[str, str], str]]:
    """One run of a model on all sets: its measurements with their keys, old and new, and why some could not be made.

    Two sets, or two labels, may have one key: the same rows or the same model under two names.
    """
    keys = {one.name: _key(run, one, options, context) for one in sets}
    found = {one.name: results.find(keys[one.name]) for one in sets}
    new = [one for one in sets if found[one.name] is None]
    if len(new) < len(sets):
        context.say(f"  {label}: {len(sets) - len(new)} of {len(sets)} sets were measured before")
    reasons: dict[tuple[str, str], str] = {}
    record = _record(run)
    spec = [ModelSpec(label, [run])]
    settings = {"similarities": options.similarities, "rerank": options.rerank, "seed": context.recipe.seed}
    for result in measure(
        spec, new, symmetric=options.symmetric, device=context.device, progress=context.progress, **settings
    ):
        if isinstance(result, Measurement):
            seen = None if record is None else seen_before(record, result.texts)
            found[result.set] = replace(result, contamination=seen)
            results.add(keys[result.set], found[result.set])
        else:
            reasons[label, result.set] = result.reason
    return [(keys[name], renamed(one, label, name)) for name, one in found.items() if one is not None], reasons


def _key(run: Run, one: EvalSet, options: EvaluateOptions, context: Context) -> str:
    """What a measurement depends on: settings that cannot change it would only have it made again."""
    settings = {
        "symmetric": options.symmetric,
        "similarities": sorted(options.similarities),
        "rerank": options.rerank,
        "seed": context.recipe.seed,
    }
    how = {name: value for name, value in settings.items() if reaches(name, one.task, run.kind)}
    return measurement_key(run.fingerprint, one.fingerprint, one.task, how)


def _record(run: Run) -> TrainingRecord | None:
    """What any part of a run was trained on; None where no part says."""
    known = [record for folder in run.folders if (record := read_record(folder)) is not None]
    return known[0] | known[-1] if known else None


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
