"""TSDAE: a decoder restores a sentence from the vector of what deletion left of it.

Wang, Reimers and Gurevych 2021 (arXiv 2104.06979): 60% of the tokens are deleted, the decoder sees the sentence's vector
alone, and its layers share their weights with the encoder's. Only the pieces that occur in the training are predicted:
over a vocabulary of 250,000 the last matrix would cost more than the rest of the step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from munjang.engine.features import Features
from munjang.errors import ConfigError, Option, Phrase
from munjang.train.task import StepLoss
from munjang.train.team import Team
from munjang.train.vocabulary import word_embedding

#: Share of the tokens that are deleted; the paper's best.
DELETED = 0.6
#: Families whose transformers classes can attend to a vector from outside.
FAMILIES = ("bert", "roberta", "xlm-roberta", "electra")
_OTHERWISE = Phrase("adapt it with {}", Option("objective", "simcse"))


class DenoisingDecoder(nn.Module):
    """The decoder of TSDAE, and the loss of a batch.

    Args:
        model: the bi-encoder under training; its encoder's layers serve in the decoder too.
        features: of all texts.
        prompt: tokens of it are never deleted.

    Raises:
        ConfigError: the model's family has no decoder.
    """

    def __init__(self, model: SentenceTransformer, features: Features, prompt: str = "") -> None:
        super().__init__()
        body = model.transformers_model
        if body.config.model_type not in FAMILIES:
            raise ConfigError(
                "tsdae cannot make a decoder for this model",
                expected=" or ".join(FAMILIES),
                got=body.config.model_type,
                hint=_OTHERWISE,
            )
        sizes = {body.config.hidden_size, model.get_embedding_dimension(), body.get_input_embeddings().embedding_dim}
        if len(sizes) > 1:
            raise ConfigError(
                "tsdae needs vectors and word embeddings as wide as the model's states",
                expected=f"{body.config.hidden_size} dimensions",
                got=", ".join(map(str, sorted(sizes))),
                hint=_OTHERWISE,
            )
        config = copy.deepcopy(body.config)
        config.is_decoder, config.add_cross_attention, config.use_cache = True, True, False
        self.layers = nn.ModuleList(_decoder_layers(body, config)).to(model.device)
        self._model, self._features = [model], features
        special = set(model.tokenizer.all_special_ids)
        ids = features.used.tolist()
        self._ids = torch.tensor(ids, device=model.device)
        self._place = torch.full((max(ids) + 1,), -1, device=model.device)
        self._place[self._ids] = torch.arange(len(ids), device=model.device)
        # The prompt and the frame of special tokens stay; pieces of the prompt do wherever they stand.
        framed = model.tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
        self._kept = special | set(framed)

    def step(self, team: Team, texts: Sequence[int]) -> StepLoss:
        """The loss of some texts, by their numbers among the features."""
        model: Any = self._model[0]
        own = list(team.share(texts))
        tokens = 2 * sum(self._features.lengths[i] for i in texts)
        if not own:  # more processes than texts
            return StepLoss(torch.zeros((), device=model.device, requires_grad=True), tokens, tokens, partial=True)
        batch = self._features.batch(own)
        whole = batch["input_ids"]
        vectors = model(self._damaged(batch))["sentence_embedding"]
        hidden = self._decode(whole[:, :-1], batch["attention_mask"][:, :-1], vectors)
        wanted = self._place[whole[:, 1:]].masked_fill(batch["attention_mask"][:, 1:] == 0, -100)
        pieces = word_embedding(model)[2](self._ids)
        total = nn.functional.cross_entropy(
            (hidden @ pieces.T).flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum"
        )
        predicted = sum(self._features.lengths[i] - 1 for i in texts)
        mask = batch["attention_mask"]
        computed = team.whole(2 * mask.numel(), 2 * int(mask.sum()), tokens)
        return StepLoss(total / predicted, tokens, computed, partial=True)

    def _damaged(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with most of its tokens deleted, at least one of each text left."""
        ids, mask = batch["input_ids"], batch["attention_mask"].bool()
        kept = torch.isin(ids, torch.tensor(sorted(self._kept), device=ids.device))
        draw = torch.rand(ids.shape, device=ids.device).masked_fill(~mask | kept, -1.0)
        stays = mask & (kept | (draw >= DELETED))
        stays[torch.arange(len(ids), device=ids.device), draw.argmax(dim=1)] = True
        # A stable sort moves what stays to the front in its order; padding follows.
        order = (~stays).to(torch.int8).argsort(dim=1, stable=True)
        width = int(stays.sum(dim=1).max())
        out = {
            name: value.gather(1, order)[:, :width] if isinstance(value, Tensor) and value.shape == ids.shape else value
            for name, value in batch.items()
        }
        out["attention_mask"] = stays.gather(1, order)[:, :width].to(batch["attention_mask"].dtype)
        out["input_ids"] = out["input_ids"].masked_fill(out["attention_mask"] == 0, self._features.pad)
        return out

    def _decode(self, ids: Tensor, mask: Tensor, vectors: Tensor) -> Tensor:
        """States from which the next pieces are read: (n, tokens, d)."""
        body = self._model[0].transformers_model
        hidden = body.embeddings(input_ids=ids)
        n, length = ids.shape
        lowest = torch.finfo(hidden.dtype).min
        future = torch.ones((length, length), dtype=torch.bool, device=ids.device).triu(1)
        hide = future | (mask[:, None, None, :] == 0)
        bias = torch.zeros((n, 1, length, length), dtype=hidden.dtype, device=ids.device).masked_fill(hide, lowest)
        for layer in self.layers:
            found = layer(hidden, attention_mask=bias, encoder_hidden_states=vectors[:, None, :])
            hidden = found[0] if isinstance(found, tuple) else found
        return hidden


def _decoder_layers(body: Any, config: Any) -> list[nn.Module]:
    """Decoder layers that share the encoder's weights; only attention to the vector is new."""
    layers = []
    for number, encoder in enumerate(body.encoder.layer):
        try:
            layer = type(encoder)(config, layer_idx=number)
        except TypeError:
            layer = type(encoder)(config)
        layer.apply(lambda module: _small(module, config.initializer_range))
        for name, child in encoder.named_children():
            setattr(layer, name, child)
        layers.append(layer)
    return layers


def _small(module: nn.Module, deviation: float) -> None:
    """The family's usual first weights."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=deviation)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
