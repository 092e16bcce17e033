"""Weights in another number format: every tensor, the settings, what rounding costs, and what runs on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from torch import nn

from munjang.engine.encoder import Encoder
from munjang.engine.scorer import Scorer
from munjang.errors import ConfigError, DataError
from munjang.models.dtypes import store_as
from munjang.models.folder import fingerprint_model

TEXTS = ["배송이 늦어요", "환불은 언제 되나요?", "Where is my order?"]


@pytest.fixture
def with_dense(tiny_bi: Path, tmp_path: Path) -> Path:
    """The tiny bi-encoder with a Dense module, and with a tensor of whole numbers."""
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    model.append(Dense(32, 16, bias=False, activation_function=nn.Identity()))
    model.save_pretrained(str(tmp_path / "dense"), create_model_card=False)
    path = tmp_path / "dense/model.safetensors"
    save_file({**load_file(path), "embeddings.position_ids": torch.arange(96)[None]}, path, metadata={"format": "pt"})
    return tmp_path / "dense"


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    files = folder.rglob("*.safetensors")
    return {f"{path.parent.name}/{name}": t for path in files for name, t in load_file(path).items()}


@pytest.mark.parametrize(("dtype", "rounding"), [("float16", 2**-11), ("bfloat16", 2**-8), ("float32", 0)])
def test_every_tensor_takes_the_type(dtype: str, rounding: float, with_dense: Path, tmp_path: Path) -> None:
    report = store_as(with_dense, tmp_path / "out", dtype)
    before = {name.split("/")[-1]: t for name, t in tensors_of(with_dense).items()}
    after = {name.split("/")[-1]: t for name, t in tensors_of(tmp_path / "out").items()}
    assert before.keys() == after.keys()
    kind = getattr(torch, dtype)
    assert after.pop("embeddings.position_ids").equal(torch.arange(96)[None])
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name].to(kind)), name
    apart = {name: (before[name] - t.float()).abs() for name, t in after.items()}
    assert report.largest_absolute == max(float(t.max()) for t in apart.values())
    assert (report.largest_relative > 0) == (dtype != "float32")
    assert dtype == "float16" or report.largest_relative <= rounding
    assert report.tensors == len(after)
    assert report.changed == (0 if dtype == "float32" else len(after))
    assert report.bytes_after < report.bytes_before * (1.01 if dtype == "float32" else 0.6)
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == dtype
    loaded = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert {p.dtype for p in loaded.parameters()} == {kind}
    assert loaded.encode(TEXTS).shape == (3, 16)
    assert json.loads((tmp_path / "out/2_Normalize/config.json").read_text() or "{}").get("dtype") is None


def test_both_names_of_the_type_are_set(tiny_bi: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bi, tmp_path / "old"))
    settings = json.loads((folder / "config.json").read_text())
    settings.pop("dtype")
    nested = {"torch_dtype": "float32", "size": 3}
    (folder / "config.json").write_text(json.dumps({**settings, "torch_dtype": "float32", "text_config": nested}))
    store_as(folder, tmp_path / "out", "bfloat16")
    found = json.loads((tmp_path / "out/config.json").read_text())
    assert (found["dtype"], found["torch_dtype"]) == ("bfloat16", "bfloat16")
    assert found["text_config"] == {"torch_dtype": "bfloat16", "size": 3}


def changed_weight(tiny_bi: Path, folder: Path, value: float) -> Path:
    """The tiny bi-encoder with one number set."""
    shutil.copytree(tiny_bi, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][3, 4] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_number_that_the_type_cannot_hold_is_refused(tiny_bi: Path, tmp_path: Path) -> None:
    folder = changed_weight(tiny_bi, tmp_path / "large", -1e5)
    with pytest.raises(DataError, match="a weight is too large for float16") as caught:
        store_as(folder, tmp_path / "out", "float16")
    assert (caught.value.expected, caught.value.got) == (
        "at most 65504",
        "100000 in encoder.layer.0.output.dense.weight",
    )
    assert not (tmp_path / "out").exists()
    assert store_as(folder, tmp_path / "out", "bfloat16").largest_absolute > 100


def test_numbers_that_become_nothing_are_counted(tiny_bi: Path, tmp_path: Path) -> None:
    plain = store_as(tiny_bi, tmp_path / "plain", "float16")
    report = store_as(changed_weight(tiny_bi, tmp_path / "small", 1e-9), tmp_path / "out", "float16")
    assert report.to_zero == plain.to_zero + 1
    assert report.largest_relative == 1
    assert any("too small for float16" in line for line in report.sentences())


def test_an_unknown_type_is_refused(tiny_bi: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown number format"):
        store_as(tiny_bi, tmp_path / "out", "int8")


def test_weights_in_several_files_keep_their_index(tiny_bi: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    folder = Path(shutil.copytree(tiny_bi, tmp_path / "shards"))
    (folder / "model.safetensors").unlink()
    model[0].model.save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    store_as(folder, tmp_path / "out", "float16")
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors_of(tmp_path / "out").values())
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, model.encode(TEXTS), atol=0.02)


def test_the_engine_computes_in_float32(with_dense: Path, tiny_cross: Path, tmp_path: Path) -> None:
    store_as(with_dense, tmp_path / "half", "float16")
    store_as(tmp_path / "half", tmp_path / "back", "float32")
    half, back = Encoder(tmp_path / "half"), Encoder(tmp_path / "back")
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    assert half.backend.identity == back.backend.identity
    assert half.backend.is_lean
    # The same rounded numbers, so the same bits.
    assert np.array_equal(half.encode(TEXTS), back.encode(TEXTS))
    plain = SentenceTransformer(str(tmp_path / "back"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(half.encode(TEXTS), plain, atol=1e-5)
    assert fingerprint_model(tmp_path / "half") != fingerprint_model(tmp_path / "back")
    store_as(tiny_cross, tmp_path / "cross", "float16")
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[2])]
    scores = Scorer(tmp_path / "cross", symmetric=False).score(pairs)
    np.testing.assert_allclose(scores, CrossEncoder(str(tiny_cross), device="cpu").predict(pairs), atol=0.01)
