"""The device is found without loading what only a device needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from munjang.engine import device
from munjang.engine.device import choose_device
from munjang.errors import ConfigError


def test_the_cpu_by_name_loads_no_torch() -> None:
    code = "import sys; from munjang.engine.device import choose_device; print(choose_device('cpu'), 'torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["cpu", "False"]


def test_a_machine_that_shows_an_accelerator_is_asked_through_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(device, "_ACCELERATORS", (str(tmp_path),))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device() == "cuda"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert choose_device() == "cpu"


@pytest.mark.parametrize("wanted", ["gpu", "cuda:99", "cpu:1:2"])
def test_a_device_that_is_not_there_is_an_error(wanted: str) -> None:
    with pytest.raises(ConfigError, match="not available"):
        choose_device(wanted)
