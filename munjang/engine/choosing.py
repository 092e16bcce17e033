"""Which backend runs a model."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from munjang.engine import exported
from munjang.engine.backend import Backend
from munjang.engine.certificate import Certificate, exports_of
from munjang.engine.native import opening
from munjang.errors import MissingInputError, UnavailableError
from munjang.models.folder import require_kind, require_safe_folder

#: What a user may ask for.
CHOICES = ("auto", "exact", "torch", "torch-bfloat16", "native", *exported.LIBRARIES)


def open_backend(folder: Path, kind: str, device: str, budget: int | None, wanted: str) -> Backend:
    """Open a model with a backend.

    Args:
        folder: of the model.
        kind: `bi-encoder` or `cross-encoder`.
        device: such as `cpu`; exports run on a CPU only.
        budget: padded tokens a batch; the backend's own by default.
        wanted: `torch`, in float32; `torch-bfloat16`; `native`, `openvino` or `onnx`, the fastest export for it beside the
            model, of which `native` needs none for float32; one of these exports by its name, such as `native-int8`; or
            `auto`, the fastest export whose certificate holds and whose library is installed, else the native kernels in
            float32 where they are built and run this model, else torch, on a GPU in bfloat16 if it computes that; or
            `exact`, which takes no export: the kernels in float32, else torch.

    Raises:
        MissingInputError: no such folder or export. DataError: the folder is unsafe, damaged, or of the other kind.
        UnavailableError: the backend's library is not installed.
    """
    require_kind(folder, kind)
    require_safe_folder(folder)
    if wanted in ("torch", "torch-bfloat16") or (wanted in ("auto", "exact") and device != "cpu"):
        return _torch(folder, kind, device, budget, "torch" if wanted == "exact" else wanted)
    found = sorted(exports_of(folder), key=lambda export: -export[1].speed_ratio)
    if wanted == "exact":
        return _exact(folder, kind, device, budget)
    if wanted == "auto":
        return _fastest(folder, kind, device, budget, found)
    for place, certificate in found:
        if wanted in (certificate.backend, f"{certificate.backend}-{certificate.precision}"):
            return open_export(folder, place, certificate, budget)
    if wanted in ("native", "native-float32"):
        return opening.open_proven(folder, kind, budget)
    backend, _, precision = wanted.partition("-")
    raise MissingInputError(
        f"this model has no export for {wanted}",
        where=folder,
        expected=", ".join(f"{c.backend}-{c.precision}" for _, c in found) or None,
        hint=f"run: munjang export {folder} --to {backend}" + (f" --precision {precision}" if precision else ""),
    )


def _fastest(
    folder: Path, kind: str, device: str, budget: int | None, found: list[tuple[Path, Certificate]]
) -> Backend:
    for place, certificate in found:
        if certificate.holds and certificate.speed_ratio > 1:
            with contextlib.suppress(UnavailableError):
                return open_export(folder, place, certificate, budget)
    return _exact(folder, kind, device, budget, "auto")


def _exact(folder: Path, kind: str, device: str, budget: int | None, otherwise: str = "torch") -> Backend:
    try:
        return opening.open_proven(folder, kind, budget)
    except UnavailableError as error:
        backend = _torch(folder, kind, device, budget, otherwise)
        backend.note = f"{error.what}: {error.got}" if error.got else error.what
        return backend


def open_export(folder: Path, place: Path, certificate: Certificate, budget: int | None = None) -> Any:
    """A backend over an export.

    Raises:
        UnavailableError: its library is not installed, or of a release that cannot read it. DataError: it is damaged.
    """
    opens = opening.open_export if certificate.backend == "native" else exported.open_export
    return opens(folder, place, certificate, budget)


def _torch(folder: Path, kind: str, device: str, budget: int | None, wanted: str) -> Any:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from munjang.engine.loading import load_model
    from munjang.engine.torch_backend import TorchBackend

    # Whatever the weights are stored in: sums in half precision are slow on a CPU and inexact everywhere.
    model = load_model(SentenceTransformer if kind == "bi-encoder" else CrossEncoder, folder, device).float()
    gains = wanted == "auto" and device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return TorchBackend(model, device, budget, half=gains or wanted == "torch-bfloat16")
