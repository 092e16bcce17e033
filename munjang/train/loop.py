"""The training loop of both kinds of model: derived order, guards, the best weights, checkpoints.

A step is a pure function of the weights, the optimizer's state and (seed, step): the batch, the dropout and the
learning rate are derived, never remembered. So a training that was killed and goes on from its last checkpoint ends
with the weights of an unbroken one, to the bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from munjang.data.rows import ScoredPair, sentences_of
from munjang.errors import DataError
from munjang.progress import Progress
from munjang.text import match_key
from munjang.train.batches import RowSet, epoch_batches, token_budget
from munjang.train.best import BestWeights
from munjang.train.checkpoint import Checkpoints
from munjang.train.options import TrainOptions
from munjang.train.vocabulary import UsedRows, keep_used_rows, restore_all_rows, word_embedding

#: Norm to which a gradient is cut, as in Vaswani et al. 2017's successors and the usual trainers.
_GRADIENT_NORM = 1.0
#: Losses that the report holds at most; each is the mean since the one before.
_LOSSES = 200


def without_leaks(rows: list[ScoredPair], others: list[list[ScoredPair]]) -> list[ScoredPair]:
    """Training rows of which neither sentence occurs in another set.

    Args:
        rows: candidates for training.
        others: the sets that must stay unseen.
    """
    seen = {match_key(text) for other in others for text in sentences_of(other)}
    return [row for row in rows if match_key(row.sentence1) not in seen and match_key(row.sentence2) not in seen]


class Task(Protocol):
    """What is trained: a model, its rows, and their loss."""

    model: nn.Module
    sets: list[RowSet]
    used_tokens: Sequence[int]
    """Ids of all tokens of the training rows."""

    def loss(self, number: int, rows: list[int]) -> tuple[Tensor, int, int]:
        """The loss of some rows of a set, tokens read, and tokens computed with padding."""

    def describe(self, number: int, row: int) -> str:
        """A row for an error message."""


@dataclass(frozen=True)
class Plan:
    """All batches of a training in order, as its seed decides them."""

    batches: list[tuple[int, list[int]]]
    accumulate: int

    @property
    def steps(self) -> int:
        """Updates of the weights."""
        return math.ceil(len(self.batches) / self.accumulate)

    def of_step(self, step: int) -> list[tuple[int, list[int]]]:
        """The batches of a step, counted from 0."""
        return self.batches[step * self.accumulate : (step + 1) * self.accumulate]


def make_plan(sets: Sequence[RowSet], options: TrainOptions, seed: int) -> Plan:
    """Derive every batch from the rows' lengths, the options and the seed.

    A fraction of an epoch is that share of its batches.
    """
    budget = options.batch_tokens or token_budget(sets, options.batch_size)
    batches: list[tuple[int, list[int]]] = []
    for epoch in range(math.ceil(options.epochs)):
        once = epoch_batches(sets, budget, seed=seed, epoch=epoch)
        share = min(options.epochs - epoch, 1)
        batches += once[: max(math.ceil(round(len(once) * share, 6)), 1)]
    return Plan(batches, options.accumulate)


class Loop:
    """One training from its first step, or its last checkpoint, to its best weights.

    Args:
        task: what is trained.
        options: of the training.
        best: keeps the best weights.
        seed: of order and dropout.
        progress: told of each step.
        checkpoints: where to save, or None to save nothing.
    """

    def __init__(
        self,
        task: Task,
        options: TrainOptions,
        best: BestWeights,
        *,
        seed: int,
        progress: Progress,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.task, self.options, self.best, self.seed = task, options, best, seed
        self.progress, self.checkpoints = progress, checkpoints
        self.plan = make_plan(task.sets, options, seed)
        self.report = best.report
        self.report.steps = self.plan.steps
        self.computed = 0
        self.since: list[float] = []
        self.rows = self._prepare_words()
        self.names = [name for name, _ in best.trained()]
        self.parameters = [parameter for _, parameter in best.trained()]
        self.optimizer = torch.optim.AdamW(self._groups(), lr=options.learning_rate)

    def _prepare_words(self) -> UsedRows | None:
        """Freeze the word embeddings, or train the rows that occur, or all of them."""
        if self.options.word_embeddings == "frozen":
            word_embedding(self.task.model)[2].weight.requires_grad_(False)
            return None
        if self.options.word_embeddings == "all":
            return None
        return keep_used_rows(self.task.model, self.task.used_tokens)

    def _groups(self) -> list[dict[str, Any]]:
        """Weights with decay, and those that decay only harms: biases and the scales of layer norms."""
        matrices = [p for p in self.parameters if p.ndim > 1]
        vectors = [p for p in self.parameters if p.ndim <= 1]
        return [
            {"params": matrices, "weight_decay": self.options.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]

    def run(self, *, keep_start: bool) -> None:
        """Train to the end, and leave the best weights in the model.

        Args:
            keep_start: False where a head starts from random numbers, so that the start is no candidate.

        Raises:
            DataError: the loss is not finite, or dev can never be scored.
            KeyboardInterrupt: the user stopped it; the step is finished and saved.
        """
        done = self._resume()
        if done is None:
            self.best.begin(keep=keep_start)
            done = 0
        steps = self.plan.steps
        evaluate_at = {
            max(round(steps * i / self.options.evaluations), 1) for i in range(1, self.options.evaluations + 1)
        }
        saved = time.monotonic()
        with _patience() as stopped:
            for step in range(done, steps):
                self._step(step)
                self.best.follow(step + 1)
                if step + 1 in evaluate_at:
                    self.best.evaluate(step + 1)
                self._tell(step + 1)
                last = step + 1 == steps
                due = time.monotonic() - saved >= self.options.checkpoint_seconds
                if self.checkpoints is not None and ((due and not last) or stopped()):
                    self._save(step + 1)
                    saved = time.monotonic()
                if stopped():
                    break
        if stopped():  # the signal has been sent on; nobody may have been there to raise
            raise KeyboardInterrupt
        self.best.restore()
        if self.rows is not None:
            restore_all_rows(self.task.model, self.rows)
        self.report.padding = round(1 - self.report.tokens / self.computed, 4) if self.computed else 0.0

    def _step(self, step: int) -> None:
        self.task.model.train()
        torch.manual_seed((self.seed << 24) + step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self._rate(step)
        batches = self.plan.of_step(step)
        total = 0.0
        for number, rows in batches:
            with self._precision():
                loss, tokens, computed = self.task.loss(number, rows)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise self._not_finite(step, value, number, rows)
            (loss / len(batches)).backward()
            total += value / len(batches)
            self.report.tokens += tokens
            self.computed += computed
        norm = nn.utils.clip_grad_norm_(self.parameters, _GRADIENT_NORM)
        if not math.isfinite(float(norm)):
            raise self._not_finite(step, float(norm), *batches[-1], what="gradient")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._log(step + 1, total)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 where a GPU gains from it; on a CPU without matrix units it is slower than float32."""
        cuda = self.parameters[0].device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast("cuda", torch.bfloat16) if cuda else contextlib.nullcontext()

    def _rate(self, step: int) -> float:
        """The share of the peak learning rate: up over the warm-up, then down to 0 in a line."""
        warmup = max(round(self.plan.steps * self.options.warmup), 1)
        if step < warmup:
            return (step + 1) / warmup
        return max(self.plan.steps - step, 0) / max(self.plan.steps - warmup, 1)

    def _log(self, step: int, loss: float) -> None:
        self.since.append(loss)
        if step % max(self.plan.steps // 40, 1) == 0 or step == self.plan.steps:
            self.report.losses.append({"step": step, "loss": sum(self.since) / len(self.since)})
            self.since.clear()

    def _tell(self, step: int) -> None:
        note = f"loss {self.report.losses[-1]['loss']:.3f}" if self.report.losses else ""
        if self.report.dev_best is not None:
            note += f"  dev {self.report.dev_best:.2f}"
        self.progress(step, self.plan.steps, note.strip())

    def _not_finite(self, step: int, value: float, number: int, rows: list[int], what: str = "loss") -> DataError:
        """The weights are those of the step before; say which rows did it."""
        self.optimizer.zero_grad(set_to_none=True)
        shown = " | ".join(self.task.describe(number, row) for row in rows[:3])
        return DataError(
            f"the {what} is not finite any more; the weights were not updated",
            where=f"step {step + 1} of {self.plan.steps}",
            got=f"{value} for {len(rows)} rows, the first of them: {shown}",
            hint="lower learning_rate, or look at these rows",
        )

    # -- checkpoints

    def _save(self, step: int) -> None:
        tensors = {f"weight/{name}": value for name, value in zip(self.names, self.parameters, strict=True)}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer/{key}/{name}"] = value
        tensors |= {f"best/{name}": value for name, value in self.best.best.items()}
        tensors |= {f"average/{name}": value for name, value in self.best.average.items()}
        state = {"report": self.report.as_dict(), "since": self.since, "computed": self.computed}
        self.checkpoints.save(step, tensors, state)

    def _resume(self) -> int | None:
        found = self.checkpoints.load(self.parameters[0].device) if self.checkpoints is not None else None
        if found is None:
            return None
        step, tensors, state = found
        self.checkpoints.say(f"  going on from the checkpoint at step {step:,} of {self.plan.steps:,}")
        with torch.no_grad():
            for name, parameter in zip(self.names, self.parameters, strict=True):
                parameter.copy_(tensors[f"weight/{name}"])
        for name, parameter in zip(self.names, self.parameters, strict=True):
            prefix, suffix = "optimizer/", f"/{name}"
            self.optimizer.state[parameter] = {
                key[len(prefix) : -len(suffix)]: value.cpu() if value.ndim == 0 else value
                for key, value in tensors.items()
                if key.startswith(prefix) and key.endswith(suffix) and key.count("/") == 2
            }
        self.best.best = {k[5:]: v.cpu() for k, v in tensors.items() if k.startswith("best/")}
        self.best.average = {k[8:]: v for k, v in tensors.items() if k.startswith("average/")}
        for name, value in state["report"].items():
            setattr(self.report, name, value)
        self.since, self.computed = list(state["since"]), int(state["computed"])
        return step


@contextlib.contextmanager
def _patience() -> Iterator[Callable[[], bool]]:
    """Lets a step be finished and saved when the user stops the training; a second signal stops at once.

    Yields:
        A function that tells whether to stop. On leaving, the signal goes to whoever handled it before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def take(number: int, frame: object) -> None:
        received.append(number)
        for each in numbers:
            signal.signal(each, before[each])

    for number in numbers:
        signal.signal(number, take)
    try:
        yield lambda: bool(received)
    finally:
        for number in numbers:
            signal.signal(number, before[number])
        if received:
            os.kill(os.getpid(), received[0])


def save_model(model: Any, out: Path) -> None:
    """Write an ordinary sentence-transformers folder."""
    model.eval()
    model.save_pretrained(str(out), create_model_card=False, safe_serialization=True)
