"""The forward pass without padding gives what the plain one gives, and is taken for nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, ElectraConfig, XLMRobertaConfig

from munjang.engine import torch_backend
from munjang.engine.encoder import Encoder
from munjang.engine.scorer import Scorer
from munjang.engine.torch_backend import TorchBackend
from munjang.models.heads import new_cross_encoder

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24}
SIZES |= {"max_position_embeddings": 80, "initializer_range": 0.3}
TEXTS = ["환불은 언제 되나요?", "네", "배송이 늦어요, 어떻게 하나요?", "아니요", "가 " * 200, "refund, please"]
PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))


def body_folder(kind: type, tokenizer_of: Path, folder: Path, outputs: int | None = None, **more: object) -> Path:
    """A random body beside the tokenizer of another model."""
    tokenizer = SentenceTransformer(str(tokenizer_of), device="cpu").tokenizer
    torch.manual_seed(5)
    config = kind(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZES, **more)
    if outputs is not None:
        config.num_labels = outputs
    build = AutoModel if outputs is None else AutoModelForSequenceClassification
    build.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bi_encoder(folder: Path, pooling: str = "mean", dense: bool = False, **more: bool) -> SentenceTransformer:
    first = Transformer(str(folder), max_seq_length=48)
    modules = [first, Pooling(16, pooling, **more)]
    modules += [Dense(16, 8)] if dense else []
    return SentenceTransformer(modules=[*modules, Normalize()], device="cpu", prompts={"query": "질문: "}).eval()


@pytest.mark.parametrize("kind", [BertConfig, XLMRobertaConfig])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "weightedmean", "lasttoken", "mean_sqrt_len_tokens"])
def test_vectors_are_those_of_the_plain_pass(kind: type, pooling: str, tiny_bi: Path, tmp_path: Path) -> None:
    model = bi_encoder(body_folder(kind, tiny_bi, tmp_path), pooling, dense=pooling == "cls")
    assert TorchBackend(model).is_lean
    found = Encoder.of(model).encode(TEXTS)
    assert np.abs(found - model.encode(TEXTS)).max() < 1e-5


def test_a_prompt_that_the_pooling_leaves_out_is_left_out(tiny_bi: Path, tmp_path: Path) -> None:
    model = bi_encoder(body_folder(BertConfig, tiny_bi, tmp_path), include_prompt=False)
    found = Encoder.of(model).encode(TEXTS, use="query")
    assert np.abs(found - model.encode(TEXTS, prompt_name="query")).max() < 1e-5
    model[1].include_prompt = True
    assert np.abs(found - model.encode(TEXTS, prompt_name="query")).max() > 1e-3


@pytest.mark.parametrize("kind", [BertConfig, XLMRobertaConfig])
@pytest.mark.parametrize("outputs", [1, 3])
def test_logits_are_those_of_the_plain_pass(kind: type, outputs: int, tiny_bi: Path, tmp_path: Path) -> None:
    folder = body_folder(kind, tiny_bi, tmp_path, outputs)
    model = CrossEncoder(str(folder), device="cpu", max_length=48)
    model.eval()
    assert TorchBackend(model).is_lean
    expected = model.predict(PAIRS, activation_fn=torch.nn.Identity()).reshape(len(PAIRS), -1)
    assert np.abs(Scorer.of(model).logits(PAIRS) - expected).max() < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_cross_encoder_of_modules_is_lean_as_well(pooling: str, tiny_bi: Path) -> None:
    model = new_cross_encoder(tiny_bi, pooling, 48, "cpu", seed=3).eval()
    assert TorchBackend(model).is_lean
    expected = model.predict(PAIRS, activation_fn=torch.nn.Identity()).reshape(len(PAIRS), -1)
    assert np.abs(Scorer.of(model).logits(PAIRS) - expected).max() < 1e-5


def test_a_text_gets_the_same_vector_whatever_stands_beside_it(tiny_bi: Path) -> None:
    encoder = Encoder(tiny_bi)
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-6


def test_an_encoder_over_a_model_in_memory_sees_its_weights_change(tiny_bi: Path) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    encoder = Encoder.of(model)
    before = encoder.encode(TEXTS)
    with torch.no_grad():
        model.transformers_model.encoder.layer[0].intermediate.dense.weight.mul_(3)
    after = encoder.encode(TEXTS)
    assert np.abs(after - before).max() > 1e-3
    assert np.abs(after - model.encode(TEXTS)).max() < 1e-5


def test_other_families_run_as_sentence_transformers_runs_them(tiny_bi: Path, tmp_path: Path) -> None:
    model = bi_encoder(body_folder(ElectraConfig, tiny_bi, tmp_path, embedding_size=12))
    assert not TorchBackend(model).is_lean
    assert np.abs(Encoder.of(model).encode(TEXTS) - model.encode(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("spoil", ["adapter", "output", "activation"])
def test_a_part_that_computes_something_else_is_not_passed_over(spoil: str, tiny_bi: Path) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu").eval()
    layer = model.transformers_model.encoder.layer[0]
    if spoil == "adapter":

        class Adapted(torch.nn.Linear):
            def forward(self, states: torch.Tensor) -> torch.Tensor:
                return 2 * super().forward(states)

        adapted = Adapted(layer.output.dense.in_features, layer.output.dense.out_features)
        adapted.load_state_dict(layer.output.dense.state_dict())
        layer.output.dense = adapted
    elif spoil == "output":
        plain = layer.output.forward
        layer.output.forward = lambda hidden, states: plain(hidden, states) * 1.01
    else:
        layer.intermediate.intermediate_act_fn = torch.nn.Tanh()
    assert not TorchBackend(model).is_lean
    assert np.abs(Encoder.of(model).encode(TEXTS) - model.encode(TEXTS)).max() < 1e-5


def test_without_products_that_are_laid_out_it_is_the_same(tiny_bi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Encoder(tiny_bi).encode(TEXTS)
    monkeypatch.setattr("munjang.engine.lean._laid_out", lambda weight: None)
    backend = TorchBackend(SentenceTransformer(str(tiny_bi), device="cpu").eval())
    assert backend.is_lean
    read = backend.read(TEXTS, Encoder(tiny_bi).prompt())
    order = np.argsort([-n for n in read.lengths], kind="stable")
    assert np.abs(backend.run(read, order) - expected[order]).max() < 1e-6


def test_the_probes_have_several_lengths(tiny_bi: Path) -> None:
    read = TorchBackend(SentenceTransformer(str(tiny_bi), device="cpu").eval()).read(torch_backend._PROBES)
    assert len(set(read.lengths)) > 1


def test_bfloat16_is_near_and_another_entry_of_the_cache(tiny_bi: Path) -> None:
    exact, half = Encoder(tiny_bi), Encoder(tiny_bi, backend="torch-bfloat16")
    apart = np.abs(half.encode(TEXTS) - exact.encode(TEXTS)).max()
    assert 1e-6 < apart < 0.05
    assert half.encode(TEXTS).dtype == np.float32
    assert exact.backend.identity != half.backend.identity
