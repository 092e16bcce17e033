"""Search in two steps: the bi-encoder finds, the cross-encoder orders anew, and both orders are kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from munjang.data.rows import Document
from munjang.engine.encoder import Encoder, normalise
from munjang.engine.scorer import Scorer
from munjang.engine.topk import Corpus
from munjang.errors import ConfigError, DataError, MissingInputError
from munjang.files import MANIFEST, damage
from munjang.index.store import StoredIndex, open_index
from munjang.models.folder import fingerprint_model
from munjang.progress import Progress, silent
from munjang.text import clean, is_blank

#: Longest query, in characters.
MAX_QUERY = 4_096


@dataclass(frozen=True)
class Hit:
    """One text that was found, with its place in both orders (from 1) and both scores."""

    document: Document
    rank: int
    cosine: float
    reranked: int | None = None
    score: float | None = None


@dataclass(frozen=True)
class Answer:
    """The hits of one query in the bi-encoder's order, and how long each step took."""

    query: str
    hits: list[Hit]
    encode_ms: float
    find_ms: float
    rerank_ms: float | None

    def reranked(self) -> list[Hit]:
        """The hits in the cross-encoder's order; those beyond its reach keep theirs behind."""
        return sorted(self.hits, key=lambda hit: (hit.reranked is None, hit.reranked or hit.rank))


class Searcher:
    """An index with its models in memory.

    Args:
        folder: of the index.
        device: such as `cpu`.
        rerank: whether the index's cross-encoder is loaded and used.
        backend: what runs both models; `auto` takes a certified export of each where there is one. See
            `munjang.engine.choosing`.

    Raises:
        DataError: the bi-encoder is not the one that made the vectors.
    """

    def __init__(self, folder: Path | str, device: str = "cpu", rerank: bool = True, backend: str = "auto") -> None:
        self.index: StoredIndex = open_index(Path(folder))
        model = Path(self.index.model)
        if not model.is_dir():
            raise MissingInputError("the index's bi-encoder is gone", where=model, hint="make the index again")
        if (model / MANIFEST).is_file() and (problem := damage(model)):
            raise DataError(
                f"the bi-encoder is damaged: {problem}", where=model, hint="delete the folder and make it again"
            )
        if fingerprint_model(model) != self.index.model_fingerprint:
            raise DataError(
                "the bi-encoder has changed since the index was made", where=model, hint="make the index again"
            )
        reranker = self.index.reranker if rerank else None
        if reranker is not None and not Path(reranker).is_dir():
            hint = "make the index again, or search without reranking: --rerank 0"
            raise MissingInputError("the index's cross-encoder is gone", where=reranker, hint=hint)
        self.encoder = Encoder(model, device, backend=backend)
        self._corpus = Corpus(self.index.vectors)
        # Asked for similarity to a query, a cross-encoder reads it first; scoring the other order too would
        # double the time of the slowest step.
        self.scorer = Scorer(reranker, device, symmetric=False, backend=backend) if reranker else None

    def search(self, query: str, top: int = 5, rerank: int = 20) -> Answer:
        """Find the texts nearest to a query.

        Args:
            query: at most 4,096 characters, not blank.
            top: hits to return.
            rerank: how many of the nearest the cross-encoder orders anew; at least `top` are.

        Raises:
            DataError: the query is blank or too long.
        """
        query = checked_query(query, top, rerank)
        start = time.perf_counter()
        vector = self.encoder.encode([query], use="query")
        encoded = time.perf_counter()
        hits = self.find(vector, max(top, rerank) if self.scorer else top)
        after = time.perf_counter()
        rerank_ms = None
        if self.scorer:
            hits = reordered(hits, self.scorer.score([(query, hit.document.text) for hit in hits]), top)
            rerank_ms = 1000 * (time.perf_counter() - after)
        return Answer(query, hits, 1000 * (encoded - start), 1000 * (after - encoded), rerank_ms)

    def find(self, vector: np.ndarray, width: int) -> list[Hit]:
        """The texts nearest to a query, nearest first.

        Args:
            vector: float32 (1, d) of the query, under the model's prompt for queries.
            width: how many.
        """
        found = self._corpus.top_k(normalise(vector), width)
        return [
            Hit(self.index.documents[p], rank, float(score))
            for rank, (p, score) in enumerate(zip(found.positions[0], found.scores[0], strict=True), 1)
        ]


def checked_query(query: str, top: int, rerank: int) -> str:
    """A query as it is searched for.

    Raises:
        DataError: it is blank or too long. ConfigError: a number is out of range.
    """
    if is_blank(query):
        raise DataError(
            "the query is blank", hint='type some words, such as: munjang search INDEX "환불은 언제 되나요"'
        )
    if len(query) > MAX_QUERY:
        raise DataError("the query is too long", expected=f"at most {MAX_QUERY:,} characters", got=f"{len(query):,}")
    if top < 1 or rerank < 0:
        raise ConfigError("top must be 1 or more and rerank 0 or more", got=f"top={top}, rerank={rerank}")
    return clean(query).text


def reordered(hits: list[Hit], scores: np.ndarray, top: int) -> list[Hit]:
    """Hits with their places in the cross-encoder's order; those that are among the first `top` of either order.

    Args:
        hits: in the bi-encoder's order.
        scores: float32 (len(hits),).
        top: hits of each order to keep.
    """
    # Equal scores keep the bi-encoder's order.
    places = np.empty(len(hits), np.int64)
    places[np.argsort(-scores, kind="stable")] = np.arange(1, len(hits) + 1)
    both = [
        Hit(hit.document, hit.rank, hit.cosine, int(place), float(score))
        for hit, place, score in zip(hits, places, scores, strict=True)
    ]
    return [hit for hit in both if hit.rank <= top or (hit.reranked or 0) <= top]


def encode_documents(documents: list[Document], encoder: Encoder, progress: Progress = silent) -> np.ndarray:
    """Vectors of length 1 of some documents, under the model's prompt for documents: float32 (n, d)."""
    return normalise(encoder.encode([d.text for d in documents], use="document", progress=progress))
