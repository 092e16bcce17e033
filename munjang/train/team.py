"""Several processes that train one model: `torchrun` or `accelerate launch` start them, this module joins them.

A batch means the same for one process and for many. Each process computes the vectors (or scores) of its share of a
batch's texts, all of them gather the whole, and each takes the loss of the whole; so in-batch objectives see the same
negatives, and a recipe gives the same model on one device and on eight, up to rounding and dropout. Gradients of the
shares are added up.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

_T = TypeVar("_T")
#: A process waits this long for the others: dev is scored, and stages without training run, by the first alone.
_PATIENCE = datetime.timedelta(hours=12)


class Team:
    """The processes of a training; by itself, a team of one that does nothing.

    Args:
        rank: number of this process, from 0; the one of rank 0 leads: it scores dev and writes.
        size: how many there are.
        device: where what they exchange lies.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: str = "cpu") -> None:
        self.rank, self.size, self.device = rank, size, device

    @property
    def leads(self) -> bool:
        """True for the process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[_T]) -> Sequence[_T]:
        """This process's part: shares are disjoint, and complete together."""
        return items[self.rank :: self.size]

    def whole(self, own: int, own_tokens: int, tokens: int) -> int:
        """What all processes compute, by what this one does for its share of the tokens."""
        return round(own * tokens / own_tokens) if own_tokens else tokens

    def gather(self, own: Tensor, count: int) -> Tensor:
        """The rows of all shares in the order of the items; gradients flow into this process's own rows.

        Args:
            own: (len(share), ...) of this process.
            count: items in all.
        """
        if self.size == 1:
            return own
        longest = -(-count // self.size)
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(parts, padded)
        parts[self.rank] = torch.cat([own, padded[len(own) :]])
        # Item i is row i // size of the share i % size.
        return torch.stack(parts, dim=1).flatten(0, 1)[:count]

    def add_gradients(self, parameters: Iterable[nn.Parameter], whole: set[int]) -> None:
        """Add up the gradients of all processes, in one exchange; what has none anywhere keeps none.

        Args:
            parameters: in the same order everywhere.
            whole: ids of parameters whose gradient is that of the whole batch already; these are averaged.
        """
        if self.size == 1:
            return
        wanted = list(parameters)
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in wanted]
        there = pieces[0].new_tensor([float(p.grad is not None) for p in wanted], dtype=torch.float32)
        flat = torch.cat([*(piece.flatten().float() for piece in pieces), there])
        distributed.all_reduce(flat)
        at = 0
        for parameter, piece, count in zip(wanted, pieces, flat[-len(wanted) :].tolist(), strict=True):
            added = flat[at : at + piece.numel()].view_as(piece).to(piece.dtype)
            if count:
                parameter.grad = added / self.size if id(parameter) in whole else added
            at += piece.numel()

    def any(self, flag: bool) -> bool:
        """True if it is for any process."""
        return (self.size > 1 and self.total(torch.tensor(float(flag), device=self.device)) > 0) or flag

    def total(self, part: Tensor) -> float:
        """The sum of one number over all processes."""
        value = part.detach().clone().float()
        if self.size > 1:
            distributed.all_reduce(value)
        return float(value)

    def agree(self, value: Any) -> Any:
        """The value of the process that leads; any JSON value."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            distributed.barrier()


def join_team(device: str) -> Team:
    """The team that this process was started in: of one, unless WORLD_SIZE says otherwise.

    Args:
        device: `cuda` takes NCCL and the GPU of LOCAL_RANK, anything else gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team()
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_PATIENCE)
    return Team(distributed.get_rank(), distributed.get_world_size(), device)


def leave_team() -> None:
    """Close the connections to the other processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
