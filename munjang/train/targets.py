"""What is asked of each example of a set, as tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from munjang.train.examples import Example


class TargetTable:
    """The targets of a set's examples: none, one number each, or one for each text of a list.

    Args:
        examples: of one set, so all of one kind.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        self.targets = [example.target for example in examples]
        self.lists = isinstance(self.targets[0], tuple)
        whole = isinstance(self.targets[0], int)
        self.dtype = torch.long if whole else torch.float32

    def of(self, rows: Sequence[int], width: int, device: torch.device) -> Tensor | None:
        """Targets of some rows: (n,), or (n, width) with 0 where a list is shorter; None if there are none."""
        wanted = [self.targets[row] for row in rows]
        if wanted[0] is None:
            return None
        if self.lists:
            wanted = [[*target, *[0.0] * (width - len(target))] for target in wanted]
        return torch.tensor(wanted, dtype=self.dtype, device=device)


class VectorTable:
    """A teacher's vectors as targets.

    Args:
        vectors: float32 (examples before repetition, d).
    """

    lists = False

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))

    def of(self, rows: Sequence[int], width: int, device: torch.device) -> Tensor:
        """Targets of some rows: (n, d); a repeated example has the vector of its first."""
        places = torch.tensor(rows) % len(self.vectors)
        return self.vectors[places].to(device)
