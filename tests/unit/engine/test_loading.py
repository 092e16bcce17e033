"""A model with a damaged or missing file is one error that names the folder, never other numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from munjang.engine.encoder import Encoder
from munjang.errors import DataError


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.0.attention.self.query.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def drop_the_tokenizer(folder: Path) -> None:
    for path in folder.glob("token*"):
        path.unlink()


def write(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8") and None


DAMAGES = {
    "weights cut": cut_weights,
    "weights empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "a tensor missing": drop_a_tensor,
    "no tokenizer": drop_the_tokenizer,
    "tokenizer cut": write("tokenizer.json", '{"version": "1.0", "trunc'),
    "config a list": write("config.json", "[]"),
    "config cut": write("config.json", '{"model_ty'),
    "settings cut": write("config_sentence_transformers.json", "{"),
    "no modules": write("modules.json", "[]"),
    "pooling gone": lambda folder: shutil.rmtree(folder / "1_Pooling"),
    "foreign module": write("modules.json", json.dumps([{"idx": 0, "name": "0", "path": "", "type": "os.system"}])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused_with_its_folder(damage: str, tiny_bi: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bi, folder)
    Encoder(folder)
    DAMAGES[damage](folder)
    with pytest.raises(DataError) as caught:
        Encoder(folder).encode(["문장"])
    assert str(folder) in str(caught.value.where)


def test_a_folder_above_the_model_is_named(tiny_bi: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bi, tmp_path / "stage" / "model")
    with pytest.raises(DataError) as caught:
        Encoder(tmp_path / "stage")
    assert caught.value.hint == f"name {tmp_path / 'stage' / 'model'}"


def test_a_body_without_a_pooler_loads(tiny_bi: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bi, folder)
    tensors = {name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert (Encoder(folder).encode(["문장"]) == Encoder(tiny_bi).encode(["문장"])).all()
