"""Backends that run an export: OpenVINO and ONNX Runtime. Neither loads torch."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from munjang.engine.batches import CPU_BUDGET
from munjang.engine.certificate import Certificate
from munjang.engine.tokens import Tokens, load_tokenizer
from munjang.errors import UnavailableError, missing_extra
from munjang.files import digest_of_manifest, read_manifest
from munjang.models.settings import transformer_folder

#: The library of each backend, and the file that it reads.
LIBRARIES = {"openvino": "model.xml", "onnx": "model.onnx"}


class _Exported(ABC):
    """What both have in common: tokens without torch, batches with padding, one batch a thread.

    Args:
        folder: of the model, whose tokenizer is read.
        place: of the export.
        certificate: of the export.
        budget: padded tokens a batch; 512 by default, as for torch on a CPU.
    """

    def __init__(self, folder: Path, place: Path, certificate: Certificate, budget: int | None = None) -> None:
        self.name = f"{certificate.backend}-{certificate.precision}"
        self.identity = f"{self.name} {self._release()} {self._digest(place)}"
        self.note = ""
        self.outputs = certificate.outputs
        self.budget = budget or CPU_BUDGET
        self.threads = len(os.sched_getaffinity(0))
        self._certificate = certificate
        self._tokenizer = load_tokenizer(transformer_folder(folder))
        self._open(place)
        # Once in one thread: OpenVINO's bindings set themselves up at the first call, and two that do so at the same time
        # wait for each other forever, one for Python's lock and one for the other's.
        self.run(self.read([("a", "a")] if certificate.kind == "cross-encoder" else ["a"]), [0])

    @staticmethod
    def _digest(place: Path) -> str:
        """Of the export; an empty text for one that is not committed yet."""
        manifest = read_manifest(place)
        return digest_of_manifest(manifest) if manifest else ""

    @abstractmethod
    def _release(self) -> str:
        """Of the library that runs it."""

    @abstractmethod
    def _open(self, place: Path) -> None:
        """Load the export."""

    @abstractmethod
    def _infer(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        """Outputs of a padded batch; called from several threads."""

    def ready(self) -> _Exported:
        """Itself: an export's weights do not change."""
        return self

    def read(self, inputs: Sequence, prompt: str = "") -> Tokens:
        """Tokenise texts or pairs."""
        return Tokens(self._tokenizer, self._certificate.limit, inputs, prompt)

    def run(self, read: Tokens, positions: Sequence[int]) -> np.ndarray:
        """Vectors or logits, float32 (len(positions), outputs)."""
        ids, mask, types = read.padded(positions, self._certificate.pad)
        feeds = {"input_ids": ids, "attention_mask": mask}
        found = self._infer({**feeds, "token_type_ids": types} if self._certificate.types else feeds)
        return np.asarray(found, np.float32).reshape(len(positions), -1)[:, : self.outputs]


class OpenVinoBackend(_Exported):
    """OpenVINO with a stream for each core."""

    def _release(self) -> str:
        return _version("openvino")

    def _open(self, place: Path) -> None:
        try:
            import openvino
        except ImportError:
            raise missing_extra("openvino", "openvino") from None
        core = openvino.Core()
        settings = {
            "NUM_STREAMS": str(self.threads),
            "INFERENCE_NUM_THREADS": str(self.threads),
            # Without matrix units bfloat16, which it would choose by itself on some processors, is slower and less exact.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._model = core.compile_model(str(place / LIBRARIES["openvino"]), "CPU", settings)
        self._local = threading.local()

    def _infer(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._model.create_infer_request()
        return np.array(request.infer(feeds)[0])


class OnnxBackend(_Exported):
    """ONNX Runtime on a CPU, one thread a batch."""

    def _release(self) -> str:
        return _version("onnxruntime")

    def _open(self, place: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("onnxruntime", "onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        path = str(place / LIBRARIES["onnx"])
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _infer(self, feeds: dict[str, np.ndarray]) -> np.ndarray:
        return self._session.run(None, feeds)[0]


def _version(package: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""


_BACKENDS: dict[str, type[_Exported]] = {"openvino": OpenVinoBackend, "onnx": OnnxBackend}


def open_export(folder: Path, place: Path, certificate: Certificate, budget: int | None = None) -> Any:
    """A backend over an export.

    Raises:
        UnavailableError: the library is not installed, or of a release that cannot read it.
    """
    try:
        return _BACKENDS[certificate.backend](folder, place, certificate, budget)
    except RuntimeError as error:
        raise UnavailableError(
            f"{certificate.backend} cannot read this export",
            where=place,
            got=" ".join(str(error).split())[:200],
            hint="export again with the installed release",
        ) from error
