"""Which backend runs a model."""

from __future__ import annotations

from pathlib import Path

from munjang.engine.backend import Backend
from munjang.engine.certificate import exports_of
from munjang.engine.exported import LIBRARIES, open_export
from munjang.errors import MissingInputError, UnavailableError
from munjang.models.folder import require_kind, require_safe_folder

#: What a user may ask for.
CHOICES = ("auto", "torch", "torch-bfloat16", *LIBRARIES)


def open_backend(folder: Path, kind: str, device: str, budget: int | None, wanted: str) -> Backend:
    """Open a model with a backend.

    Args:
        folder: of the model.
        kind: `bi-encoder` or `cross-encoder`.
        device: such as `cpu`; exports run on a CPU only.
        budget: padded tokens a batch; the backend's own by default.
        wanted: `torch`, in float32; `torch-bfloat16`; `openvino` or `onnx`, the fastest export for it beside the model;
            one of these exports by its name,
            such as `openvino-int8`; or `auto`, the fastest export whose certificate holds and whose library is
            installed, else torch, on a GPU in bfloat16 if it computes that.

    Raises:
        MissingInputError: no such folder or export. DataError: the folder is unsafe, damaged, or of the other kind.
        UnavailableError: the backend's library is not installed.
    """
    require_kind(folder, kind)
    require_safe_folder(folder)
    if wanted in ("torch", "torch-bfloat16") or (wanted == "auto" and device != "cpu"):
        return _torch(folder, kind, device, budget, wanted)
    found = sorted(exports_of(folder), key=lambda export: -export[1].speed_ratio)
    if wanted == "auto":
        for place, certificate in found:
            if certificate.holds and certificate.speed_ratio > 1:
                try:
                    return open_export(folder, place, certificate, budget)
                except UnavailableError:
                    continue
        return _torch(folder, kind, device, budget, wanted)
    for place, certificate in found:
        if wanted in (certificate.backend, f"{certificate.backend}-{certificate.precision}"):
            return open_export(folder, place, certificate, budget)
    raise MissingInputError(
        f"this model has no export for {wanted}",
        where=folder,
        expected=", ".join(f"{c.backend}-{c.precision}" for _, c in found) or None,
        hint=f"run: munjang export {folder} --to {wanted.partition('-')[0]}",
    )


def _torch(folder: Path, kind: str, device: str, budget: int | None, wanted: str) -> Backend:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from munjang.engine.loading import load_model
    from munjang.engine.torch_backend import TorchBackend

    # Whatever the weights are stored in: sums in half precision are slow on a CPU and inexact everywhere.
    model = load_model(SentenceTransformer if kind == "bi-encoder" else CrossEncoder, folder, device).float()
    gains = wanted == "auto" and device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return TorchBackend(model, device, budget, half=gains or wanted == "torch-bfloat16")
