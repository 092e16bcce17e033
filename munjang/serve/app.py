"""The paths: what each of them reads, asks of a model, and answers."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router

from munjang.engine.encoder import cosine_of_rows, shortened
from munjang.index.search import MAX_QUERY, checked_query, reordered
from munjang.serve import requests
from munjang.serve.door import ClientGoneError, Door, State, left
from munjang.serve.metrics import Metrics
from munjang.serve.openapi import page, specification
from munjang.serve.reading import read_json, read_request
from munjang.serve.refusals import (
    ContentError,
    DeadlineError,
    DrainingError,
    TooLargeError,
    UnknownPathError,
)
from munjang.serve.served import Computed, Served
from munjang.text import is_blank

_Kind = TypeVar("_Kind", bound=requests.Request)
#: Handler, method, path, and what it reads.
Paths = list[tuple[Callable[[Request], Awaitable[Response]], str, str, type[requests.Request] | None]]


class Application:
    """The application of one server; `asgi` is what a server of ASGI runs.

    Args:
        served: models and index.
        state: of the server, shared with whoever stops it.
    """

    def __init__(self, served: Served, state: State) -> None:
        self.served, self.state, self.metrics = served, state, Metrics(served)
        self._made = int(time.time())
        # The scan of an index uses all cores by itself.
        self._finding = asyncio.Lock()
        self.paths: Paths = [
            (self.embeddings, "POST", "/v1/embeddings", requests.EmbeddingsRequest),
            (self.models, "GET", "/v1/models", None),
            (self.rerank, "POST", "/v1/rerank", requests.RerankRequest),
            (self.rerank, "POST", "/v2/rerank", requests.RerankRequest),
            (self.similarity, "POST", "/v1/similarity", requests.SimilarityRequest),
            (self.search, "POST", "/v1/search", requests.SearchRequest),
            (self._healthz, "GET", "/healthz", None),
            (self._readyz, "GET", "/readyz", None),
            (self._metrics, "GET", "/metrics", None),
            (self._openapi, "GET", "/openapi.json", None),
            (self._docs, "GET", "/docs", None),
        ]
        state.paths = frozenset(path for _, _, path, _ in self.paths)
        routes = [Route(path, handler, methods=[method]) for handler, method, path, _ in self.paths]
        # A bare router: the application around it would answer exceptions before the door sees them.
        self.asgi = Door(Router(routes, redirect_slashes=False), state, self.metrics)

    # The three services.

    async def embeddings(self, request: Request) -> Response:
        """Vectors of texts, as OpenAI's API gives them."""
        asked = self._read(request, requests.EmbeddingsRequest)
        texts = self._texts([asked.input] if isinstance(asked.input, str) else asked.input, "input")
        model = self.served.encoder(asked.model)
        dimension = asked.dimensions or model.encoder.dimension
        if dimension > model.encoder.dimension:
            expected = f"at most {model.encoder.dimension}"
            raise ContentError("the vectors have fewer dimensions", where="dimensions", expected=expected)
        use = asked.use or request.headers.get("munjang-use", "similarity")
        if use not in ("similarity", "query", "document", "none"):
            raise ContentError("unknown use", where="Munjang-Use", expected="similarity, query, document or none")
        computed = await self._computed(request, model.submit(texts, use, _deadline(request)))
        rows = shortened(computed.outputs, dimension)
        data = [
            {"object": "embedding", "index": i, "embedding": _vector(row, asked.encoding_format)}
            for i, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": computed.tokens, "total_tokens": computed.tokens}
        content = {"object": "list", "data": data, "model": model.name, "usage": usage}
        return self._answer(content, model.name, computed)

    async def rerank(self, request: Request) -> Response:
        """Documents in the cross-encoder's order, as Cohere's and Jina's API give them."""
        asked = self._read(request, requests.RerankRequest)
        query = self._texts([asked.query], "query")[0]
        documents = [_document(one, asked.rank_fields, i) for i, one in enumerate(asked.documents)]
        self._texts(documents, "documents", self.state.limits.pairs)
        model = self.served.scorer(asked.model)
        pairs = [(query, document) for document in documents]
        computed = await self._computed(request, model.submit(pairs, _deadline(request)))
        scores = model.scores(computed)
        # Equal scores keep the client's order.
        best = np.argsort(-scores, kind="stable")[: asked.top_n or len(scores)]
        results = [{"index": int(i), "relevance_score": float(scores[i])} for i in best]
        if asked.return_documents:
            for result in results:
                sent = asked.documents[result["index"]]
                result["document"] = {"text": sent} if isinstance(sent, str) else sent
        content = {
            "id": f"rerank-{time.time_ns():x}",
            "model": model.name,
            "results": results,
            "usage": {"total_tokens": computed.tokens},
            "meta": {"api_version": {"version": request.url.path[2]}, "billed_units": {"search_units": 1}},
        }
        return self._answer(content, model.name, computed)

    async def similarity(self, request: Request) -> Response:
        """How alike the two texts of each pair are."""
        asked = self._read(request, requests.SimilarityRequest)
        if any(len(pair) != 2 for pair in asked.pairs):
            raise ContentError("a pair has two texts", where="pairs")
        self._texts(asked.pairs, "pairs", self.state.limits.pairs, check=False)
        lefts, rights = ([pair[side] for pair in asked.pairs] for side in (0, 1))
        for side in (lefts, rights):
            self._texts(side, "pairs", self.state.limits.pairs)
        if asked.by == "bi-encoder":
            encoder = self.served.encoder(asked.model)
            computed = await self._computed(
                request, encoder.submit([*lefts, *rights], "similarity", _deadline(request))
            )
            scores, name = cosine_of_rows(*np.split(computed.outputs, 2)), encoder.name
        else:
            scorer = self.served.scorer(asked.model)
            both = [*zip(lefts, rights, strict=True), *zip(rights, lefts, strict=True)]
            computed = await self._computed(request, scorer.submit(both, _deadline(request)))
            scores, name = scorer.scores(computed).reshape(2, -1).mean(axis=0), scorer.name
        content = {"model": name, "by": asked.by, "scores": [float(score) for score in scores]}
        return self._answer({**content, "usage": {"total_tokens": computed.tokens}}, name, computed)

    async def search(self, request: Request) -> Response:
        """The texts of the index nearest to a query, with their places in both orders."""
        asked = self._read(request, requests.SearchRequest)
        served, bound = self.served, self.state.limits.pairs
        if served.searcher is None or served.searcher_encoder is None:
            raise UnknownPathError("no index is served", hint="start the server with --index")
        if max(asked.top, asked.rerank) > bound:
            raise TooLargeError("too many hits", where="top, rerank", expected=f"at most {bound:,}")
        if len(asked.query) > MAX_QUERY:
            raise ContentError("the query is too long", where="query", expected=f"at most {MAX_QUERY:,} characters")
        query = checked_query(self._texts([asked.query], "query")[0], asked.top, asked.rerank)
        scorer = served.searcher_scorer if asked.rerank else None
        began = time.perf_counter()
        deadline = _deadline(request)
        vector = await self._computed(request, served.searcher_encoder.submit([query], "query", deadline))
        encoded = time.perf_counter()
        width = max(asked.top, asked.rerank) if scorer else asked.top
        async with self._finding:
            hits = await asyncio.to_thread(served.searcher.find, vector.outputs, width)
        found, reranking = time.perf_counter(), None
        if scorer and hits:
            pairs = [(query, hit.document.text) for hit in hits]
            scores = scorer.scores(await self._computed(request, scorer.submit(pairs, deadline)))
            hits = reordered(hits, scores, asked.top)
            reranking = 1000 * (time.perf_counter() - found)
        times = {"encode": 1000 * (encoded - began), "find": 1000 * (found - encoded), "rerank": reranking}
        return JSONResponse({"query": query, "milliseconds": times, "hits": [_hit(hit) for hit in hits]})

    async def models(self, request: Request) -> Response:
        """What is served."""
        served = self.served.models()
        known = {"object": "model", "created": self._made, "owned_by": "munjang"}
        return JSONResponse({"object": "list", "data": [{"id": one.name, **known, "kind": one.kind} for one in served]})

    # What tells how the server is.

    async def _healthz(self, request: Request) -> Response:
        dead = [lane.name for lane in self.served.lanes() if not lane.alive]
        if dead:
            raise DrainingError("a worker has died", where=", ".join(dead))
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        if self.state.draining:
            raise DrainingError("the server is stopping")
        return await self._healthz(request)

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(specification(self.paths, self.state.version))

    async def _docs(self, request: Request) -> Response:
        return HTMLResponse(page(specification(self.paths, self.state.version)))

    # Parts of every service.

    def _read(self, request: Request, kind: type[_Kind]) -> _Kind:
        return read_request(kind, read_json(request.scope["munjang.body"], self.state.limits.depth))

    def _texts(self, texts: list, where: str, bound: int | None = None, check: bool = True) -> list[str]:
        """Texts within the limits.

        Raises:
            TooLargeError: too many. ContentError: none, or one that is blank, too long, or no text.
        """
        limits = self.state.limits
        bound = limits.texts if bound is None else bound
        if len(texts) > bound:
            raise TooLargeError("too many items", where=where, expected=f"at most {bound:,}", got=f"{len(texts):,}")
        if not texts:
            raise ContentError("there is nothing to do", where=where, expected="at least one item")
        for i, text in enumerate(texts if check else ()):
            place = f"{where}[{i}]" if len(texts) > 1 else where
            if isinstance(text, (int, list)):
                raise ContentError("token ids are not read", where=place, expected="a text", hint="send the texts")
            if not isinstance(text, str):
                raise ContentError("this is no text", where=place, expected="a text")
            if len(text) > limits.chars:
                expected = f"at most {limits.chars:,} characters"
                raise ContentError("the text is too long", where=place, expected=expected, got=f"{len(text):,}")
            if is_blank(text):
                raise ContentError("the text is blank", where=place, expected="a text with something visible in it")
        return texts

    async def _computed(self, request: Request, future: Future[Computed]) -> Computed:
        """Waits for a model, for as long as the client does and the deadline allows.

        Raises:
            DeadlineError: it took too long. ClientGoneError: nobody waits any more.
        """
        waiting, gone = asyncio.wrap_future(future), asyncio.ensure_future(left(request.receive))
        try:
            time_left = max(_deadline(request) - time.monotonic(), 0)
            await asyncio.wait({waiting, gone}, timeout=time_left, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            if gone.done():
                raise ClientGoneError
            raise DeadlineError("the answer was not ready in time", expected=f"{self.state.limits.request:g} s")
        finally:
            gone.cancel()
            # Takes a job that still waits out of the queue.
            waiting.cancel()

    def _answer(self, content: dict[str, Any], name: str, computed: Computed) -> Response:
        self.metrics.tokens.labels(name).inc(computed.tokens)
        self.metrics.truncated.labels(name).inc(computed.truncated)
        return JSONResponse(content, headers={"Munjang-Truncated": str(computed.truncated)})


def _deadline(request: Request) -> float:
    return request.scope["munjang.deadline"]


def _vector(row: np.ndarray, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
    return row.tolist()


def _document(sent: str | dict[str, Any], fields: list[str] | None, number: int) -> Any:
    """What is read of a document: itself, its field `text`, or the fields that were asked for, one a line."""
    if isinstance(sent, str):
        return sent
    parts = [sent[name] for name in fields or ["text"] if name in sent]
    if not parts or not all(isinstance(part, str) for part in parts):
        expected = ", ".join(fields or ["text"])
        raise ContentError("the document has no text", where=f"documents[{number}]", expected=f"a field {expected}")
    return "\n".join(parts)


def _hit(hit: Any) -> dict[str, Any]:
    return {
        "id": hit.document.id,
        "text": hit.document.text,
        "rank": hit.rank,
        "cosine": hit.cosine,
        "reranked": hit.reranked,
        "score": hit.score,
    }
