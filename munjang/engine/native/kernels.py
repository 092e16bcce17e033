"""Whether the package munjang-native is there, and how many threads its kernels take."""

from __future__ import annotations

import importlib.metadata
import os
from functools import lru_cache
from typing import Any

#: How to get the kernels, for messages.
BUILD = "build the kernels, which needs a C++ compiler: pip install ./native"


@lru_cache(maxsize=1)
def module() -> Any | None:
    """The module `munjang_native`, or None where it is not installed or `MUNJANG_NATIVE=0` says to do without."""
    if os.environ.get("MUNJANG_NATIVE") == "0":
        return None
    try:
        import munjang_native
    except ImportError:
        return None
    return munjang_native


@lru_cache(maxsize=1)
def release() -> str:
    """Of the kernels."""
    return importlib.metadata.version("munjang-native")


def instructions() -> str:
    """Which kernels run here: `MUNJANG_KERNELS`, such as `avx2`, else the fastest that this processor has."""
    return os.environ.get("MUNJANG_KERNELS") or module().kernels()[0]


def threads() -> int:
    """Cores that this process may use, or what `OMP_NUM_THREADS` leaves of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(asked) if asked.isdecimal() else cores))
