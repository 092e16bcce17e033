"""Models that label pairs: one or several, in both orders, brought to gold's scale, and never a pair twice after a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from munjang.data.rows import ScoredPair
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.engine.scorer import Scorer
from munjang.errors import DataError
from munjang.files import damage, new_directory, read_manifest
from munjang.models.folder import fingerprint_model, model_kind
from munjang.progress import Progress, silent

Pair = tuple[str, str]
#: Pairs that are scored and committed together: what a kill can cost.
_PART = 4_096
_SCORES = "scores.npy"
#: Folds of the cross-validation that says how far calibrated scores are from gold.
_FOLDS = 5


class Teacher:
    """A model that gives pairs a score.

    Args:
        name: as messages call it.
        folder: of a cross-encoder with one output, or of a bi-encoder, which counts with its cosine.
        device: such as `cpu`.
        symmetric: score both orders; a bi-encoder's cosine has only one.
        classes: the model gives classes of NLI.
        backend: what runs a cross-encoder; see `munjang.engine.scorer.Scorer`.
        cache: keep what it computes in the user's cache of outputs, and look there first.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        device: str,
        *,
        symmetric: bool = True,
        classes: bool = False,
        backend: str = "torch",
        cache: bool = True,
    ) -> None:
        self.name, self.folder, self.device, self.classes, self.cache = name, folder, device, classes, cache
        self.backend = backend
        self.fingerprint = fingerprint_model(folder)
        self.is_bi_encoder = model_kind(folder) == "bi-encoder"
        self.orders = 2 if symmetric and not classes and not self.is_bi_encoder else 1
        self._run: Callable[[Sequence[Pair]], np.ndarray] | None = None

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Scores in each order: float64 (n, orders); of a model with classes probabilities (n, classes).

        Raises:
            DataError: the model gives classes where scores are asked for, or the other way round.
        """
        if self._run is None:  # loading takes seconds, and after a kill there may be nothing left to score
            self._run = self._open()
        return self._run(pairs)

    def _open(self) -> Callable[[Sequence[Pair]], np.ndarray]:
        if self.is_bi_encoder:
            encoder = Encoder(self.folder, self.device, backend="exact", cache=self.cache)

            def cosines(pairs: Sequence[Pair]) -> np.ndarray:
                vectors = encoder.encode([text for pair in pairs for text in pair])
                return cosine_of_rows(vectors[0::2], vectors[1::2]).astype(np.float64)[:, None]

            return cosines
        scorer = Scorer(
            self.folder,
            self.device,
            symmetric=False,
            backend=self.backend,
            classes=self.classes,
            cache=self.cache,
        )
        if self.classes:
            if scorer.backend.outputs != 3:
                outputs = f"{scorer.backend.outputs} output" + ("s" if scorer.backend.outputs > 1 else "")
                raise DataError(
                    "this cross-encoder does not give the classes of NLI",
                    where=self.name,
                    expected="3 outputs",
                    got=outputs,
                    hint="use the stage label for scores",
                )
            return lambda pairs: _softmax(scorer.logits(pairs).astype(np.float64))

        def both(pairs: Sequence[Pair]) -> np.ndarray:
            orders = [list(pairs), [(b, a) for a, b in pairs]][: self.orders]
            flat = scorer.score([pair for order in orders for pair in order])
            return flat.astype(np.float64).reshape(self.orders, -1).T

        return both


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def score_resumably(
    teacher: Teacher, pairs: Sequence[Pair], work: Path | None, belongs_to: str, progress: Progress = silent
) -> np.ndarray:
    """Scores of many pairs, committed part by part: after a kill no committed pair is scored again.

    Args:
        teacher: scores them.
        pairs: best each one once.
        work: a folder that outlives a kill; None keeps nothing.
        belongs_to: names the pairs and everything else that decides; parts of other work are not read.
        progress: called with (pairs done, pairs in all).

    Returns:
        As `Teacher.scores`.
    """
    # Pairs of similar length side by side: a part is then little more than its own tokens.
    order = np.argsort([len(a) + len(b) for a, b in pairs], kind="stable")
    found = []
    for start in range(0, len(pairs), _PART):
        part = [pairs[i] for i in order[start : start + _PART]]
        place = work / f"scores-{teacher.fingerprint[:12]}-{start}" if work is not None else None
        found.append(_scored_part(teacher, part, place, belongs_to))
        progress(min(start + _PART, len(pairs)), len(pairs))
    whole = np.concatenate(found) if found else np.empty((0, teacher.orders))
    scores = np.empty_like(whole)
    scores[order] = whole
    return scores


def _scored_part(teacher: Teacher, part: Sequence[Pair], place: Path | None, belongs_to: str) -> np.ndarray:
    if place is None:
        return teacher.scores(part)
    manifest = read_manifest(place) if damage(place) is None else None
    if manifest is not None and manifest["meta"].get("belongs_to") == belongs_to:
        return np.load(place / _SCORES, allow_pickle=False)
    if place.exists():
        import shutil

        shutil.rmtree(place)
    scores = teacher.scores(part)
    with new_directory(place, belongs_to=belongs_to) as folder:
        np.save(folder / _SCORES, scores, allow_pickle=False)
    return scores


@dataclass(frozen=True)
class Calibration:
    """A monotone map from a teacher's scores to gold's scale (isotonic regression, Zadrozny and Elkan 2002)."""

    raw: tuple[float, ...]
    gold: tuple[float, ...]
    error_before: float
    """Mean absolute distance from gold on dev, on 0..1."""
    error_after: float
    """The same after calibration, on folds of dev that it was not fitted on."""

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores on gold's scale."""
        return np.interp(scores, self.raw, self.gold)


