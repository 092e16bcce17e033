"""What models are measured on and which models: sets with their rows, models with their folders; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from munjang.data.rows import Document, LabelledText, Qrel, sentences_of
from munjang.evaluate.tasks import TASKS
from munjang.files import canonical_json, digest_bytes
from munjang.models.folder import fingerprint_model, model_kind


class RetrievalRows(NamedTuple):
    """Queries, the texts among which the answers are, and which text answers which query."""

    documents: Sequence[Document]
    queries: Sequence[Document]
    qrels: Sequence[Qrel]


class ClassificationRows(NamedTuple):
    """Texts with their classes: those that a classifier learns from, and those that it is measured on."""

    train: Sequence[LabelledText]
    test: Sequence[LabelledText]


@dataclass(frozen=True)
class EvalSet:
    """A set and the task that it is measured as."""

    name: str
    """In tables."""
    task: str
    """A key of `munjang.evaluate.tasks.TASKS`."""
    rows: Any
    """Rows of the task's kind, `RetrievalRows` or `ClassificationRows`."""
    threshold: float = 0.5
    """Pair classification: the score, on 0..1, from which on a pair counts as positive."""

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the task and of all rows in their order, whatever the set's name and where it was read."""
        threshold = [self.threshold] if self.task == "pair-classification" else []
        return digest_bytes(canonical_json([self.task, *threshold, self.rows]).encode())

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to measure on."""
        return not all(self.rows) if TASKS[self.task].parts else not self.rows

    def texts(self) -> list[str]:
        """All texts that are measured on, in order; what a classifier learns from does not count."""
        if isinstance(self.rows, RetrievalRows):
            return sentences_of([*self.rows.queries, *self.rows.documents])
        return sentences_of(list(self.rows.test if isinstance(self.rows, ClassificationRows) else self.rows))


@dataclass(frozen=True)
class Run:
    """One trained model: its folder, and a cross-encoder that orders anew what it finds."""

    folder: Path
    reranker: Path | None = None

    @property
    def folders(self) -> list[Path]:
        """Of all its weights."""
        return [self.folder, *([self.reranker] if self.reranker else [])]

    @property
    def kind(self) -> str:
        """`bi-encoder`, `cross-encoder`, or `retrieve+rerank`."""
        return "retrieve+rerank" if self.reranker else model_kind(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all its files."""
        each = [fingerprint_model(folder) for folder in self.folders]
        return each[0] if len(each) == 1 else digest_bytes("+".join(each).encode())


@dataclass(frozen=True)
class ModelSpec:
    """A model as a table names it; several runs are one recipe under several seeds."""

    label: str
    runs: Sequence[Run]
