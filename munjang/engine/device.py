"""Which device to run on."""

from __future__ import annotations

from munjang.errors import ConfigError


def choose_device(wanted: str | None = None) -> str:
    """The device to use: as asked, else cuda, else mps, else cpu.

    Raises:
        ConfigError: the device that was asked for is not there.
    """
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
