"""An encoder that computes nothing for padding: the tokens of a batch stand one after the other, and only attention sees
texts side by side.

Most of a training step is matrix products over tokens, and they run at the machine's rate for them; what is left to save
is the tokens that are padding. The layers of BERT's family are used as they are, module by module, so weights,
adapters and names stay where they were.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as Output

#: Families whose layers have the parts that are used here.
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
#: How the plain encoder may attend: its masks tell which tokens there are.
_ATTENTION = (None, "eager", "sdpa")
#: Largest difference to the plain encoder, of values of about 1, that rounding explains.
_TOLERANCE = 1e-4


class PackedEncoder(nn.Module):
    """Stands in for the encoder of a transformer while it is trained; in evaluation mode it is the plain one.

    Args:
        plain: the encoder that is replaced; its layers keep their names.
        heads: of attention.
        dropout: of attention's weights.
        recompute: compute activations again in the backward pass.
    """

    def __init__(self, plain: nn.Module, heads: int, dropout: float, recompute: bool = False) -> None:
        super().__init__()
        self.layer = plain.layer
        self.heads, self.dropout, self.recompute = heads, dropout, recompute
        # In a list, so that its layers are not registered twice.
        self._plain = [plain]

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **more: Any) -> Any:
        """States of all tokens: (n, length, d), 0 where there is padding."""
        if not self.training:
            return self._plain[0].train(False)(hidden_states, attention_mask=attention_mask, **more)
        return Output(last_hidden_state=self.packed(hidden_states, attention_mask))

    def packed(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """The states without computing padding.

        Args:
            hidden: (n, length, d) of the embeddings.
            attention_mask: (n, 1, length, length) as transformers makes it, bool or added to scores; None for no padding.
        """
        n, length, d = hidden.shape
        kept = torch.ones((n, length), dtype=torch.bool, device=hidden.device)
        if attention_mask is not None:
            row = attention_mask[:, 0, 0, :]
            kept = row if row.dtype == torch.bool else row == 0
        index = kept.flatten().nonzero().squeeze(1)
        bias = torch.zeros((n, 1, 1, length), dtype=hidden.dtype, device=hidden.device)
        bias = bias.masked_fill(~kept[:, None, None, :], torch.finfo(hidden.dtype).min)
        states = hidden.flatten(0, 1)[index]
        for layer in self.layer:
            arguments = (layer, states, index, bias, (n, length))
            again = self.recompute and torch.is_grad_enabled()
            states = checkpoint(self._through, *arguments, use_reentrant=False) if again else self._through(*arguments)
        return hidden.new_zeros((n * length, d)).index_copy(0, index, states.to(hidden.dtype)).view(n, length, d)

    def _through(self, layer: Any, states: Tensor, index: Tensor, bias: Tensor, shape: tuple[int, int]) -> Tensor:
        own = layer.attention.self

        def apart(values: Tensor) -> Tensor:
            """(tokens, d) as (n, heads, length, d / heads), 0 where there is padding."""
            whole = values.new_zeros((shape[0] * shape[1], values.shape[1])).index_copy(0, index, values)
            return whole.view(*shape, self.heads, -1).transpose(1, 2)

        query, key, value = (apart(part(states)) for part in (own.query, own.key, own.value))
        attend = attend_fused if states.is_cuda else attend_plainly
        found = attend(query, key, value, bias, self.dropout if self.training else 0.0)
        seen = found.transpose(1, 2).flatten(0, 1).flatten(1)[index]
        states = self._added(layer.attention.output, seen, states)
        return self._added(layer.output, layer.intermediate(states), states)

    def _added(self, part: Any, values: Tensor, states: Tensor) -> Tensor:
        return part.LayerNorm(dropout(part.dense(values), part.dropout.p, self.training) + states)


def attend_plainly(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, p: float) -> Tensor:
    """Attention as its formula says, with the cheap dropout of this module; on a CPU.

    Args:
        query, key, value: (n, heads, length, size).
        bias: (n, 1, 1, length), added to the scores.
        p: share of the weights that are dropped.
    """
    weights = (query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + bias).softmax(dim=-1)
    return dropout(weights, p, p > 0) @ value


def attend_fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, p: float) -> Tensor:
    """The same by the kernel that torch chooses, on a GPU flash or memory-efficient attention: see `attend_plainly`."""
    whole = not bool((bias < 0).any())
    mask = None if whole else bias.to(query.dtype).expand(-1, -1, query.shape[2], -1)
    return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p)


def dropout(values: Tensor, p: float, training: bool) -> Tensor:
    """Zero a share of the values and scale up the others, as `torch.nn.functional.dropout` does.

    On a CPU torch draws a number of its own for every value, which takes a visible part of a step; 16 bits decide as well.

    Args:
        values: of any shape.
        p: share, in steps of 1/65536.
        training: False leaves the values as they are.
    """
    if not training or p == 0:
        return values
    if values.device.type != "cpu":
        return nn.functional.dropout(values, p, True)
    drawn = torch.empty((values.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = drawn.view(torch.int16)[: values.numel()].view(values.shape)
    return values * (bits >= round(p * 2**16) - 2**15).to(values.dtype).mul_(1 / (1 - p))


def pack(body: Any, recompute: bool = False) -> PackedEncoder | None:
    """Let a body train without padding; None, and nothing changed, where that is not the same computation.

    Args:
        body: such as a `BertModel`.
        recompute: compute activations again in the backward pass: a third more time for much less memory.
    """
    config = body.config
    attention = getattr(config, "_attn_implementation", None)
    # Other ways to attend take masks of other shapes.
    if config.model_type not in FAMILIES or getattr(config, "is_decoder", False) or attention not in _ATTENTION:
        return None
    plain, training = body.encoder, body.training
    found = PackedEncoder(plain, config.num_attention_heads, config.attention_probs_dropout_prob, recompute)
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn((2, 5, config.hidden_size), generator=draw).to(next(body.parameters()).device)
    kept = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
    kept[0, -2:] = False
    mask = kept[:, None, None, :].expand(-1, 1, hidden.shape[1], -1)
    if attention == "eager":  # which adds its mask to the scores
        mask = torch.zeros(mask.shape, device=hidden.device).masked_fill(~mask, torch.finfo(hidden.dtype).min)
    body.eval()
    found.eval()
    with torch.inference_mode():
        expected = plain(hidden, attention_mask=mask)
        expected = expected[0] if isinstance(expected, tuple) else expected.last_hidden_state
        gap = (found.packed(hidden, mask) - expected)[kept].abs().max()
    body.train(training)
    found.train(training)
    if not bool(gap < _TOLERANCE):
        return None
    body.encoder = found
    return found


def unpack(body: Any, packed: PackedEncoder) -> None:
    """Undo `pack`."""
    body.encoder = packed._plain[0]
