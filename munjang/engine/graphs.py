"""Writes a model for OpenVINO or ONNX Runtime: all of it, from token ids to vectors or logits, by `torch.onnx.export`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from munjang.engine.exported import LIBRARIES
from munjang.engine.features import Features
from munjang.engine.torch_backend import TorchBackend
from munjang.errors import DataError, missing_extra

#: Inputs that show a quantiser the range of activations.
CALIBRATION = 300


class _Whole(nn.Module):
    """A model as a function of tensors."""

    def __init__(self, model: Any, output: str, types: bool) -> None:
        super().__init__()
        self.model, self.output, self.types = model, output, types

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.types:
            features["token_type_ids"] = token_type_ids
        return self.model(features)[self.output]


def require_libraries(backend: str, precision: str) -> None:
    """Refuse before any work where a library is missing.

    Raises:
        UnavailableError: with the command that installs it.
    """
    wanted = {"openvino": ["openvino"], "onnx": ["onnxruntime"]}[backend] + ["onnx", "onnxscript"]
    wanted += ["nncf"] if (backend, precision) == ("openvino", "int8") else []
    for package in wanted:
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, backend)


def write_graph(
    reference: TorchBackend, types: bool, backend: str, precision: str, inputs: list[Any], prompt: str, place: Path
) -> None:
    """Write a model for a library into a directory.

    Args:
        reference: the model. types: whether it is given token types. backend: `openvino` or `onnx`.
        precision: `float32` or `int8`. inputs: the first of them calibrate. prompt: before every text. place: the directory.

    Raises:
        DataError: the model cannot be exported.
    """
    read = reference.read(inputs, prompt)
    example = {name: value for name, value in read.batch([0, 1]).items() if isinstance(value, Tensor)}
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    whole = _Whole(reference.model, "scores" if reference.pairs else "sentence_embedding", types).eval()
    dynamic = {name: {0: "inputs", 1: "tokens"} for name in names}
    graph = place / LIBRARIES["onnx"]
    with _quiet():
        try:
            torch.onnx.export(
                whole,
                tuple(example[name] for name in names),
                str(graph),
                input_names=names,
                output_names=["outputs"],
                dynamic_axes={**dynamic, "outputs": {0: "inputs"}},
                dynamo=True,
                external_data=True,
            )
        except Exception as error:
            got = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise DataError("this model cannot be exported", got=got, hint="use this model with torch") from error
        if backend == "openvino":
            _to_openvino(reference, read, names, precision, place)
        elif precision == "int8":
            _quantise_onnx(graph)


def _to_openvino(reference: TorchBackend, read: Features, names: list[str], precision: str, place: Path) -> None:
    import openvino

    graph = place / LIBRARIES["onnx"]
    model = openvino.Core().read_model(str(graph))
    if precision == "int8":
        import nncf

        def feeds(position: int) -> dict[str, np.ndarray]:
            batch = read.batch([position])
            return {name: batch[name].numpy() for name in names}

        calibration = list(range(min(len(read), CALIBRATION)))
        model = nncf.quantize(
            model,
            nncf.Dataset(calibration, feeds),
            # Smooths activations into weights (Xiao et al. 2022, arXiv 2211.10438) and leaves attention's softmax alone.
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
        )
    openvino.save_model(model, str(place / LIBRARIES["openvino"]), compress_to_fp16=False)
    for path in place.glob(f"{graph.name}*"):
        path.unlink()


def _quantise_onnx(graph: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    small = graph.with_name("small.onnx")
    quantize_dynamic(str(graph), str(small), per_channel=True)
    for path in graph.parent.glob(f"{graph.name}*"):
        path.unlink()
    small.rename(graph)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the exporters print about themselves is of no use to a user; errors come as exceptions."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def versions_of(backend: str) -> dict[str, str]:
    """Releases of what an export depends on."""
    names = ["torch", {"openvino": "openvino", "onnx": "onnxruntime", "native": "munjang-native"}[backend]]
    return {name: importlib.metadata.version(name) for name in names}
