"""The rows of a word embedding that a training can touch, taken out of the matrix and put back afterwards.

A multilingual vocabulary of 250,000 pieces is four fifths of a small model. Plain AdamW moves all of it at every step,
although a domain's texts use a few thousand pieces: 60% of a step is spent on rows whose gradient is zero. Training a
matrix of the used rows is the same computation for these rows; the others keep their values instead of shrinking by
weight decay, a factor of 1 - 1e-7 or so a step.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from munjang.errors import DataError


class UsedRows(nn.Module):
    """Stands in for an `nn.Embedding` and trains the rows for some token ids; other tokens get their old vectors.

    Args:
        whole: the embedding that is replaced; its matrix stays as it is until `put_back`.
        used: ids of the tokens of the training.
    """

    def __init__(self, whole: nn.Embedding, used: Iterable[int]) -> None:
        super().__init__()
        device = whole.weight.device
        ids = torch.tensor(sorted({int(i) for i in used}), dtype=torch.long, device=device)
        place = torch.full((whole.weight.shape[0],), -1, dtype=torch.long, device=device)
        place[ids] = torch.arange(len(ids), device=device)
        self.weight = nn.Parameter(whole.weight.detach()[ids].clone())
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("place", place, persistent=False)
        # In a list, so that the whole matrix is no part of this module: it is neither trained nor counted nor saved.
        self._whole = [whole]

    def forward(self, token_ids: Tensor) -> Tensor:
        """Vectors of tokens: shape (..., dimension)."""
        place = self.place[token_ids]
        vectors = nn.functional.embedding(place.clamp(min=0), self.weight)
        missing = place < 0
        if not missing.any():
            return vectors
        old = nn.functional.embedding(token_ids, self._whole[0].weight.detach())
        return torch.where(missing.unsqueeze(-1), old, vectors)

    @torch.no_grad()
    def put_back(self) -> nn.Embedding:
        """Write the rows into the whole matrix, and return the embedding that was replaced."""
        whole = self._whole[0]
        whole.weight[self.ids] = self.weight.to(whole.weight.dtype)
        return whole


class UsedBagRows(UsedRows):
    """The same for an `nn.EmbeddingBag` that takes the mean of the tokens of each text."""

    def forward(self, token_ids: Tensor, offsets: Tensor) -> Tensor:
        """Means of the vectors of tokens: (texts, dimension), 0 for a text without any.

        Args:
            token_ids: of all texts, one after the other. offsets: where each text begins.
        """
        vectors = super().forward(token_ids)
        lengths = torch.diff(offsets, append=offsets.new_tensor([len(token_ids)]))
        owners = torch.repeat_interleave(torch.arange(len(offsets), device=offsets.device), lengths)
        sums = vectors.new_zeros((len(offsets), vectors.shape[1])).index_add(0, owners, vectors)
        return sums / lengths.clamp(min=1)[:, None].to(sums.dtype)


def word_embedding(model: nn.Module) -> tuple[nn.Module, str, nn.Module]:
    """Where a model keeps its word embeddings: (parent, attribute, module).

    Raises:
        DataError: the model has none.
    """
    body = next((m for m in model.modules() if hasattr(m, "get_input_embeddings")), None)
    bags = (m for m in model.modules() if isinstance(m, nn.EmbeddingBag))
    found = body.get_input_embeddings() if body is not None else next(bags, None)
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is found:
                return parent, name, child
    raise DataError("this model has no word embeddings to train on")


def keep_used_rows(model: nn.Module, used: Iterable[int]) -> UsedRows | None:
    """Let a model train on the used rows of its word embeddings.

    None, and nothing changed, where another layer uses the same matrix or the embedding is of a kind of its own.
    """
    whole = word_embedding(model)[2]
    owners = {(id(m), key) for m in model.modules() for key, p in m._parameters.items() if p is whole.weight}
    kind = {nn.Embedding: UsedRows, nn.EmbeddingBag: UsedBagRows}.get(type(whole))
    if len(owners) > 1 or kind is None or getattr(whole, "mode", "mean") != "mean":
        return None
    rows = kind(whole, used)
    # Some models hold the same embedding in two places; none of them may go on with the whole one.
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is whole:
                setattr(parent, name, rows)
    return rows


def restore_all_rows(model: nn.Module, rows: UsedRows) -> None:
    """Undo `keep_used_rows`: the whole matrix comes back with the trained rows in it."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is rows:
                setattr(parent, name, rows.put_back())