def calibrate(scores: np.ndarray, gold: np.ndarray, seed: int = 0) -> Calibration:
    """Fit scores to gold.

    Args:
        scores: (n,), of a teacher on dev. gold: (n,), on 0..1.
        seed: of the folds.

    Raises:
        DataError: fewer pairs than twice the folds.
    """
    if len(gold) < 2 * _FOLDS:
        raise DataError(
            "dev is too small for a calibration", expected=f"at least {2 * _FOLDS} pairs", got=f"{len(gold)}"
        )
    fold = np.random.default_rng(seed).permutation(len(gold)) % _FOLDS
    apart = np.empty(len(gold))
    for number in range(_FOLDS):
        raw, target = _isotonic(scores[fold != number], gold[fold != number])
        apart[fold == number] = np.interp(scores[fold == number], raw, target)
    raw, target = _isotonic(scores, gold)
    return Calibration(
        tuple(raw.tolist()),
        tuple(target.tolist()),
        float(np.abs(scores - gold).mean()),
        float(np.abs(apart - gold).mean()),
    )


def _isotonic(scores: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of a map that rises everywhere.

    Isotonic regression gives steps, on which the order that a teacher saw is lost, and the student learns from that order.
    So the map goes through the middle of each step.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit_transform(scores, gold)
    values, step = np.unique(fitted, return_inverse=True)
    middles = np.bincount(step, weights=scores) / np.bincount(step)
    return middles, values


class Labels(NamedTuple):
    """What several teachers say of some pairs."""

    scores: np.ndarray
    """float64 (n,), the mean of the teachers, on 0..1."""
    disagreement: np.ndarray
    """float64 (n,), standard deviation over the teachers; zeros for a single one."""
    orders: np.ndarray
    """float64 (n, 2), the mean of the cross-encoders in each order of the pair; (n, 0) where there is only one order."""


def combine(
    teachers: Sequence[Teacher], found: Sequence[np.ndarray], calibrations: Sequence[Calibration | None]
) -> Labels:
    """The mean of the teachers, each on gold's scale where it was calibrated.

    Args:
        teachers: who scored.
        found: of each its scores, (n, orders).
        calibrations: of each its map, or None.
    """
    each = []
    for scores, calibration in zip(found, calibrations, strict=True):
        mean = scores.mean(axis=1)
        each.append(np.clip(mean if calibration is None else calibration(mean), 0, 1))
    both = [scores for teacher, scores in zip(teachers, found, strict=True) if teacher.orders == 2]
    stacked = np.stack(each)
    orders = np.mean(both, axis=0) if both else np.empty((len(stacked[0]), 0))
    return Labels(stacked.mean(axis=0), stacked.std(axis=0), orders)


def pairs_of_rows(rows: Sequence[ScoredPair]) -> list[Pair]:
    """The sentences of scored pairs, two by two."""
    return [(row.sentence1, row.sentence2) for row in rows]
