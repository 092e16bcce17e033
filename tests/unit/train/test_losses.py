"""Losses against sentence-transformers' own definitions and against sums written out, with and without missing texts."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import (
    AnglELoss,
    ContrastiveLoss,
    CoSENTLoss,
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
    OnlineContrastiveLoss,
    TripletLoss,
)
from sentence_transformers.sentence_transformer.losses.triplet import TripletDistanceMetric
from torch import Tensor, nn

from munjang.train import cross_losses
from munjang.train.losses import Matryoshka, SoftmaxHead, distributions, make_loss, margins, multiple_negatives
from munjang.train.options import TrainBiOptions

N, D = 6, 8
MODEL = SimpleNamespace(device=torch.device("cpu"), get_embedding_dimension=lambda: D)


def options(**values) -> TrainBiOptions:
    return TrainBiOptions(name="m", model="m", train=["t"], dev="d", **values)


def some(k: int, seed: int = 0) -> Tensor:
    return torch.randn((N, k, D), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def full(vectors: Tensor) -> Tensor:
    """Every text another one."""
    return torch.arange(vectors.shape[0] * vectors.shape[1]).view(vectors.shape[:2])


SCORES = torch.tensor([0.0, 0.2, 0.5, 0.5, 0.8, 1.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "theirs", "targets"),
    [
        ("cosent", CoSENTLoss(nn.Identity()), SCORES),
        ("angle", AnglELoss(nn.Identity()), SCORES),
        ("cosine", CosineSimilarityLoss(nn.Identity()), SCORES),
        ("contrastive", ContrastiveLoss(nn.Identity(), margin=0.5), (SCORES >= 0.5).double()),
        ("online-contrastive", OnlineContrastiveLoss(nn.Identity(), margin=0.5), (SCORES >= 0.5).double()),
    ],
)
def test_losses_of_scored_pairs_are_those_of_sentence_transformers(name: str, theirs: nn.Module, targets) -> None:
    vectors = some(2)
    ours = make_loss(name, MODEL, options())(vectors, full(vectors), targets)
    assert ours.item() == pytest.approx(
        theirs.compute_loss_from_embeddings([vectors[:, 0], vectors[:, 1]], targets).item(), rel=1e-12
    )


@pytest.mark.parametrize("k", [2, 3, 5])
def test_multiple_negatives_are_those_of_sentence_transformers(k: int) -> None:
    vectors = some(k)
    theirs = MultipleNegativesRankingLoss(nn.Identity()).compute_loss_from_embeddings(list(vectors.unbind(1)), None)
    assert multiple_negatives(20.0)(vectors, full(vectors), None).item() == pytest.approx(theirs.item(), rel=1e-9)


def test_triplet_loss_is_a_margin_of_cosine_distance() -> None:
    vectors = some(3)
    theirs = TripletLoss(nn.Identity(), TripletDistanceMetric.COSINE, 0.3)
    expected = theirs.compute_loss_from_embeddings(list(vectors.unbind(1)), None)
    found = make_loss("triplet", MODEL, options(margin=0.3))(vectors, full(vectors), None)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_distributions_are_kullback_leibler_over_each_list() -> None:
    vectors, teacher = some(4), torch.randn((N, 3), dtype=torch.float64)
    cosines = nn.functional.cosine_similarity(vectors[:, :1], vectors[:, 1:], dim=-1)
    expected = nn.functional.kl_div(
        (5.0 * cosines).log_softmax(1), teacher.log_softmax(1), log_target=True, reduction="batchmean"
    )
    found = distributions(5.0)(vectors, full(vectors), teacher)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_margins_are_those_of_the_paper_over_a_triplet() -> None:
    vectors, teacher = some(3), torch.randn((N, 2), dtype=torch.float64)
    near, far = (nn.functional.cosine_similarity(vectors[:, 0], vectors[:, i]) for i in (1, 2))
    expected = nn.functional.mse_loss(20 * (near - far), teacher[:, 0] - teacher[:, 1])
    assert margins(20.0)(vectors, full(vectors), teacher).item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("loss", [multiple_negatives(20.0), distributions(20.0), margins(20.0)])
def test_missing_texts_of_a_list_count_for_nothing(loss) -> None:
    """A batch of short lists, padded with anything, gives the value and the gradients of the short batch."""
    short, teacher = some(3), torch.randn((N, 2), dtype=torch.float64)
    long = torch.cat([short, torch.zeros((N, 2, D), dtype=torch.float64)], dim=1).requires_grad_()
    texts = torch.cat([full(short), torch.full((N, 2), -1)], dim=1)
    padded = torch.cat([teacher, torch.zeros((N, 2), dtype=torch.float64)], dim=1)
    short = short.requires_grad_()
    first, second = loss(short, full(short), teacher), loss(long, texts, padded)
    assert first.item() == pytest.approx(second.item(), rel=1e-9)
    first.backward()
    second.backward()
    assert torch.allclose(long.grad[:, :3], short.grad, atol=1e-12)
    assert long.grad.isfinite().all()


def test_what_a_row_may_not_push_away_does_not_count() -> None:
    """Rows that repeat a text, and texts of a list that are judged as good as the best, are as if they were not there."""
    loss, vectors = multiple_negatives(20.0), some(3)
    texts = full(vectors)
    texts[1, 1] = texts[0, 1]  # the same answer
    texts[2, 1] = texts[0, 0]  # an answer that is the first question
    units = nn.functional.normalize(vectors, dim=-1)
    cosines = 20 * units[:, 0] @ units[:, 1:].reshape(2 * N, D).T
    cosines[0, [2, 4]] = -torch.inf
    cosines[1, 0] = -torch.inf
    expected = nn.functional.cross_entropy(cosines, torch.arange(N) * 2)
    assert loss(vectors, texts, None).item() == pytest.approx(expected.item())
    judged = torch.tensor([[1.0, 1.0]] + [[1.0, 0.0]] * (N - 1), dtype=torch.float64)
    cosines[0, 1] = -torch.inf
    expected = nn.functional.cross_entropy(cosines, torch.arange(N) * 2)
    assert loss(vectors, texts, judged).item() == pytest.approx(expected.item())


def test_one_text_for_all_teaches_nothing_and_breaks_nothing() -> None:
    vectors = some(2).requires_grad_()
    value = multiple_negatives(20.0)(vectors, torch.tensor([[i, 99] for i in range(N)]), None)
    value.backward()
    assert value.item() == 0
    assert not vectors.grad.any()


def test_a_softmax_head_classifies_u_v_and_their_difference() -> None:
    torch.manual_seed(1)
    head, vectors = SoftmaxHead(D).double(), some(2)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    u, v = vectors[:, 0], vectors[:, 1]
    expected = nn.functional.cross_entropy(head.linear(torch.cat([u, v, (u - v).abs()], 1)), classes)
    assert head(vectors, full(vectors), classes).item() == pytest.approx(expected.item())
    # Chance over three classes is log 3: the head has to learn.
    assert abs(expected.item() - math.log(3)) < 0.5


def test_matryoshka_is_the_mean_over_the_dimensions() -> None:
    vectors = some(2)
    loss = make_loss("cosent", MODEL, options(matryoshka=[2, 4]))
    alone = [make_loss("cosent", MODEL, options())(vectors[..., :size], full(vectors), SCORES) for size in (D, 4, 2)]
    assert isinstance(loss, Matryoshka)
    assert loss(vectors, full(vectors), SCORES).item() == pytest.approx(torch.stack(alone).mean().item())


def test_matryoshka_gives_each_dimension_a_head_of_its_own() -> None:
    loss = make_loss("softmax", MODEL, options(matryoshka=[4]))
    assert [tuple(p.shape) for p in loss.parameters() if p.ndim == 2] == [(3, 3 * D), (3, 12)]
    vectors = some(2).float()
    assert loss(vectors, full(vectors), torch.tensor([0, 1, 2, 0, 1, 2])).isfinite()


# -- cross-encoders


def test_listnet_is_the_cross_entropy_of_two_distributions() -> None:
    logits, targets = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    wanted, found = torch.tensor([1.0, 0.0]).softmax(0), torch.tensor([1.0, 2.0]).log_softmax(0)
    assert cross_losses.listnet(logits, mask, targets).item() == pytest.approx(-(wanted * found).sum().item())


def test_binary_and_margins_leave_out_what_is_missing() -> None:
    logits, mask = torch.tensor([[1.0, -1.0, 50.0]]), torch.tensor([[True, True, False]])
    judged = torch.tensor([[2.0, 0.0, 0.0]])
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(-1))) / 2
    assert cross_losses.relevant_or_not(logits, mask, judged).item() == pytest.approx(expected)
    assert cross_losses.margins(logits, mask, judged).item() == pytest.approx(0.0)
    assert cross_losses.margins(logits, mask, torch.tensor([[5.0, 0.0, 0.0]])).item() == pytest.approx(9.0)


def test_scores_and_classes() -> None:
    logits, mask = torch.tensor([[0.0], [2.0]]), torch.ones((2, 1), dtype=torch.bool)
    targets = torch.tensor([0.5, 1.0])
    assert cross_losses.squared_error(logits, mask, targets).item() == pytest.approx(
        (1 - 1 / (1 + math.exp(-2))) ** 2 / 2
    )
    expected = (math.log(2) + math.log1p(math.exp(-2))) / 2
    assert cross_losses.binary_cross_entropy(logits, mask, targets).item() == pytest.approx(expected)
    three = torch.tensor([[0.0, 0.0, 0.0]])
    assert cross_losses.cross_entropy(three, mask[:1], torch.tensor([2])).item() == pytest.approx(math.log(3))


def test_scores_within_the_tolerance_have_no_order() -> None:
    scores = torch.tensor([0.0, 0.05, 0.5, 0.58])
    vectors = torch.randn(4, 2, D, generator=torch.Generator().manual_seed(3), requires_grad=True)
    apart = make_loss("cosent", MODEL, options(), 0.1)(vectors, full(vectors), scores)
    cosines = 20 * torch.nn.functional.cosine_similarity(vectors[:, 0], vectors[:, 1])
    gaps = [cosines[i] - cosines[j] for i in (0, 1) for j in (2, 3)]
    assert torch.allclose(apart, torch.log(1 + torch.stack(gaps).exp().sum()), atol=1e-5)
    strict = make_loss("cosent", MODEL, options())(vectors, full(vectors), scores)
    none = make_loss("cosent", MODEL, options(), 1e-9)(vectors, full(vectors), scores)
    assert torch.allclose(strict, none, atol=1e-5)
    nothing = make_loss("cosent", MODEL, options(), 0.6)(vectors, full(vectors), scores)
    nothing.backward()
    assert float(nothing) == 0
    assert float(vectors.grad.abs().max()) == 0
