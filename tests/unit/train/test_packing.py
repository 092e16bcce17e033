"""A packed encoder gives the states and gradients of the plain one, and leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig, DistilBertConfig, ElectraConfig, XLMRobertaConfig

from munjang.engine.encoder import Encoder
from munjang.train.packing import PackedEncoder, attend_fused, attend_plainly, dropout, pack, unpack

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"intermediate_size": 24, "max_position_embeddings": 40, "initializer_range": 0.3}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def body(config) -> torch.nn.Module:
    torch.manual_seed(2)
    return AutoModel.from_config(config)


def batch(n: int = 5, length: int = 9) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(4)
    ids = torch.randint(5, 50, (n, length), generator=draw)
    mask = torch.ones_like(ids)
    for row in range(n):
        mask[row, length - row :] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("kind", [BertConfig, XLMRobertaConfig, ElectraConfig])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_states_and_gradients_are_those_of_the_plain_encoder(kind, attention: str) -> None:
    more = {"embedding_size": 16} if kind is ElectraConfig else {}
    model = body(kind(**SIZES, **STILL, **more, attn_implementation=attention))
    inputs = batch()
    kept = inputs["attention_mask"].bool()
    model.train()
    plain = model(**inputs).last_hidden_state
    plain[kept].square().sum().backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    names = [name for name, _ in model.named_parameters()]
    model.zero_grad()
    packed = pack(model)
    assert isinstance(packed, PackedEncoder)
    assert [name for name, _ in model.named_parameters()] == names
    found = model(**inputs).last_hidden_state
    assert torch.allclose(found[kept], plain[kept], atol=1e-5)
    assert not found[~kept].any()  # nothing was computed for padding
    found[kept].square().sum().backward()
    for name, gradient in wanted.items():
        assert torch.allclose(dict(model.named_parameters())[name].grad, gradient, atol=1e-3), name
    unpack(model, packed)
    assert not any(isinstance(module, PackedEncoder) for module in model.modules())


def test_without_padding_and_in_evaluation_it_is_the_same_too() -> None:
    model = body(BertConfig(**SIZES, **STILL))
    inputs = {name: value[:1] for name, value in batch().items()}
    plain = model.eval()(**inputs).last_hidden_state
    pack(model)
    assert torch.allclose(model.train()(**inputs).last_hidden_state, plain, atol=1e-5)
    assert torch.equal(model.eval()(**inputs).last_hidden_state, plain)


def test_other_families_are_left_alone() -> None:
    config = DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=24, max_position_embeddings=40)
    assert pack(body(config)) is None


def test_layers_that_compute_something_else_are_left_alone() -> None:
    model = body(BertConfig(**SIZES))
    own = model.encoder.layer[1].output.forward
    model.encoder.layer[1].output.forward = lambda hidden, states: own(hidden, states) + 0.1
    dense = model.encoder.layer[1].output.dense
    model.encoder.layer[1].output.forward = lambda hidden, states: model.encoder.layer[1].output.LayerNorm(
        1.5 * dense(hidden) + states
    )
    assert pack(model) is None
    assert not isinstance(model.encoder, PackedEncoder)


def test_vectors_of_a_model_in_training_without_dropout_are_its_own(tiny_bi: Path) -> None:
    encoder = Encoder(tiny_bi)
    texts = ["환불은 언제 되나요?", "네", "배송이 늦어요, 어떻게 하나요?"]
    expected = torch.from_numpy(encoder.encode(texts))
    pack(encoder.model.transformers_model)
    encoder.model.train()
    for module in encoder.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, PackedEncoder):
            module.dropout = 0.0
    features = encoder.model.preprocess(texts, prompt=encoder.prompt())
    assert torch.allclose(encoder.model(features)["sentence_embedding"], expected, atol=1e-5)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.0])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(1)
    values = torch.ones(301, 333, requires_grad=True)
    found = dropout(values, p, True)
    share = float((found == 0).float().mean())
    assert share == pytest.approx(p, abs=0.005)
    assert torch.allclose(found[found != 0], torch.tensor(1 / (1 - p)))
    found.sum().backward()
    assert torch.equal(values.grad, found.detach())
    torch.manual_seed(1)
    assert torch.equal(dropout(values, p, True), found)
    assert dropout(values, p, False) is values
    # Neighbours in memory are drawn apart.
    dropped = (found == 0).float().flatten()
    assert float((dropped[1:] * dropped[:-1]).mean()) == pytest.approx(p * p, abs=0.005)


def test_an_encoder_that_attends_in_another_way_is_left_alone() -> None:
    model = body(BertConfig(**SIZES))
    plain = model.encoder
    model.config._attn_implementation_internal = "flash_attention_2"  # which takes masks of another shape
    assert model.config._attn_implementation == "flash_attention_2"
    assert pack(model) is None
    assert model.encoder is plain


@pytest.mark.parametrize("padded", [False, True])
def test_both_ways_to_attend_give_the_same_states_and_gradients(padded: bool) -> None:
    draw = torch.Generator().manual_seed(1)
    parts = [torch.randn((3, 4, 7, 8), generator=draw).requires_grad_() for _ in range(3)]
    bias = torch.zeros((3, 1, 1, 7))
    if padded:
        bias[0, ..., -3:] = torch.finfo(torch.float32).min
    found = [attend(*parts, bias, 0.0) for attend in (attend_plainly, attend_fused)]
    assert torch.allclose(*found, atol=1e-5)
    gradients = [torch.autograd.grad(one.square().sum(), parts) for one in found]
    for plain, fused in zip(*gradients, strict=True):
        assert torch.allclose(plain, fused, atol=1e-4)
