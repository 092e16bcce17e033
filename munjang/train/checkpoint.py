"""Checkpoints of a training: whole or absent, verified by digest, the newest whole one is taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from munjang.errors import DataError
from munjang.files import damage, new_directory, read_json, read_manifest, remove_leftovers, write_json

_STATE = "state.json"
_TENSORS = "tensors.safetensors"
#: Checkpoints that stay: the newest, and one to fall back to if the disk has damaged it.
_KEPT = 2


class Checkpoints:
    """The checkpoints of one training, in a folder of their own.

    Args:
        folder: made when the first checkpoint is written.
        belongs_to: a fingerprint of all that decides the training; a checkpoint of another is refused.
        say: told when a damaged checkpoint is passed over.
    """

    def __init__(self, folder: Path, belongs_to: str, say: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self.belongs_to, self.say = folder, belongs_to, say

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Commit a checkpoint after a step, and remove the oldest.

        Args:
            step: steps done.
            tensors: by name; written as they are.
            state: JSON values.

        Raises:
            DiskError: the disk refused; earlier checkpoints stay.
        """
        final = self.folder / f"step-{step:08d}"
        if final.exists():
            shutil.rmtree(final)
        with new_directory(final, belongs_to=self.belongs_to, step=step) as out:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, out / _TENSORS)
            write_json(out / _STATE, dict(state))
        for old in [path for path in self._found() if read_manifest(path) is not None][_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def load(self, device: str | torch.device = "cpu") -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole: (steps done, tensors, state), or None if there is none.

        Raises:
            DataError: it belongs to another training.
        """
        remove_leftovers(self.folder)
        damaged = False
        for path in self._found():
            problem = damage(path)
            if problem is not None:
                self.say(f"  the checkpoint {path.name} is damaged ({problem}): passed over")
                damaged = True
                continue
            meta = (read_manifest(path) or {"meta": {}})["meta"]
            if meta.get("belongs_to") != self.belongs_to:
                raise DataError(
                    "this checkpoint belongs to another training",
                    where=path,
                    expected=self.belongs_to,
                    got=str(meta.get("belongs_to")),
                    hint=f"remove {self.folder} to start over, or run the command that began it",
                )
            return int(meta["step"]), load_file(path / _TENSORS, device=str(device)), read_json(path / _STATE)
        if damaged:
            self.say("  no checkpoint is whole: the training starts over")
        return None

    def _found(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True) if self.folder.is_dir() else []
