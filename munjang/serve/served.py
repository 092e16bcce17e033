"""The models that are served: what each request costs, what is computed together, and what each request gets of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from munjang.engine.encoder import Encoder
from munjang.engine.running import run_inputs
from munjang.engine.scorer import Pair, Scorer
from munjang.errors import MunjangError
from munjang.index.search import Searcher
from munjang.models.settings import maximum_length
from munjang.serve.lane import Lane
from munjang.serve.limits import Limits
from munjang.serve.refusals import UnknownPathError
from munjang.text import readable


class Computed(NamedTuple):
    """What a model made of the inputs of one request."""

    outputs: np.ndarray
    """float32 (inputs, outputs): vectors, or logits before any activation."""
    tokens: int
    """Of all inputs, special ones included, after the cut at the maximum length."""
    truncated: int
    """Inputs of which the end was cut off."""


class ServedEncoder:
    """A bi-encoder and its lane.

    Args:
        name: under which clients know it.
        encoder: its vectors are served; it is used by the lane alone.
        limits: of the queue.
    """

    kind = "bi-encoder"

    def __init__(self, name: str, encoder: Encoder, limits: Limits) -> None:
        self.name, self.encoder = name, encoder
        self._longest = _longest(encoder.folder, limits)
        self.lane = Lane(name, self._compute, limits.batch, limits.queue)

    def submit(self, texts: Sequence[str], use: str, deadline: float) -> Future[Computed]:
        """Put texts, none of them blank, into the queue; see `munjang.serve.lane.Lane.submit`.

        Args:
            texts: as the client sent them.
            use: `similarity`, `query` or `document` for the model's own prompt, or `none`.
            deadline: on the clock of `time.monotonic`.
        """
        prompt = "" if use == "none" else self.encoder.prompt(use)
        shown = [readable(text) for text in texts]
        tokens = sum(min(len(prompt) + len(text), self._longest) + 2 for text in shown)
        return self.lane.submit(prompt, shown, tokens, deadline)

    def _compute(self, prompt: str, jobs: list[Sequence]) -> list[Computed]:
        return _computed(self.encoder, jobs, prompt)


class ServedScorer:
    """A cross-encoder with one output and its lane.

    Args:
        name: under which clients know it.
        scorer: its scores are served; it is used by the lane alone.
        limits: of the queue.
    """

    kind = "cross-encoder"

    def __init__(self, name: str, scorer: Scorer, limits: Limits) -> None:
        self.name, self.scorer = name, scorer
        self._longest = _longest(scorer.folder, limits)
        self.lane = Lane(name, self._compute, limits.batch, limits.queue)

    def submit(self, pairs: Sequence[Pair], deadline: float) -> Future[Computed]:
        """Put pairs into the queue, each in its given order; see `ServedEncoder.submit`."""
        shown = [(readable(a), readable(b)) for a, b in pairs]
        tokens = sum(min(len(a) + len(b), self._longest) + 3 for a, b in shown)
        return self.lane.submit("", shown, tokens, deadline)

    def scores(self, computed: Computed) -> np.ndarray:
        """What the model's activation makes of logits: float32 (pairs,)."""
        return self.scorer.activated(computed.outputs).reshape(-1)

    def _compute(self, key: str, jobs: list[Sequence]) -> list[Computed]:
        return _computed(self.scorer, jobs, key)


@dataclass
class Served:
    """All that one server serves."""

    encoders: list[ServedEncoder] = field(default_factory=list)
    """The first is the one of requests that name none."""
    scorers: list[ServedScorer] = field(default_factory=list)
    searcher: Searcher | None = None
    searcher_encoder: ServedEncoder | None = None
    searcher_scorer: ServedScorer | None = None

    def models(self) -> list[ServedEncoder | ServedScorer]:
        """All of them."""
        return [*self.encoders, *self.scorers]

    def lanes(self) -> list[Lane]:
        """Of all models."""
        return [model.lane for model in self.models()]

    def encoder(self, name: str | None) -> ServedEncoder:
        """A bi-encoder by its name.

        Raises:
            UnknownPathError: it is not served. The server opens no model that a client names.
        """
        return _named(self.encoders, name, "bi-encoder", "--model")

    def scorer(self, name: str | None) -> ServedScorer:
        """A cross-encoder by its name; see `encoder`."""
        return _named(self.scorers, name, "cross-encoder", "--reranker")

    def close(self) -> None:
        """End the workers."""
        for lane in self.lanes():
            lane.close()


def _named(models: list, name: str | None, kind: str, flag: str) -> object:
    if not models:
        raise UnknownPathError(f"no {kind} is served", hint=f"start the server with {flag}")
    for model in models:
        if name in (None, model.name):
            return model
    known = " or ".join(model.name for model in models)
    raise UnknownPathError(f"no such {kind} is served", where="model", expected=known)


def _longest(folder: Path, limits: Limits) -> int:
    """Tokens that a model reads of a text; characters that a request may hold where its settings do not say."""
    try:
        return maximum_length(folder) or limits.chars
    except (MunjangError, OSError, ValueError):
        return limits.chars


def _computed(model: Encoder | Scorer, jobs: list[Sequence], prompt: str) -> list[Computed]:
    """Inputs of several requests through a model, each distinct one once."""
    position: dict = {}
    rows = [[position.setdefault(one, len(position)) for one in inputs] for inputs in jobs]
    ran = run_inputs(model.backend.ready(), list(position), prompt)
    return [Computed(ran.outputs[mine], int(ran.lengths[mine].sum()), int(ran.truncated[mine].sum())) for mine in rows]
