"""Models on sets, of any kind: what comes out are measurements, unit by unit."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from munjang.data.rows import sentences_of
from munjang.engine.encoder import Encoder, normalise
from munjang.engine.running import NonFiniteError
from munjang.engine.scorer import Scorer
from munjang.engine.topk import Neighbours
from munjang.evaluate.bi_tasks import Outcome, Settings, UnmeasurableError, bi_outcome, nearest, uses_of
from munjang.evaluate.cross_tasks import (
    candidate_pairs,
    cross_outcome,
    require_able,
    reranked_outcome,
    set_pairs,
    shown_pairs,
)
from munjang.evaluate.measurement import Measurement, Speed, Subject, Unmeasured
from munjang.evaluate.outputs import PairLogits, Vectors, median_ms
from munjang.evaluate.rankings import DEPTH, Judged, judged_queries
from munjang.evaluate.sets import EvalSet, ModelSpec, Run
from munjang.evaluate.textmap import text_map
from munjang.models.folder import require_kind
from munjang.models.settings import cross_task
from munjang.models.weights import model_size
from munjang.progress import Progress, silent

Result = Measurement | Unmeasured


def measure(
    models: Sequence[ModelSpec],
    sets: Sequence[EvalSet],
    *,
    symmetric: bool = True,
    similarities: Sequence[str] = (),
    rerank: int = DEPTH,
    seed: int = 42,
    device: str = "cpu",
    progress: Callable[[str], Progress] = lambda title: silent,
) -> Iterator[Result]:
    """Measure models on sets, each by the set's task.

    A bi-encoder encodes each distinct text of all sets once under each prompt, a cross-encoder scores each distinct
    pair once. One model is in memory at a time. A model that makes numbers that are not finite, and a task that a model
    cannot do, give a reason in place of a measurement.

    Args:
        models: bi-encoders, cross-encoders, and pairs of both.
        sets: with their rows.
        symmetric: let cross-encoders score both orders of a pair where the order means nothing.
        similarities: further measures of similarity than the cosine, of `munjang.evaluate.tasks.SIMILARITIES`.
        rerank: how many of the texts that were found a cross-encoder behind a bi-encoder orders anew.
        seed: of clusterings and classifiers.
        device: such as `cpu`.
        progress: opens a display with a title.

    Yields:
        Run by run of each model, and for each run set by set, in the order given.

    Raises:
        MissingInputError, DataError: a model cannot be loaded, or a pair is not of a bi-encoder and a cross-encoder;
            the kinds of all models are looked at before any work.
    """
    for run in (run for spec in models for run in spec.runs):
        require_kind(run.folder, *(["bi-encoder"] if run.reranker else ["bi-encoder", "cross-encoder"]))
        if run.reranker is not None:
            require_kind(run.reranker, "cross-encoder")
    settings = Settings(symmetric, tuple(similarities), rerank, seed)
    runs = [_MeasuredRun(spec.label, run, settings, device, progress) for spec in models for run in spec.runs]
    return (result for one in runs for result in one.results(sets))


class _Found(NamedTuple):
    """What the bi-encoder of a pair found on one set."""

    judged: Judged
    neighbours: Neighbours
    truncated: int
    seconds: float
    """For all queries: encoding, at the speed of all texts, and the search."""
    p50_ms: float


class _MeasuredRun:
    """One run of a model under way."""

    def __init__(
        self, label: str, run: Run, settings: Settings, device: str, progress: Callable[[str], Progress]
    ) -> None:
        self.run, self.settings, self.device = run, settings, device
        self.kind = run.kind
        self.subject = _subject(label, run, self.kind)
        self.progress = lambda doing: progress(f"{doing} {label}")

    def results(self, sets: Sequence[EvalSet]) -> list[Result]:
        """One for each set, in their order; the model's memory is free again afterwards."""
        reasons: dict[int, str] = {}
        for number, one in enumerate(sets):
            try:
                self._require_able(one)
            except UnmeasurableError as error:
                reasons[number] = str(error)
        able = {number: one for number, one in enumerate(sets) if number not in reasons}
        try:
            measured = self._measured(able) if able else {}
        except NonFiniteError as error:
            measured, reasons = {}, {**dict.fromkeys(able, error.what), **reasons}
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return [
            self._unmeasured(one, reasons[number]) if number in reasons else measured[number]
            for number, one in enumerate(sets)
        ]

    def _require_able(self, one: EvalSet) -> None:
        if one.is_empty:
            raise UnmeasurableError("the set has no row")
        if self.kind == "cross-encoder":
            require_able(one.task, cross_task(self.run.folder))
            return
        uses_of(one)
        if self.kind == "retrieve+rerank":
            if one.task != "retrieval":
                raise UnmeasurableError("only retrieval takes a bi-encoder and a cross-encoder together")
            require_able("reranking", cross_task(self.run.reranker))

    def _measured(self, sets: dict[int, EvalSet]) -> dict[int, Result]:
        if self.kind == "bi-encoder":
            return self._encoded(sets)
        if self.kind == "cross-encoder":
            return self._scored(sets)
        return self._reranked(sets)

    def _encoded(self, sets: dict[int, EvalSet]) -> dict[int, Result]:
        encoder = Encoder(self.run.folder, self.device, backend="exact", cache=True)
        uncached = encoder.uncached()
        self.subject = replace(self.subject, dimension=encoder.dimension)
        uses = {number: uses_of(one) for number, one in sets.items()}
        vectors = Vectors(encoder, [use for some in uses.values() for use in some], self.progress("encoding for"))
        results: dict[int, Result] = {}
        for number, one in sets.items():
            use, texts = uses[number][0]
            p50 = median_ms(lambda text, use=use: uncached.encode([text], use), texts)
            truncated = sum(vectors.truncated(some, name) for name, some in uses[number])
            speed = Speed(vectors.per_second, p50, "texts")
            result = self._result(one, lambda one=one: bi_outcome(one, vectors, self.settings), truncated, speed)
            if isinstance(result, Measurement):
                result.extra["map"] = text_map(result, vectors.of(texts, use), texts)
            results[number] = result
        return results

    def _scored(self, sets: dict[int, EvalSet]) -> dict[int, Result]:
        scorer = _scorer(self.run, self.device)
        uncached = scorer.uncached()
        shown = {number: shown_pairs(one, self.settings) for number, one in sets.items()}
        logits = PairLogits(scorer, [pair for some in shown.values() for pair in some], self.progress("scoring for"))
        results: dict[int, Result] = {}
        for number, one in sets.items():
            pairs = set_pairs(one)
            orders = len(shown[number]) // len(pairs)
            p50 = median_ms(lambda pair, n=orders: uncached.logits([pair, pair[::-1]][:n]), pairs)
            speed = Speed(logits.per_second, p50, "pairs")
            results[number] = self._result(
                one,
                lambda one=one: cross_outcome(one, logits, scorer, self.settings),
                logits.truncated(pairs),
                speed,
            )
        return results

    def _reranked(self, sets: dict[int, EvalSet]) -> dict[int, Result]:
        found = self._find(sets)
        gc.collect()  # the bi-encoder makes room for the cross-encoder
        scorer, rerank = _scorer(self.run, self.device), self.settings.rerank
        pairs = {n: candidate_pairs(one, found[n].judged, found[n].neighbours, rerank) for n, one in sets.items()}
        logits = PairLogits(scorer, [pair for some in pairs.values() for pair in some], self.progress("reranking for"))
        results: dict[int, Result] = {}
        for number, one in sets.items():
            judged, neighbours, truncated, seconds, p50_ms = found[number]
            queries, width = len(judged.queries), len(pairs[number]) // len(judged.queries)
            candidates = [pairs[number][start : start + width] for start in range(0, queries * width, width)]
            p50 = p50_ms + (median_ms(scorer.uncached().logits, candidates) or 0.0)
            seconds += len(pairs[number]) / logits.per_second
            results[number] = self._result(
                one,
                lambda one=one, j=judged, n=neighbours: reranked_outcome(one, j, n, logits, rerank),
                truncated + logits.truncated(pairs[number]),
                Speed(queries / seconds, p50, "queries"),
            )
        return results

    def _find(self, sets: dict[int, EvalSet]) -> dict[int, _Found]:
        encoder = Encoder(self.run.folder, self.device, backend="exact", cache=True)
        uncached = encoder.uncached()
        self.subject = replace(self.subject, dimension=encoder.dimension)
        uses = {number: uses_of(one) for number, one in sets.items()}
        vectors = Vectors(encoder, [use for some in uses.values() for use in some], self.progress("encoding for"))
        found = {}
        for number, one in sets.items():
            judged = judged_queries(one.rows)
            began = time.perf_counter()
            neighbours = nearest(one, judged, vectors, max(DEPTH, self.settings.rerank))
            searched = time.perf_counter() - began
            p50 = median_ms(lambda text: normalise(uncached.encode([text], "query")), sentences_of(judged.queries))
            queries = len(judged.queries)
            found[number] = _Found(
                judged,
                neighbours,
                sum(vectors.truncated(some, name) for name, some in uses[number]),
                queries / vectors.per_second + searched,
                (p50 or 0.0) + 1000 * searched / queries,
            )
        return found

    def _result(self, one: EvalSet, outcome: Callable[[], Outcome], truncated: int, speed: Speed) -> Result:
        try:
            columns, texts, metrics, extra = outcome()
        except UnmeasurableError as error:
            return self._unmeasured(one, str(error))
        return Measurement(
            subject=self.subject,
            set=one.name,
            set_fingerprint=one.fingerprint,
            task=one.task,
            columns=columns,
            texts=texts,
            metrics=metrics,
            truncated=truncated,
            speed=speed,
            extra=dict(extra),
        )

    def _unmeasured(self, one: EvalSet, reason: str) -> Unmeasured:
        return Unmeasured(self.subject, one.name, one.task, reason)


def _subject(label: str, run: Run, kind: str) -> Subject:
    sizes = [model_size(folder) for folder in run.folders]
    return Subject(
        label, kind, run.fingerprint, sum(size.parameters for size in sizes), sum(size.megabytes for size in sizes)
    )


def _scorer(run: Run, device: str) -> Scorer:
    """The cross-encoder of a run, be its outputs one or several."""
    return Scorer(run.reranker or run.folder, device, backend="exact", classes=True, cache=True)
