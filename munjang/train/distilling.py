"""Learning a teacher's vectors: losses, and what joins vectors of different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import Tensor, nn

from munjang.engine.encoder import normalise
from munjang.errors import ConfigError, DataError, Option, Phrase
from munjang.models.checks import lint_model
from munjang.models.dimensions import principal_directions
from munjang.train.examples import TrainRows
from munjang.train.objectives import DISTILLING
from munjang.train.options import TrainBiOptions


class Distil(nn.Module):
    """The loss of a student against its teacher.

    Args:
        name: of the objective.
        sizes: of the student's vectors and of the teacher's, where a layer for the training only joins them.
    """

    def __init__(self, name: str, sizes: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.name = name
        self.head = nn.Linear(*sizes, bias=False) if sizes else None

    def forward(self, vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        """One number.

        Args:
            vectors: (n, k, d), of the texts of each example. texts: (n, k), -1 where there is none.
            targets: (n, d'), the teacher's vector of the first text of each example.
        """
        there = texts >= 0
        found = vectors[there]
        wanted = targets[:, None].expand(-1, texts.shape[1], -1)[there]
        if self.name == "distil-similarity":
            return (_cosines(found) - _cosines(wanted)).square().mean()
        if self.head is not None:
            found = self.head(found)
        if self.name == "distil-cosine":
            return (1 - nn.functional.cosine_similarity(found, wanted, dim=-1)).mean()
        # The sum over the dimensions: the mean, for vectors of length 1, is so small that rounding shows in its gradients.
        return (found - wanted).square().sum(dim=-1).mean()


def _cosines(vectors: Tensor) -> Tensor:
    units = nn.functional.normalize(vectors, dim=-1)
    return units @ units.T


def make_distil(name: str, model: SentenceTransformer, options: TrainBiOptions, size: int) -> Distil:
    """The loss behind the name of an objective; `size` is that of the teacher's vectors."""
    own = int(model.get_embedding_dimension() or 0)
    with_head = options.projection == "head" and name != "distil-similarity"
    return Distil(name, (own, size) if with_head else None).to(model.device)


def require_sizes(own: int, taught: int, options: TrainBiOptions, names: Sequence[str]) -> None:
    """Find vectors of different sizes before the first step.

    Args:
        own: size of the student's vectors. taught: of the teacher's.
        options: of the training.
        names: of its objectives.

    Raises:
        ConfigError: they differ and nothing joins them, or something would join what fits.
    """
    asked = options.option("projection", options.projection)
    if own == taught and options.projection is not None:
        raise ConfigError(
            "student and teacher have vectors of one size",
            where=asked,
            got=f"{own}",
            hint=Phrase("leave out {}", Option("projection")),
        )
    if own != taught and options.projection is None and set(names) & {"distil", "distil-cosine"}:
        raise ConfigError(
            "student and teacher have vectors of different sizes",
            where=options.option("teacher", options.teacher),
            expected=f"{own}, or a projection: dense, pca or head",
            got=f"{taught}",
            hint=Phrase(
                "set {} for vectors of the teacher's size, pca or head to keep the student's",
                Option("projection", "dense"),
            ),
        )
    if options.projection == "pca" and taught < own:
        raise ConfigError(
            "a principal component analysis makes vectors smaller, not larger",
            where=asked,
            expected=f"a teacher with more than {own} numbers",
            got=f"{taught}",
            hint=Phrase("set {} or head", Option("projection", "dense")),
        )


def require_sound_teacher(options: TrainBiOptions, folder: Path) -> None:
    """Refuse a teacher whose settings do not fit each other, such as one that has lost a module, or that lacks the prompt
    of its kind: all runs would learn it.

    Raises:
        DataError: names the first thing that is wrong.
    """
    found = lint_model(str(options.teacher), folder)
    wrong = [finding for finding in found if finding.severity == "error" or finding.code == "missing-prompt"]
    if wrong:
        raise DataError(
            f"this teacher is not sound: {wrong[0].message}",
            where=options.option("teacher", options.teacher),
            got=wrong[0].example or None,
            hint=wrong[0].remedy,
        )


def add_dense(model: SentenceTransformer, size: int, seed: int) -> None:
    """A last layer that gives a student's vectors another size, and is saved with it; before a closing normalisation."""
    own = int(model.get_embedding_dimension() or 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = Dense(own, size, bias=False, activation_function=nn.Identity()).to(model.device)
    normalised = isinstance(model[-1], Normalize)
    model.append(layer)
    if normalised:
        model.append(Normalize())


def reduced(sets: Sequence[TrainRows], size: int) -> list[TrainRows]:
    """The teacher's vectors of all sets in fewer dimensions, by one principal component analysis of them all.

    Directions are kept from the origin, not from the mean, for cosines are taken from there.

    Args:
        sets: of which some have vectors. size: of the student's.
    """
    every = np.concatenate([one.vectors for one in sets if one.vectors is not None])
    if len(every) < size:
        raise DataError(
            "too few texts for a principal component analysis of the teacher's vectors",
            expected=f"at least {size:,}",
            got=f"{len(every):,}",
        )
    axes = principal_directions(every)[0][:, :size].astype(np.float32)
    return [one if one.vectors is None else replace(one, vectors=normalise(one.vectors @ axes)) for one in sets]


def distils(sets: Sequence[TrainRows]) -> bool:
    """True if some set learns a teacher's vectors."""
    return any(one.objective.name in DISTILLING for one in sets)
