"""What both trainers share: the rows that are left, the best weights, progress, and the guards."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback

from munjang.data.rows import ScoredPair, sentences_of
from munjang.errors import DataError
from munjang.progress import Progress
from munjang.text import match_key
from munjang.train.options import TrainOptions


@dataclass
class TrainReport:
    """What a training did; written beside the model."""

    rows: int
    """Distinct training pairs."""
    excluded: int
    """Pairs left out because they share a sentence with a set held out."""
    steps: int = 0
    truncated: int = 0
    dev_before: float | None = None
    dev_best: float | None = None
    best_step: int = 0
    curve: list[dict[str, float | None]] = field(default_factory=list)
    """Dev score (Spearman x 100) by step; None where it was undefined."""
    losses: list[dict[str, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return dict(self.__dict__)


def without_leaks(rows: list[ScoredPair], others: list[list[ScoredPair]]) -> list[ScoredPair]:
    """Training rows of which neither sentence occurs in another set.

    Args:
        rows: candidates for training.
        others: the sets that must stay unseen.
    """
    seen = {match_key(text) for other in others for text in sentences_of(other)}
    return [row for row in rows if match_key(row.sentence1) not in seen and match_key(row.sentence2) not in seen]


class KeepBest(TrainerCallback):
    """Scores dev, keeps the best weights in memory, and reports.

    Memory is one copy of the weights that are trained. Keeping them on the disk instead would write whole
    checkpoints of a model of which a fifth changes.

    Args:
        model: the module under training.
        score: returns dev's Spearman x 100 of the model as it is, or None where it is undefined.
        report: filled as training goes.
        evaluations: how often dev is scored, evenly over the steps.
        progress: told of each step.
        start: keep the starting weights if nothing beats them (False where a head starts from random numbers).
        ema: decay of an exponential moving average of the weights; if not 0, that average is what dev scores.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        score: Callable[[], float | None],
        report: TrainReport,
        *,
        evaluations: int,
        progress: Progress,
        start: bool,
        ema: float = 0.0,
    ) -> None:
        self.model, self.score, self.report, self.progress = model, score, report, progress
        self.evaluations = evaluations
        self.ema = ema
        self.average: dict[str, torch.Tensor] = {}
        self.best: dict[str, torch.Tensor] = {}
        self.evaluate_at: set[int] = set()
        report.dev_before = score()
        if start:
            self._keep(report.dev_before, 0)

    def _keep(self, value: float | None, step: int) -> None:
        if value is None or (self.report.dev_best is not None and value <= self.report.dev_best):
            return
        self.report.dev_best, self.report.best_step = value, step
        self.best = {name: parameter.detach().to("cpu", copy=True) for name, parameter in self._trained()}

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Move the average towards the weights; in the first steps it is their plain mean."""
        share = 1 - min(self.ema, (step - 1) / step)
        for name, parameter in self._trained():
            if name in self.average:
                self.average[name].lerp_(parameter.detach(), share)
            else:
                self.average[name] = parameter.detach().clone()

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with its averaged weights, for as long as it is scored."""
        if not self.ema:
            yield
            return
        own = {name: parameter.data for name, parameter in self._trained()}
        for name, parameter in self._trained():
            parameter.data = self.average[name]
        yield
        for name, parameter in self._trained():
            parameter.data = own[name]

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        """Plan the evaluations once the number of steps is known."""
        self.report.steps = state.max_steps
        self.evaluate_at = {
            max(round(state.max_steps * i / self.evaluations), 1) for i in range(1, self.evaluations + 1)
        }

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Report the step; score dev where planned."""
        note = f"loss {self.report.losses[-1]['loss']:.3f}" if self.report.losses else ""
        if self.report.dev_best is not None:
            note += f"  dev {self.report.dev_best:.2f}"
        self.progress(state.global_step, state.max_steps, note.strip())
        if self.ema:
            self._follow(state.global_step)
        if state.global_step in self.evaluate_at:
            with self._averaged():
                value = self.score()
                self.report.curve.append({"step": state.global_step, "dev": value})
                self._keep(value, state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        """Stop at a loss that is not finite."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise DataError(
                "the loss is not finite any more",
                where=f"step {state.global_step}",
                got=str(loss),
                hint="lower learning_rate",
            )
        self.report.losses.append({"step": state.global_step, "loss": loss})

    def restore(self) -> None:
        """Put the best weights back into the model.

        Raises:
            DataError: dev could never be scored, so that there is no best.
        """
        if not self.best:
            raise DataError(
                "dev could not be scored: its scores, or the model's, are all equal",
                hint="use a dev set with different scores",
            )
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self.best:
                    parameter.copy_(self.best[name])


def trainer_arguments(options: TrainOptions, out: Path, seed: int, device: str, rows: int) -> dict[str, Any]:
    """Arguments that both trainers of sentence-transformers take; nothing is saved or sent on the way."""
    steps = max(math.ceil(rows / options.batch_size * options.epochs), 1)
    return {
        "output_dir": str(_scratch(out)),
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "warmup_steps": options.warmup,
        "weight_decay": options.weight_decay,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": device == "cpu",
        "bf16": device.startswith("cuda") and torch.cuda.is_bf16_supported(),
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "logging_steps": max(steps // 40, 1),
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": device.startswith("cuda"),
    }


def _scratch(out: Path) -> Path:
    """A folder that the trainer insists on making; nothing of it is kept."""
    return out.with_name(f"{out.name}-scratch")


def fit(trainer: Trainer, keep: KeepBest, out: Path) -> None:
    """Train, put the best weights back, and save an ordinary sentence-transformers folder."""
    trainer.remove_callback(PrinterCallback)
    # Its examples would cost a pass over the data; the model card is written from the report instead.
    trainer.model.model_card_data.generate_widget_examples = False
    trainer.train()
    keep.restore()
    trainer.model.eval()
    trainer.model.save_pretrained(str(out), create_model_card=False, safe_serialization=True)
    shutil.rmtree(_scratch(out), ignore_errors=True)


def freeze_word_embeddings(model: torch.nn.Module) -> None:
    """Take the word embeddings out of the training."""
    for module in model.modules():
        if hasattr(module, "get_input_embeddings"):
            module.get_input_embeddings().weight.requires_grad_(False)
            return
