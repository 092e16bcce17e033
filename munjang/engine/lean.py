"""The forward pass of BERT's family without padding, masks or the dispatch of a general library.

The tokens of a batch stand one after the other, (tokens, d); every product but attention is one over all of them.
Texts of one length attend together, so attention needs no padding either: what a text gets does not depend on the
others in its batch but for the rounding of larger matrix products. Query, key and value are one product. On a CPU
weights are laid out once for its products, and GELU is computed as a product's tiles are finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

#: Families whose layers have the parts that are used here.
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")
_Product = Callable[[Tensor], Tensor]


class Group(NamedTuple):
    """Texts of one length, beside each other in a batch."""

    texts: int
    length: int


class Packed(NamedTuple):
    """Token ids of texts without padding, the texts of one length together."""

    ids: Tensor
    """int64 (tokens,)."""
    types: Tensor | None
    """int64 (tokens,); None for all 0."""
    groups: tuple[Group, ...]

    @property
    def starts(self) -> Tensor:
        """Where each text begins, and the end of the last: int64 (texts + 1,)."""
        lengths = [length for count, length in self.groups for _ in range(count)]
        return torch.tensor([0, *np.cumsum(lengths, dtype=np.int64).tolist()])


def pack(ids: Sequence[np.ndarray], types: Sequence[np.ndarray] | None = None) -> Packed:
    """Put texts one after the other.

    Args:
        ids: of each text, texts of equal length beside each other.
        types: token types, as `ids`.
    """
    groups: list[Group] = []
    for row in ids:
        if groups and groups[-1].length == len(row):
            groups[-1] = Group(groups[-1].texts + 1, len(row))
        else:
            groups.append(Group(1, len(row)))
    joined = torch.from_numpy(np.concatenate(ids).astype(np.int64))
    kinds = None if types is None else np.concatenate(types).astype(np.int64)
    return Packed(joined, None if kinds is None or not kinds.any() else torch.from_numpy(kinds), tuple(groups))


class LeanBody:
    """A body of BERT's family, as functions of its weights.

    Args:
        body: such as a `BertModel`; its weights are copied into the order of the products, so a body that is trained
            further needs another one of these.

    Raises:
        NotLeanError: there is a part in it that is computed in another way.
    """

    def __init__(self, body: Any) -> None:
        config = body.config
        if (
            config.model_type not in FAMILIES
            or getattr(config, "is_decoder", False)
            or getattr(config, "position_embedding_type", "absolute") not in (None, "absolute")
            or config.hidden_act != "gelu"
        ):
            raise NotLeanError
        self.heads, self.size = config.num_attention_heads, config.hidden_size
        self._embeddings = body.embeddings
        self._offset = 0 if config.model_type == "bert" else int(config.pad_token_id) + 1
        self._layers = [_Layer(layer) for layer in body.encoder.layer]

    def states(self, packed: Packed, first_only: bool = False) -> Tensor:
        """States of the last layer.

        Args:
            packed: texts.
            first_only: of each text's first token only, for which the last layer then computes nothing else.

        Returns:
            (tokens, d), or (texts, d).
        """
        states = self._embedded(packed)
        for layer in self._layers[:-1]:
            states = layer(states, packed.groups, self.heads)
        return self._layers[-1](states, packed.groups, self.heads, packed.starts[:-1] if first_only else None)

    def _embedded(self, packed: Packed) -> Tensor:
        own = self._embeddings
        positions = torch.cat([torch.arange(length).repeat(count) for count, length in packed.groups]) + self._offset
        states = own.word_embeddings(packed.ids) + own.position_embeddings(positions)
        states += (
            own.token_type_embeddings.weight[0] if packed.types is None else own.token_type_embeddings(packed.types)
        )
        return own.LayerNorm(states)


class NotLeanError(Exception):
    """A model is not one that can be computed in this way."""


class _Layer:
    """One layer: attention, then two products with GELU between them, each added to what came in and normalised."""

    def __init__(self, layer: Any) -> None:
        own, after = layer.attention.self, layer.attention.output
        projections = [own.query, own.key, own.value]
        plain = [*projections, after.dense, layer.intermediate.dense, layer.output.dense]
        # Adapters and quantised products say that they are linear and compute something else.
        if any(type(part) is not nn.Linear or part.bias is None for part in plain):
            raise NotLeanError
        weight = torch.cat([part.weight.detach() for part in projections])
        bias = torch.cat([part.bias.detach() for part in projections])
        self.projected = product(weight, bias)
        self._seen = product(after.dense.weight.detach(), after.dense.bias.detach())
        self._wide = product(layer.intermediate.dense.weight.detach(), layer.intermediate.dense.bias.detach(), True)
        self._narrow = product(layer.output.dense.weight.detach(), layer.output.dense.bias.detach())
        self._norms = after.LayerNorm, layer.output.LayerNorm

    def __call__(self, states: Tensor, groups: Sequence[Group], heads: int, only: Tensor | None = None) -> Tensor:
        """The layer's states for all tokens (tokens, d), or for those at the positions `only`, the first of each text."""
        seen = self._attend(self.projected(states), groups, heads, only is not None)
        states = self._norms[0](self._seen(seen).add_(states if only is None else states[only]))
        return self._norms[1](self._narrow(self._wide(states)).add_(states))

    def _attend(self, projected: Tensor, groups: Sequence[Group], heads: int, first: bool) -> Tensor:
        size = projected.shape[1] // 3
        rows = sum(group.texts for group in groups) if first else len(projected)
        seen = projected.new_empty((rows, size))
        start = begin = 0
        for texts, length in groups:
            end = start + texts * length
            query, key, value = projected[start:end].view(texts, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            if first:
                query = query[:, :, :1]
            here = seen[begin : begin + texts * query.shape[2]]
            found = functional.scaled_dot_product_attention(query, key, value)
            here.view(texts, -1, heads, size // heads).copy_(found.transpose(1, 2))
            start, begin = end, begin + len(here)
        return seen


def product(weight: Tensor, bias: Tensor, gelu: bool = False) -> _Product:
    """x -> x W' + b, then GELU if asked for: (n, in) -> (n, out), a tensor of its own.

    Where torch has them, its products with weights that are laid out beforehand are used; they are what its own
    compiler emits for a CPU.
    """
    packed = _laid_out(weight)
    if packed is not None:
        run = torch.ops.mkldnn._linear_pointwise
        kind, how = ("gelu", "none") if gelu else ("none", "")
        return lambda x: run(x, packed, bias, kind, [], how)
    if gelu:
        return lambda x: functional.gelu(functional.linear(x, weight, bias))
    return lambda x: functional.linear(x, weight, bias)


def _laid_out(weight: Tensor) -> Tensor | None:
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return None
    try:
        return torch.ops.mkldnn._reorder_linear_weight(weight, 512)
    except (AttributeError, RuntimeError):  # a build of torch without it
        return None
