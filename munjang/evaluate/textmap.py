"""A map of some texts: where their vectors lie in the plane in which they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from munjang.evaluate.measurement import Measurement

#: Texts that a map shows; more only hide each other.
_MOST_TEXTS = 400


def text_map(measurement: Measurement, vectors: np.ndarray, texts: Sequence[str]) -> list[dict[str, Any]]:
    """A sample of a set's texts by the first two principal components of their vectors.

    Args:
        measurement: whose columns give a text of a single-text unit its class.
        vectors: (len(texts), dimension). texts: some may repeat.

    Returns:
        One entry a text as JSON values: `x`, `y`, `text`, and `colour`, the class where there is one.
    """
    distinct = list({text: place for place, text in enumerate(texts)}.values())
    picked = [
        distinct[i] for i in np.unique(np.linspace(0, len(distinct) - 1, min(len(distinct), _MOST_TEXTS)).astype(int))
    ]
    if len(picked) < 3:
        return []
    points = _principal_components(vectors[picked])
    gold = measurement.columns.get("gold")
    by_text = gold is not None and len(gold) == len(texts)
    return [
        {
            "x": round(float(x), 4),
            "y": round(float(y), 4),
            "text": texts[place][:200],
            "colour": int(gold[place]) if by_text and gold is not None else 0,
        }
        for place, (x, y) in zip(picked, points, strict=True)
    ]


def _principal_components(vectors: np.ndarray) -> np.ndarray:
    """(n, 2); the sign of a component is set so that its largest part is positive, for a decomposition leaves it open."""
    centred = np.asarray(vectors, np.float64) - vectors.mean(axis=0)
    left, scale, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    points = left * scale * signs
    return points[:, :2] if points.shape[1] > 1 else np.column_stack([points, np.zeros(len(points))])
