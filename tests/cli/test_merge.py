"""munjang merge: models in, their mean and what it reaches on dev out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def noisy(tiny_bi: Path, tmp_path: Path) -> Path:
    """The tiny bi-encoder with other word vectors: far worse than it, or far better, on any dev set."""
    folder = Path(shutil.copytree(tiny_bi, tmp_path / "noisy"))
    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if key.endswith("word_embeddings.weight"))
    tensors[name] = torch.randn(tensors[name].shape, generator=torch.Generator().manual_seed(1))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_mean_is_measured_beside_its_parts(run: Run, tiny_bi: Path, noisy: Path) -> None:
    status, printed, said = run(
        "merge", tiny_bi, noisy, "--shares", 1, 3, "--dev", "support:dev", "--out", "out", "--json"
    )
    report = json.loads(printed)
    assert status == 0, said
    assert report["shares"] == [1, 3]
    assert set(report["dev"]) == {str(tiny_bi), str(noisy)}
    assert isinstance(report["dev_best"], float)
    found, one, two = (load_file(Path(f) / "model.safetensors") for f in ("out/model", tiny_bi, noisy))
    for name, tensor in found.items():
        assert torch.allclose(tensor, (one[name] + 3 * two[name]) / 4, atol=1e-6)


def test_a_greedy_mean_is_no_worse_than_the_best_of_its_parts(run: Run, tiny_bi: Path, noisy: Path) -> None:
    status, printed, said = run("merge", noisy, tiny_bi, "--greedy", "--dev", "support:dev", "--out", "out", "--json")
    report = json.loads(printed)
    assert status == 0, said
    assert report["dev_best"] >= max(report["dev"].values())
    assert max(report["dev"], key=report["dev"].get) in report["merged"]
    assert {path.name for path in Path("out").iterdir()} >= {"model", "report.json"}
    assert not Path("out/.trial").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one"], "MODELS: list should have at least 2 items"),
        (["one", "two", "--greedy"], "--greedy chooses on --dev: name it"),
        (["one", "two", "--greedy", "--dev", "support:dev", "--shares", "1", "1"], "leave --shares out"),
        (["one", "two", "--shares", "1"], "--shares must be one number a model, not all 0"),
        (["one", "two", "--shares", "0", "0"], "--shares must be one number a model, not all 0"),
        (["one", "two", "--shares", "-1", "2"], "shares"),
        (["nowhere", "two"], "nowhere"),
    ],
)
def test_what_cannot_be_merged_is_one_error(run: Run, arguments: list[str], said: str) -> None:
    status, _, errors = run("merge", *arguments, "--out", "out")
    assert status in (2, 66, 78)
    assert said in errors
    assert errors.count("error:") == 1
    assert not Path("out").exists()
