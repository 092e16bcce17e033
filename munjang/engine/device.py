"""Which device to run on."""

from __future__ import annotations

import sys
from pathlib import Path

from munjang.errors import ConfigError

#: What Linux shows of a device that torch may use: NVIDIA's, also under WSL, and AMD's.
_ACCELERATORS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")


def choose_device(wanted: str | None = None) -> str:
    """The device to use: as asked, else cuda, else mps, else cpu.

    Raises:
        ConfigError: the device that was asked for is not there.
    """
    if wanted in (None, "auto", "cpu") and _is_cpu_only(wanted):
        return "cpu"  # without loading torch, which an exported model does not need
    import torch

    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if wanted in (None, "auto"):
        return available[0]
    name, _, index = wanted.partition(":")
    known = index == "" or (name == "cuda" and index.isdigit() and int(index) < torch.cuda.device_count())
    if name not in available or not known:
        raise ConfigError("this device is not available", where=f"--device {wanted}", expected=" or ".join(available))
    return wanted


def _is_cpu_only(wanted: str | None) -> bool:
    """True if the answer is the CPU whatever torch says."""
    return wanted == "cpu" or (sys.platform == "linux" and not any(Path(path).exists() for path in _ACCELERATORS))
