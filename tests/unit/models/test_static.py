"""Students of token vectors: each piece's own vector, weighted; a plain folder that all of the engine works on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer

from munjang import api
from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import sentences_of
from munjang.engine.bags import Bags, is_bag
from munjang.engine.encoder import Encoder
from munjang.engine.exporting import export_model
from munjang.errors import ConfigError, DataError
from munjang.files import read_json
from munjang.models.checks import lint_model
from munjang.models.dimensions import cut_dimensions
from munjang.models.dtypes import store_as
from munjang.models.folder import layers_of
from munjang.models.settings import prompts_of, vector_size
from munjang.models.static import SIF, to_static
from munjang.models.tokens import token_statistics
from munjang.train.options import TrainBiOptions, TrainCrossOptions

TEXTS = ["배송이 늦어요", "환불은 언제 되나요?", "Where is my order?", "🦄", "배송 배송 [MASK]", "네 " * 400]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return sentences_of(load_rows(DataSpec(source="support:train"), ("scored-pairs",), Path()).rows)


@pytest.fixture(scope="module")
def static(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """The tiny bi-encoder as a static one of 16 numbers."""
    folder = tmp_path_factory.mktemp("static") / "model"
    to_static(tiny_bi, folder, 16, texts)
    return folder


def table_of(folder: Path) -> np.ndarray:
    return SentenceTransformer(str(folder), device="cpu")[0].embedding.weight.detach().numpy()


def test_a_row_is_what_the_model_makes_of_its_piece(tiny_bi: Path, tmp_path: Path, texts: list[str]) -> None:
    report = to_static(tiny_bi, tmp_path / "out", 32, texts)
    source = SentenceTransformer(str(tiny_bi), device="cpu")
    names, special = source.tokenizer.get_vocab(), set(source.tokenizer.all_special_ids)
    table = table_of(tmp_path / "out")
    assert len(table) == len(names)
    assert not table[sorted(special)].any()
    assert report.without == len(special) == 5
    assert report.pieces == len(names) - 5
    kept = [i for i in range(len(names)) if i not in special]
    ids = torch.tensor([[names["[CLS]"], i, names["[SEP]"]] for i in kept])
    with torch.inference_mode():
        vectors = source({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"].numpy()
    vectors = vectors - vectors.mean(axis=0)
    split = [source.tokenizer(text, add_special_tokens=False)["input_ids"] for text in dict.fromkeys(texts)]
    counts = np.bincount([i for ids in split for i in ids], minlength=len(table))
    weights = SIF / (SIF + counts / counts.sum())
    assert report.seen == int((counts[kept] > 0).sum())
    # All directions are there, so the table is the vectors turned: inner products are theirs.
    wanted = vectors * weights[kept, None]
    np.testing.assert_allclose(table[kept] @ table[kept].T, wanted @ wanted.T, atol=1e-4)
    assert report.variance == pytest.approx(1)


def test_pieces_are_weighted_by_their_order_without_texts(tiny_bi: Path, tmp_path: Path, texts: list[str]) -> None:
    report = to_static(tiny_bi, tmp_path / "order", 16)
    to_static(tiny_bi, tmp_path / "counts", 16, texts)
    assert (report.texts, report.seen) == (0, 0)
    one, other = table_of(tmp_path / "order"), table_of(tmp_path / "counts")
    shares = 1 / np.arange(2, len(one) - 5 + 2)
    by_order = SIF / (SIF + shares / shares.sum())
    tokenizer = SentenceTransformer(str(tiny_bi), device="cpu").tokenizer
    split = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in dict.fromkeys(texts)]
    counts = np.bincount([i for ids in split for i in ids], minlength=len(one))
    by_count = SIF / (SIF + counts[5:] / counts.sum())
    found = np.linalg.norm(one, axis=1)[5:] / np.linalg.norm(other, axis=1)[5:]
    np.testing.assert_allclose(found, by_order / by_count, rtol=1e-3)


def test_the_folder_is_plain_and_the_encoder_agrees(static: Path, tiny_bi: Path) -> None:
    plain = SentenceTransformer(str(static), device="cpu")
    assert [type(module).__name__ for module in plain] == ["StaticEmbedding", "Normalize"]
    encoder = Encoder(static)
    found = encoder.encode(TEXTS)
    np.testing.assert_allclose(found, plain.encode(TEXTS), atol=1e-6)
    assert found.shape == (6, 16)
    assert encoder.counts.truncated == 0
    # Pieces that the vocabulary lacks are nothing, and a text of nothing else is a vector of 0.
    assert not found[3].any()
    np.testing.assert_allclose(np.linalg.norm(np.delete(found, 3, axis=0), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found[4], Encoder(static).encode(["배송"])[0], atol=1e-5)
    # One at a time or all together, in any order of lengths.
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(Encoder(static, budget=16).encode([text])[0], vector, atol=1e-6)
    assert (vector_size(static), layers_of(static), prompts_of(static)) == (16, 0, {})
    assert vector_size(tiny_bi) == 32
    assert not [one for one in lint_model("static", static) if one.severity == "error"]
    assert token_statistics(static, ["🦄"]).unknown == 1


def test_a_module_that_does_not_fit_the_table_is_found(static: Path, tmp_path: Path, texts: list[str]) -> None:
    cut_dimensions(static, tmp_path / "short", 4, texts)
    assert vector_size(tmp_path / "short") == 4
    assert not [one for one in lint_model("short", tmp_path / "short") if one.severity == "error"]
    np.testing.assert_allclose(
        Encoder(tmp_path / "short").encode(TEXTS),
        SentenceTransformer(str(tmp_path / "short"), device="cpu").encode(TEXTS),
        atol=1e-6,
    )
    shutil.copyfile(static / "model.safetensors", tmp_path / "short/model.safetensors")
    settings = tmp_path / "short/1_Dense/config.json"
    settings.write_text(settings.read_text().replace('"in_features": 16', '"in_features": 24'))
    assert "dimension-mismatch" in {one.code for one in lint_model("short", tmp_path / "short")}
    (tmp_path / "short/model.safetensors").unlink()
    assert "missing-module" in {one.code for one in lint_model("short", tmp_path / "short")}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_table_in_half_precision(dtype: str, static: Path, tmp_path: Path) -> None:
    report = store_as(static, tmp_path / "half", dtype)
    assert report.changed == 1
    np.testing.assert_allclose(Encoder(tmp_path / "half").encode(TEXTS), Encoder(static).encode(TEXTS), atol=0.02)
    assert SentenceTransformer(str(tmp_path / "half"), device="cpu").encode(TEXTS).shape == (6, 16)


def test_what_cannot_be_made_static_is_refused(static: Path, tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no transformer"):
        to_static(static, tmp_path / "out")
    with pytest.raises(DataError, match="another kind"):
        to_static(tiny_cross, tmp_path / "out")
    with pytest.raises(ConfigError, match="shorter than that") as caught:
        to_static(tiny_bi, tmp_path / "out", 33)
    assert caught.value.expected == "at most 32"
    assert not (tmp_path / "out").exists()
    assert to_static(tiny_bi, tmp_path / "out").dimensions == 32  # fewer than the default


def test_long_texts_and_empty_ones_stand_in_one_row(static: Path) -> None:
    model = SentenceTransformer(str(static), device="cpu")
    assert is_bag(model)
    read = Bags(model, ["배송", "", "배송이 늦어요"])
    assert read.lengths[1] == 0
    batch = read.batch([2, 1, 0])
    assert batch["offsets"].tolist() == [0, read.lengths[2], read.lengths[2]]
    assert len(batch["input_ids"]) == sum(read.lengths)
    assert sorted(read.used) == sorted(set(batch["input_ids"].tolist()))
    assert read.batch([])["input_ids"].shape == (0,)
    assert len(Bags(model, [])) == 0


def training(static: Path, objective: str, **more: object) -> TrainBiOptions:
    data = more.pop("data", "support:train")
    values = {"dev": "support:dev", "epochs": 3, "learning_rate": 5e-3, "evaluations": 2, **more}
    return TrainBiOptions(name="s", model=str(static), train=[{"data": data}], objective=objective, **values)


@pytest.mark.parametrize("objective", ["cosent", "distil"])
@pytest.mark.parametrize("rows", ["used", "all"])
def test_a_static_model_is_trained(objective: str, rows: str, static: Path, tiny_bi: Path, tmp_path: Path) -> None:
    more = {"teacher": str(tiny_bi), "projection": "pca"} if objective == "distil" else {}
    report = api.run_stage(training(static, objective, word_embeddings=rows, **more), tmp_path / "out")
    assert report["steps"] > 0
    model = SentenceTransformer(str(tmp_path / "out/model"), device="cpu")
    assert [type(module).__name__ for module in model] == ["StaticEmbedding", "Normalize"]
    before, after = table_of(static), table_of(tmp_path / "out/model")
    used = Bags(model, sentences_of(load_rows(DataSpec(source="support:train"), ("scored-pairs",), Path()).rows)).used
    others = np.setdiff1d(np.arange(len(before)), used)
    if not report["regressed"]:
        assert not np.array_equal(before[used], after[used])
    assert len(others) > 0
    if rows == "used":
        assert np.array_equal(before[others], after[others])
    assert report["dev_best"] >= report["dev_before"]
    assert "is cut" not in (tmp_path / "out/model/README.md").read_text(encoding="utf-8")
    assert read_json(tmp_path / "out/report.json")["truncated"] == 0


def test_training_the_used_rows_is_training_all_of_them(static: Path, tmp_path: Path) -> None:
    tables = []
    for rows in ("used", "all"):
        chosen = training(static, "cosent", word_embeddings=rows, weight_decay=0.0, epochs=1)
        assert not api.run_stage(chosen, tmp_path / rows)["regressed"]
        tables.append(table_of(tmp_path / rows / "model"))
    np.testing.assert_allclose(tables[0], tables[1], atol=2e-3)
    assert np.abs(tables[0] - table_of(static)).max() > 0.01


@pytest.mark.parametrize(
    ("objective", "more", "words"),
    [
        ("tsdae", {"data": "sentences.txt"}, "needs a model with a transformer"),
        ("simcse", {"data": "sentences.txt"}, "needs a model with a transformer"),
        ("cosent", {"freeze_layers": 1}, "fewer layers"),
        ("cosent", {"lora": {"rank": 4}}, "lora has no effect"),
        ("cosent", {"gradient_checkpointing": True}, "gradient_checkpointing has no effect"),
        ("cosent", {"max_length": 64}, "max_length has no effect"),
    ],
)
def test_what_needs_a_transformer_is_refused_before_any_model_is_loaded(
    objective: str, more: dict[str, object], words: str, static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sentences.txt").write_text("환불은 언제 되나요?\n배송이 늦어요\n", encoding="utf-8")
    monkeypatch.setattr("munjang.train.bi.load_model", None)
    with pytest.raises(ConfigError, match=words):
        api.run_stage(training(static, objective, **more), tmp_path / "out")


def test_a_cross_encoder_needs_a_transformer(static: Path, tmp_path: Path) -> None:
    options = TrainCrossOptions(name="c", model=str(static), train=["support:train"], dev="support:dev")
    with pytest.raises(ConfigError, match="needs a model with a transformer"):
        api.run_stage(options, tmp_path / "out")


def test_half_precision_starts_are_trained_in_full(tiny_bi: Path, tmp_path: Path) -> None:
    store_as(tiny_bi, tmp_path / "half", "float16")
    chosen = training(tmp_path / "half", "cosent", learning_rate=1e-4, epochs=1)
    api.run_stage(chosen, tmp_path / "out")
    model = SentenceTransformer(str(tmp_path / "out/model"), device="cpu")
    assert isinstance(model[0], Transformer)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_table_is_not_exported(static: Path) -> None:
    with pytest.raises(DataError, match="no transformer"):
        export_model(static, "onnx", "float32", TEXTS, spearman=lambda one, other: None)
