"""Munjang: from raw sentences to a proven, small, fast sentence-embedding model with a search on it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "run": "munjang.api",
    "explain": "munjang.api",
    "run_stage": "munjang.api",
    "doctor": "munjang.api",
    "convert": "munjang.api",
    "search": "munjang.api",
    "load_rows": "munjang.data.load",
    "DataSpec": "munjang.config.recipe",
    "resolve_model": "munjang.models.source",
    "Encoder": "munjang.engine.encoder",
    "Scorer": "munjang.engine.scorer",
    "Searcher": "munjang.index.search",
    "MunjangError": "munjang.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    # Names load their modules on first use, so that `import munjang` stays free of torch.
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'munjang' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
