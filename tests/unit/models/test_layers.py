"""A student of some layers: the same bits, the same tokenizer, and what torch computes without the other layers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import (
    AlbertConfig,
    AlbertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
)

from munjang.errors import ConfigError, DataError
from munjang.models.folder import model_kind
from munjang.models.layers import cut_layers, which_layers

TEXTS = ["배송이 늦어요", "환불은 언제 되나요?", "Where is my order?"]
#: What the tiny models of other kinds need besides their number of layers.
SIZES = {"vocab_size": 3000}


def bi_encoder(tiny_bi: Path, folder: Path, body: torch.nn.Module) -> SentenceTransformer:
    """The tokenizer of the tiny bi-encoder before another body."""
    source = SentenceTransformer(str(tiny_bi), device="cpu")
    place = folder / "body"
    body.save_pretrained(place)
    source.tokenizer.save_pretrained(place)
    transformer = Transformer(str(place))
    size = transformer.get_embedding_dimension()
    model = SentenceTransformer(modules=[transformer, Pooling(size, "mean"), Normalize()], device="cpu")
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return model


@given(total=st.integers(1, 48), data=st.data())
def test_a_rule_gives_distinct_layers_in_order(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, total))
    first, even = (which_layers(f"{rule}-{count}", total) for rule in ("first", "even"))
    assert first == list(range(count))
    assert len(set(even)) == count
    assert even == sorted(even)
    assert even[0] == 0
    assert count == 1 or even[-1] == total - 1


def test_layers_are_taken_in_the_order_of_the_model() -> None:
    assert which_layers([11, 0, 4], 12) == [0, 4, 11]
    assert which_layers("even-4", 12) == [0, 4, 7, 11]


@pytest.mark.parametrize("wanted", [[], [0, 0], [12], [-1, 2], "even-13", "odd-2", "first-0", ""])
def test_layers_that_are_not_there_are_refused(wanted: list[int] | str) -> None:
    with pytest.raises(ConfigError, match="these layers cannot be kept") as caught:
        which_layers(wanted, 12)
    assert "0 to 11" in str(caught.value)


def test_a_student_is_the_teacher_without_the_other_layers(tiny_bi: Path, tmp_path: Path) -> None:
    report = cut_layers(tiny_bi, tmp_path / "out", [1])
    assert (report.kept, report.layers_before) == ((1,), 2)
    assert report.parameters_after < report.parameters_before
    teacher = SentenceTransformer(str(tiny_bi), device="cpu")
    teacher[0].model.encoder.layer = teacher[0].model.encoder.layer[1:]
    student = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert len(student[0].model.encoder.layer) == 1
    assert (student.encode(TEXTS) == teacher.encode(TEXTS)).all()
    before, after = (load_file(one / "model.safetensors") for one in (tiny_bi, tmp_path / "out"))
    assert len(after) == report.tensors
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name.replace("layer.0.", "layer.1.")])


def test_a_cross_encoder_keeps_its_head(tiny_cross: Path, tmp_path: Path) -> None:
    cut_layers(tiny_cross, tmp_path / "out", "first-1")
    assert model_kind(tmp_path / "out") == "cross-encoder"
    teacher, student = (CrossEncoder(str(one), device="cpu") for one in (tiny_cross, tmp_path / "out"))
    body = teacher.model.base_model
    body.encoder.layer = body.encoder.layer[:1]
    pairs = list(itertools.pairwise(TEXTS))
    assert (student.predict(pairs) == teacher.predict(pairs)).all()


def test_other_kinds_of_bodies(tiny_bi: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    distil = DistilBertModel(DistilBertConfig(dim=32, n_layers=3, n_heads=2, hidden_dim=48, **SIZES))
    model = bi_encoder(tiny_bi, tmp_path / "distil", distil)
    cut_layers(tmp_path / "distil/model", tmp_path / "distil/out", [0, 2])
    layers = model[0].model.transformer.layer
    model[0].model.transformer.layer = torch.nn.ModuleList([layers[0], layers[2]])
    student = SentenceTransformer(str(tmp_path / "distil/out"), device="cpu")
    assert (student.encode(TEXTS) == model.encode(TEXTS)).all()


def test_layers_that_differ_by_place_stay_what_they_are(tiny_bi: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ModernBertConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=48, pad_token_id=0, **SIZES
    )
    bi_encoder(tiny_bi, tmp_path, ModernBertModel(config))
    cut_layers(tmp_path / "model", tmp_path / "out", [1, 3])
    student = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    kinds = SentenceTransformer(str(tmp_path / "model"), device="cpu")[0].model.config.layer_types
    assert len(set(kinds)) == 2
    assert student[0].model.config.layer_types == [kinds[1], kinds[3]]
    assert student.encode(TEXTS).shape == (3, 32)


def test_one_layer_many_times_cannot_be_cut(tiny_bi: Path, tmp_path: Path) -> None:
    config = AlbertConfig(
        hidden_size=32, embedding_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48, **SIZES
    )
    bi_encoder(tiny_bi, tmp_path, AlbertModel(config))
    with pytest.raises(DataError, match="not stored one by one"):
        cut_layers(tmp_path / "model", tmp_path / "out", [0])
    assert not (tmp_path / "out").exists()


def test_exports_of_the_whole_model_do_not_come_along(tiny_bi: Path, tmp_path: Path) -> None:
    import shutil

    source = Path(shutil.copytree(tiny_bi, tmp_path / "model"))
    (source / "onnx").mkdir()
    (source / "onnx/model.onnx").write_bytes(b"all layers")
    report = cut_layers(source, tmp_path / "out", [0])
    assert report.left_out == ("onnx/model.onnx",)
    assert "onnx/model.onnx" in report.sentences()[-1]
    assert not (tmp_path / "out/onnx").exists()
    assert json.loads((tmp_path / "out/config.json").read_text())["num_hidden_layers"] == 1
