"""Options of the index and search stages."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from munjang.config.recipe import BiEncoder, CrossEncoder, Documents, Index, Qrels, Queries, StageOptions


class IndexOptions(StageOptions):
    """Encode texts and keep them for search."""

    kind: ClassVar[str] = "index"
    produces: ClassVar[str] = "index"

    model: BiEncoder
    """Bi-encoder of texts and queries."""
    documents: list[Documents] = Field(min_length=1)
    """Texts with ids, or plain sentences (their line number becomes the id)."""
    reranker: CrossEncoder | None = None
    """Cross-encoder that orders the first hits anew; without it search shows one order."""


class SearchOptions(StageOptions):
    """Search every query of a set and measure the order before and after reranking."""

    kind: ClassVar[str] = "search"
    version: ClassVar[int] = 2
    produces: ClassVar[str] = "search-report"

    indexes: dict[str, Index] = Field(min_length=1)
    """Label in the table -> index stage."""
    queries: Queries
    """Queries with ids."""
    qrels: Qrels
    """Which text answers which query."""
    top_k: int = Field(default=10, ge=1, le=1000)
    """Hits that are measured: nDCG@k and MRR@k."""
    rerank: int = Field(default=20, ge=1, le=1000)
    """First hits of the bi-encoder that the cross-encoder orders anew."""
