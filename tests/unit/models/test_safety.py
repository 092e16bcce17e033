"""What could run code is named by its file, and nothing of it is run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from munjang.errors import DataError
from munjang.models.safety import lint_safety
from munjang.models.shapes import tensor_shapes

Model = Callable[..., Path]


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("file", ["pytorch_model.bin", "weights.pt", "2_Dense/pytorch_model.bin", "model.ckpt"])
@pytest.mark.parametrize("beside", [False, True])
def test_pickled_weights_are_named_and_not_loaded(file: str, beside: bool, paper_model: Model, tmp_path: Path) -> None:
    folder = paper_model()
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    safetensors = path.parent / "model.safetensors"
    if beside:
        safetensors.write_bytes((folder / "model.safetensors").read_bytes())
    else:
        safetensors.unlink(missing_ok=True)
    (finding,) = lint_safety("m", folder)
    assert (finding.severity, finding.code) == ("note" if beside else "error", "pickled-weights")
    assert finding.message.startswith(f"{file} is pickled")
    assert finding.example == str(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model(file: str, paper_model: Model) -> None:
    folder = paper_model(files={file: {"auto_map": {"AutoModel": "modeling_own.OwnModel"}}})
    (finding,) = lint_safety("m", folder)
    assert (finding.severity, finding.code) == ("error", "remote-code")
    assert finding.message == f"{file} asks to run code that comes with the model (auto_map)"
    assert "modeling_own.OwnModel" in finding.example


@pytest.mark.parametrize(
    "files",
    [
        {"modules.json": [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]},
        {"config_sentence_transformers.json": {"activation_fn": "os.system"}},
        {"1_Pooling/config.json": {"activation_function": "subprocess.Popen"}},
    ],
)
def test_modules_and_activations_of_other_packages(files: dict[str, Any], paper_model: Model) -> None:
    (finding,) = lint_safety("m", paper_model(files=files))
    assert (finding.severity, finding.code) == ("error", "remote-code")
    assert finding.example in ("custom_st.Transformer", "os.system", "subprocess.Popen")


def test_folders_that_are_not_whole(paper_model: Model, tmp_path: Path) -> None:
    folder = paper_model()
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    found = lint_safety("m", folder)
    assert [(f.severity, f.code) for f in found] == [("error", "incomplete-model")] * 2
    outer = tmp_path / "run"
    (outer / "model").mkdir(parents=True)
    (outer / "model" / "config.json").write_text("{}", encoding="utf-8")
    assert lint_safety("m", outer)[0].remedy == f"name {outer / 'model'}"


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b"\x05\0\0\0\0\0\0\0{", b'\x0a\0\0\0\0\0\0\0{"a": {} } ']
)
def test_damaged_headers_are_findings(content: bytes, paper_model: Model) -> None:
    folder = paper_model()
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        tensor_shapes(folder)
    (finding,) = lint_safety("m", folder)
    assert (finding.severity, finding.code) == ("error", "incomplete-model")


def test_shapes_are_those_of_the_tensors(tiny_bi: Path) -> None:
    from safetensors import safe_open

    with safe_open(tiny_bi / "model.safetensors", framework="np") as file:
        expected = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert tensor_shapes(tiny_bi) == expected
