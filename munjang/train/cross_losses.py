"""The losses of cross-encoders: from the logits of a batch to one number.

Each is a function of (logits, mask, targets). Of scored and labelled pairs, logits are (n, outputs) and targets (n,); of
lists, logits are (n, k), mask is (n, k) with False where a list has fewer texts than the longest, targets (n, k).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def binary_cross_entropy(logits: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Between scores on 0..1 and the sigmoid of one output."""
    return functional.binary_cross_entropy_with_logits(logits[:, 0], targets)


def squared_error(logits: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Between scores on 0..1 and the sigmoid of one output."""
    return functional.mse_loss(logits[:, 0].sigmoid(), targets)


def cross_entropy(logits: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Over classes."""
    return functional.cross_entropy(logits, targets.long())


def listnet(logits: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy between the distributions that judgements and logits make over a list (Cao et al. 2007)."""
    found = logits.masked_fill(~mask, -torch.inf).log_softmax(dim=1).masked_fill(~mask, 0)
    wanted = targets.masked_fill(~mask, -torch.inf).softmax(dim=1)
    return -(wanted * found).sum(dim=1).mean()


def relevant_or_not(logits: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Each text of a list by itself: relevant where its judgement is above 0."""
    return functional.binary_cross_entropy_with_logits(logits[mask], (targets[mask] > 0).to(logits))


def margins(logits: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the differences between a list's best text and its others, on raw logits."""
    error = ((logits[:, :1] - logits[:, 1:]) - (targets[:, :1] - targets[:, 1:])) ** 2
    return error[mask[:, 1:]].mean()


LOSSES: Mapping[str, Loss] = {
    "bce": binary_cross_entropy,
    "mse": squared_error,
    "classes": cross_entropy,
    "listnet": listnet,
    "binary": relevant_or_not,
    "margin-mse": margins,
}
