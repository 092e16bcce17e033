"""Opens what is to be served, once, before the first request; afterwards nothing is opened any more."""

from __future__ import annotations

from pathlib import Path

from munjang.engine.encoder import Encoder
from munjang.engine.scorer import Scorer
from munjang.index.search import Searcher
from munjang.serve.limits import Limits
from munjang.serve.served import Served, ServedEncoder, ServedScorer


def open_served(
    model: tuple[str, Path] | None,
    reranker: tuple[str, Path] | None,
    index: Path | None,
    device: str,
    backend: str,
    limits: Limits,
) -> Served:
    """Load models and an index.

    Args:
        model: a bi-encoder's name and folder; None to serve the index's alone.
        reranker: a cross-encoder's name and folder; None to serve the index's alone, if it has one.
        index: the folder of an index.
        device: such as `cpu`.
        backend: what runs the models; see `munjang.engine.choosing`.
        limits: of the queues.

    Raises:
        DataError, MissingInputError, UnavailableError: see `munjang.engine.encoder`, `munjang.engine.scorer` and
            `munjang.index.search`.
    """
    served = Served()
    if model is not None:
        served.encoders.append(ServedEncoder(model[0], Encoder(model[1], device, backend=backend), limits))
    if reranker is not None:
        scorer = Scorer(reranker[1], device, symmetric=False, backend=backend)
        served.scorers.append(ServedScorer(reranker[0], scorer, limits))
    if index is not None:
        searcher = Searcher(index, device, reranker is None, backend)
        served.searcher = searcher
        name = _free("index" if model else Path(searcher.index.model).name, served)
        served.searcher_encoder = ServedEncoder(name, searcher.encoder, limits)
        served.encoders.append(served.searcher_encoder)
        if searcher.scorer is not None:
            name = _free(Path(searcher.index.reranker or "reranker").name, served)
            served.scorers.append(ServedScorer(name, searcher.scorer, limits))
        served.searcher_scorer = served.scorers[0] if served.scorers else None
    return served


def _free(name: str, served: Served) -> str:
    """A name that no other model has; in a run every model's folder is called `model`."""
    taken = {one.name for one in served.models()}
    return name if name not in taken else next(f"{name}-{n}" for n in range(2, 9) if f"{name}-{n}" not in taken)
