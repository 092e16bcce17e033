"""The losses of bi-encoders: from the vectors of a batch to one number.

Each is a function or a module of (vectors, texts, targets): vectors (n, k, d), the first of each row's k texts against the
others; texts (n, k), a number for each distinct text, -1 where a row has fewer than the longest; targets (n,) or
(n, k - 1), or None.
What sentence-transformers defines is taken from there, so that its figures and ours mean the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    AnglELoss,
    ContrastiveLoss,
    CoSENTLoss,
    CosineSimilarityLoss,
    OnlineContrastiveLoss,
    TripletLoss,
)
from sentence_transformers.sentence_transformer.losses.triplet import TripletDistanceMetric
from torch import Tensor, nn

from munjang.data.cells import NLI_LABELS
from munjang.train.options import TrainBiOptions

Loss = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]


class SoftmaxHead(nn.Module):
    """Classifies (u, v, |u - v|), as Reimers and Gurevych 2019; trained along and thrown away.

    Args:
        dimension: of a vector.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * dimension, len(NLI_LABELS))

    def forward(self, vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        """Cross-entropy of the classes `targets` (n,)."""
        u, v = vectors[:, 0], vectors[:, 1]
        logits = self.linear(torch.cat([u, v, (u - v).abs()], dim=1))
        return nn.functional.cross_entropy(logits, targets)


class Matryoshka(nn.Module):
    """The mean of a loss over the whole vectors and over their first numbers (Kusupati et al. 2022, arXiv 2205.13147).

    Args:
        losses: by dimension; each has its own head, if it has one.
    """

    def __init__(self, losses: dict[int, Loss]) -> None:
        super().__init__()
        self.losses = losses
        self.heads = nn.ModuleList(loss for loss in losses.values() if isinstance(loss, SoftmaxHead))

    def forward(self, vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        """See the module's text."""
        return torch.stack([loss(vectors[..., :size], texts, targets) for size, loss in self.losses.items()]).mean()


def multiple_negatives(scale: float) -> Loss:
    """Cross-entropy of finding each row's second text among all texts of the batch but the first ones.

    What a row cannot be asked to push away does not count: its own first or second text where another row repeats it,
    and texts of its list that are judged as good as the second.

    Args:
        scale: what cosines are multiplied with; 20 is sentence-transformers' default.
    """

    def loss(vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        units = nn.functional.normalize(vectors, dim=-1)
        n, k = texts.shape
        found = scale * units[:, 0] @ units[:, 1:].reshape(n * (k - 1), -1).T
        others, rows = texts[:, 1:].reshape(1, -1), torch.arange(n, device=found.device)
        away = (others < 0) | (others == texts[:, :1]) | (others == texts[:, 1:2])
        if targets is not None and k > 2:
            alike = targets == targets[:, :1]
            own = away.view(n, n, k - 1)[rows, rows] | alike
            away = away.view(n, n, k - 1).index_put((rows, rows), own).view(n, -1)
        away = away.index_put((rows, rows * (k - 1)), torch.zeros(n, dtype=torch.bool, device=found.device))
        return nn.functional.cross_entropy(found.masked_fill(away, -torch.inf), rows * (k - 1))

    return loss


def distributions(scale: float) -> Loss:
    """Kullback-Leibler divergence of the distribution over each list from the teacher's, whose scores are `targets`."""

    def loss(vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        missing = texts[:, 1:] < 0
        found = (scale * _cosines(vectors)).masked_fill(missing, -torch.inf).log_softmax(dim=1)
        wanted = targets.masked_fill(missing, -torch.inf).log_softmax(dim=1)
        # Minus infinity times zero is not a number, also in a gradient: what is missing is set to 0 on both sides.
        found, wanted = found.masked_fill(missing, 0), wanted.masked_fill(missing, 0)
        gaps = (wanted.exp() * (wanted - found)).masked_fill(missing, 0)
        return gaps.sum() / len(vectors)

    return loss


def margins(scale: float) -> Loss:
    """Squared error of the differences between a list's best text and its others (Hofstätter et al. 2020).

    The teacher's scores are raw logits; a cosine times `scale` stands against them, for a vector of length 1 cannot
    reach a logit by itself.
    """

    def loss(vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        found, wanted = scale * _cosines(vectors), targets
        error = ((found[:, :1] - found[:, 1:]) - (wanted[:, :1] - wanted[:, 1:])) ** 2
        there = texts[:, 2:] >= 0
        return torch.where(there, error, torch.zeros_like(error)).sum() / there.sum().clamp_min(1)

    return loss


def _cosines(vectors: Tensor) -> Tensor:
    """Cosine of each row's first text with its others: (n, k - 1)."""
    return nn.functional.cosine_similarity(vectors[:, :1], vectors[:, 1:], dim=-1)


def _of_sides(defined: nn.Module) -> Loss:
    """One of sentence-transformers' losses over columns."""

    def loss(vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        return defined.compute_loss_from_embeddings(list(vectors.unbind(dim=1)), targets)

    return loss


def ranking(scale: float, tolerance: float) -> Loss:
    """CoSENT over the pairs of pairs whose scores differ by more than a tolerance: log(1 + sum of exp(cosine of the lower -
    cosine of the higher)), times the scale.

    Args:
        scale: what cosines are multiplied with. tolerance: on the scale of `targets`.
    """

    def loss(vectors: Tensor, texts: Tensor, targets: Tensor | None) -> Tensor:
        found = scale * _cosines(vectors)[:, 0]
        ordered = targets[:, None] + tolerance < targets[None, :]
        gaps = (found[:, None] - found[None, :])[ordered]
        return torch.logsumexp(torch.cat([gaps.new_zeros(1), gaps]), dim=0)

    return loss


def make_loss(name: str, model: SentenceTransformer, options: TrainBiOptions, tolerance: float = 0.0) -> Loss:
    """The loss behind the name of an objective, at all dimensions that `options.matryoshka` asks for.

    A loss that is a module holds weights that are trained along.

    Args:
        name: of the objective. model: the bi-encoder. options: of the training.
        tolerance: of `cosent`; see `munjang.train.options.TrainSet`.
    """
    whole = int(model.get_embedding_dimension() or 0)
    sizes = sorted({whole, *options.matryoshka}, reverse=True)
    losses = {size: _loss(name, size, model, options, tolerance) for size in sizes}
    return losses[whole] if len(sizes) == 1 else Matryoshka(losses)


def _loss(name: str, dimension: int, model: SentenceTransformer, options: TrainBiOptions, tolerance: float) -> Loss:
    if name == "cosent" and tolerance:
        return ranking(options.similarity_scale, tolerance)
    if name == "softmax":
        return SoftmaxHead(dimension).to(model.device)
    if name in ("mnrl", "simcse"):
        return multiple_negatives(options.similarity_scale)
    if name == "kl":
        return distributions(options.similarity_scale)
    if name == "margin-mse":
        return margins(options.similarity_scale)
    if name == "triplet":
        return _of_sides(TripletLoss(model, TripletDistanceMetric.COSINE, options.margin))
    if name in ("contrastive", "online-contrastive"):
        kind = ContrastiveLoss if name == "contrastive" else OnlineContrastiveLoss
        return _of_sides(kind(model, margin=options.margin))
    if name == "cosine":
        return _of_sides(CosineSimilarityLoss(model))
    return _of_sides({"cosent": CoSENTLoss, "angle": AnglELoss}[name](model, scale=options.similarity_scale))
