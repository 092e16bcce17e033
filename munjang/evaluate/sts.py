"""Scored pairs and the cosines of their sentences, for choosing weights on dev."""

from __future__ import annotations

import numpy as np

from munjang.data.rows import ScoredPair, sentences_of
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.progress import Progress, silent


def gold_scores(rows: list[ScoredPair]) -> np.ndarray:
    """The rows' scores: (n,), on 0..1."""
    return np.array([row.score for row in rows])


def cosine_of_pairs(encoder: Encoder, rows: list[ScoredPair], progress: Progress = silent) -> np.ndarray:
    """Cosine of the two sentences of each row: (n,), in -1..1."""
    vectors = encoder.encode(sentences_of(rows), progress=progress)
    return cosine_of_rows(vectors[0::2], vectors[1::2])
