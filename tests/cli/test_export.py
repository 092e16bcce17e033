"""munjang export and munjang verify: what they print, and how they end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from sentence_transformers import SentenceTransformer

Run = Callable[..., tuple[int, str, str]]


def test_a_model_is_exported_verified_and_told_from_another(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bi, tmp_path / "model")
    status, printed, _ = run("export", "model", "--to", "onnx")
    assert status == 0
    assert "certified: --backend auto may take onnx-float32" in printed
    status, printed, _ = run("verify", "model")
    assert (status, "the same model" in printed) == (0, True)
    other = SentenceTransformer(str(tiny_bi), device="cpu")
    other.transformers_model.encoder.layer[0].output.dense.weight.data.mul_(-1)
    other.save_pretrained(str(tmp_path / "other"), create_model_card=False)
    status, printed, _ = run("verify", "other", "--golden", "model", "--json")
    assert (status, json.loads(printed)["same"]) == (4, False)


def test_what_is_missing_is_said_with_the_next_command(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bi, tmp_path / "model")
    status, _, errors = run("verify", "model")
    assert (status, "munjang export model --to onnx" in errors) == (66, True)
    status, _, errors = run("export", "model", "--to", "tensorrt")
    assert (status, "openvino" in errors) == (2, True)
    status, _, errors = run("encode", "환불은 언제 되나요?", "--model", "model", "--backend", "onnx")
    assert (status, "has no export for onnx" in errors) == (66, True)
