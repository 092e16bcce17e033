"""Checkpoints: the newest whole one is taken, a damaged one is passed over and said, another training's is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from munjang.errors import DataError, DiskError
from munjang.train.checkpoint import Checkpoints


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def saved(tmp_path: Path, said: list[str]) -> Checkpoints:
    """Checkpoints after the steps 10, 20 and 30."""
    checkpoints = Checkpoints(tmp_path / "work", "mine", said.append)
    for step in (10, 20, 30):
        checkpoints.save(step, {"a/b": torch.full((2, 3), float(step)), "n": torch.tensor(step)}, {"step": step})
    return checkpoints


def test_the_newest_is_taken_and_two_stay(saved: Checkpoints, said: list[str]) -> None:
    step, tensors, state = saved.load()
    assert (step, state) == (30, {"step": 30})
    assert torch.equal(tensors["a/b"], torch.full((2, 3), 30.0))
    assert tensors["n"].item() == 30
    assert [path.name for path in sorted(saved.folder.iterdir())] == ["step-00000020", "step-00000030"]
    assert said == []


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nowhere", "x").load() is None
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_a_damaged_one_is_passed_over_and_said(saved: Checkpoints, said: list[str], damage: str) -> None:
    newest = saved.folder / "step-00000030"
    file = newest / ("manifest.json" if damage == "manifest" else "tensors.safetensors")
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-3])
    else:
        content[-5] ^= 1
        file.write_bytes(content)
    assert saved.load()[0] == 20
    assert len(said) == 1
    assert "step-00000030 is damaged" in said[0]


def test_if_all_are_damaged_there_is_none(saved: Checkpoints, said: list[str]) -> None:
    for path in saved.folder.iterdir():
        (path / "state.json").write_text("{}")
    assert saved.load() is None
    assert len(said) == 3
    assert "starts over" in said[-1]


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_fills_in_mid_save_leaves_the_earlier_ones(
    saved: Checkpoints, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(DiskError) as caught:
            saved.save(40, {"a/b": torch.zeros(4)}, {})
    assert caught.value.exit_status == 74
    assert saved.load()[0] == 30
    assert [path.name for path in sorted(saved.folder.iterdir())] == ["step-00000020", "step-00000030"]


def test_that_of_another_training_is_refused(saved: Checkpoints) -> None:
    other = Checkpoints(saved.folder, "other")
    with pytest.raises(DataError, match="another training") as caught:
        other.load()
    assert str(saved.folder) in caught.value.hint


def test_what_a_kill_left_half_written_is_removed(saved: Checkpoints) -> None:
    (saved.folder / ".tmp-step-00000040-1").mkdir()
    assert saved.load()[0] == 30
    assert not list(saved.folder.glob(".tmp*"))


def test_a_step_that_is_done_again_replaces_its_checkpoint(saved: Checkpoints) -> None:
    saved.save(30, {"a/b": torch.zeros(1)}, {"step": 30, "again": True})
    assert saved.load()[2] == {"step": 30, "again": True}
