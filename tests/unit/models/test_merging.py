"""Weight averaging: the mean of the weights, and nothing of models that do not belong together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from munjang.data.rows import ScoredPair
from munjang.errors import DataError
from munjang.models.merging import average
from munjang.models.record import merge_records, read_record, record_of, write_record


@pytest.fixture
def models(tiny_bi: Path, tmp_path: Path) -> list[Path]:
    """Three models, each the tiny one with other noise."""
    folders = []
    for seed in range(3):
        folder = Path(shutil.copytree(tiny_bi, tmp_path / f"model-{seed}"))
        draw = torch.Generator().manual_seed(seed)
        tensors = load_file(folder / "model.safetensors")
        noisy = {
            k: v + 0.1 * torch.randn(v.shape, generator=draw) if v.is_floating_point() else v
            for k, v in tensors.items()
        }
        save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    return folders


@pytest.mark.parametrize("shares", [[1, 1, 1], [1, 2, 0.5]])
def test_every_tensor_is_the_weighted_mean(models: list[Path], shares: list[float], tmp_path: Path) -> None:
    count = average(models, shares, tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    parts = [load_file(folder / "model.safetensors") for folder in models]
    assert found.keys() == parts[0].keys()
    assert len(found) == count
    for name, tensor in found.items():
        wanted = sum(share * part[name].double() for share, part in zip(shares, parts, strict=True)) / sum(shares)
        assert torch.allclose(tensor.double(), wanted, atol=1e-6), name
    assert SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(["배송"]).shape == (1, 32)


def test_one_model_with_itself_is_itself(models: list[Path], tmp_path: Path) -> None:
    average([models[0], models[0]], [1, 1], tmp_path / "out")
    one, two = (SentenceTransformer(str(folder), device="cpu") for folder in (models[0], tmp_path / "out"))
    assert np.array_equal(one.encode(["배송", "환불"]), two.encode(["배송", "환불"]))


def test_models_that_do_not_belong_together_are_refused(models: list[Path], tiny_cross: Path, tmp_path: Path) -> None:
    def refused(what: str, other: Path) -> None:
        with pytest.raises(DataError, match=f"models with different {what}") as caught:
            average([models[0], other], [1, 1], tmp_path / "out")
        assert str(other) in str(caught.value)
        assert not (tmp_path / "out").exists()

    wide = Path(shutil.copytree(models[1], tmp_path / "wide"))
    tensors = load_file(wide / "model.safetensors")
    name = next(key for key in tensors if key.endswith("word_embeddings.weight"))
    tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
    save_file(tensors, wide / "model.safetensors", metadata={"format": "pt"})
    refused("shapes", wide)
    spelling = Path(shutil.copytree(models[1], tmp_path / "spelling"))
    settings = json.loads((spelling / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = settings["model"]["vocab"]
    one, two = list(vocabulary)[-2:]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    (spelling / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    refused("tokenizers", spelling)
    pooling = Path(shutil.copytree(models[1], tmp_path / "pooling"))
    file = pooling / "1_Pooling/config.json"
    file.write_text(file.read_text().replace("mean", "max"), encoding="utf-8")
    refused("modules", pooling)
    refused("modules|tensors", tiny_cross)


def test_a_mean_has_seen_what_each_of_its_parts_has_seen(models: list[Path], tmp_path: Path) -> None:
    rows = [ScoredPair(f"하나 {n}", f"둘 {n}", 0.5) for n in range(3)]
    for folder, row in zip(models[:2], rows, strict=False):
        write_record(folder, record_of([row]))
    tmp_path.joinpath("out").mkdir()
    merge_records(models, tmp_path / "out")
    record = read_record(tmp_path / "out")
    assert record.texts.tolist() == record_of(rows[:2]).texts.tolist()
    assert record.rows.tolist() == record_of(rows[:2]).rows.tolist()


def test_settings_of_an_older_release_mean_the_same(models: list[Path], tmp_path: Path) -> None:
    old = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (models[1] / "1_Pooling" / "config.json").write_text(json.dumps(old), encoding="utf-8")
    assert average(models[:2], [1, 1], tmp_path / "out")
    old |= {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    (models[1] / "1_Pooling" / "config.json").write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(DataError, match="different modules"):
        average(models[:2], [1, 1], tmp_path / "other")
