"""Which backend runs a model."""

from __future__ import annotations

from pathlib import Path

from munjang.engine.backend import Backend
from munjang.models.folder import require_kind, require_safe_folder


def open_backend(folder: Path, kind: str, device: str, budget: int | None, wanted: str) -> Backend:
    """Open a model with a backend.

    Args:
        folder: of the model.
        kind: `bi-encoder` or `cross-encoder`.
        device: such as `cpu`.
        budget: padded tokens a batch; the backend's own by default.
        wanted: `torch`, the name of an export such as `openvino-int8`, or `auto`.

    Raises:
        MissingInputError: no such folder or export. DataError: the folder is unsafe, damaged, or of the other kind.
        UnavailableError: the backend's library is not installed.
    """
    require_kind(folder, kind)
    require_safe_folder(folder)
    return _torch(folder, kind, device, budget)


def _torch(folder: Path, kind: str, device: str, budget: int | None) -> Backend:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from munjang.engine.loading import load_model
    from munjang.engine.torch_backend import TorchBackend

    model = load_model(SentenceTransformer if kind == "bi-encoder" else CrossEncoder, folder, device)
    return TorchBackend(model, device, budget)
