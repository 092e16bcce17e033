"""The verbs as functions: what the command line calls, and what a program may call in its place.

Heavy libraries are imported when a verb runs, not when this package is.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "RunResult": "runs",
    "augment": "augmenting",
    "checked_options": "naming",
    "cluster": "clustering",
    "convert": "converting",
    "dedup": "exploring",
    "doctor": "examining",
    "encode": "encoding",
    "encode_texts": "encoding",
    "evaluate": "evaluating",
    "examine": "examining",
    "explain": "runs",
    "export": "exporting",
    "find_index": "searching",
    "name_data": "naming",
    "name_sets": "naming",
    "paraphrases": "exploring",
    "plan_distillation": "distilling",
    "report": "evaluating",
    "run": "runs",
    "run_stage": "runs",
    "search": "searching",
    "serve": "serving",
    "similarity": "comparing",
    "similarity_matrix": "comparing",
    "similarity_pairs": "comparing",
    "verify": "exporting",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    # A verb's help needs none of the others: names load their modules on first use.
    if name in _PUBLIC:
        return getattr(import_module(f"munjang.api.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'munjang.api' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
