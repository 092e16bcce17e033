"""The training loop of both kinds of model: derived order, guards, the best weights, checkpoints.

A step is a pure function of the weights, the optimizer's state and (seed, step): the batch, the dropout and the
learning rate are derived, never remembered. So a training that was killed and goes on from its last checkpoint ends
with the weights of an unbroken one, to the bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from munjang.errors import DataError, Option, Phrase
from munjang.progress import Progress
from munjang.train.best import BestWeights
from munjang.train.checkpoint import Checkpoints
from munjang.train.guards import EARLY_STEPS
from munjang.train.metrics import MetricsLog
from munjang.train.options import TrainOptions
from munjang.train.plan import make_plan
from munjang.train.signals import patience
from munjang.train.task import Task
from munjang.train.trainable import parameter_groups, precision_of, prepare

#: Norm to which a gradient is cut, as in Vaswani et al. 2017's successors and the usual trainers.
_GRADIENT_NORM = 1.0


class Loop:
    """One training from its first step, or its last checkpoint, to its best weights.

    Args:
        task: what is trained.
        options: of the training.
        best: keeps the best weights.
        seed: of order and dropout.
        progress: told of each step.
        checkpoints: where to save, or None to save nothing.
        metrics: filled as training goes.
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
        metrics: MetricsLog | None = None,
    ) -> None:
        self.task, self.options, self.best, self.seed = task, options, best, seed
        self.progress, self.checkpoints, self.team = progress, checkpoints, task.team
        self.metrics = MetricsLog() if metrics is None else metrics
        self.plan = make_plan(task.sets, options, seed, smallest=max(2, self.team.size))
        self.report = best.report
        self.report.steps, self.report.seed = self.plan.steps, seed
        self.computed = 0
        self.since: list[float] = []
        self.clock, self.speed = (time.monotonic(), 0), 0.0
        self.guard = task.guard(seed)
        self.prepared = prepare(task.model, options, task.used_tokens, seed)
        self.report.warnings += self.prepared.said
        self.names = [name for name, _ in best.trained()]
        self.parameters = [parameter for _, parameter in best.trained()]
        self.device = self.parameters[0].device
        self.precision = precision_of(options, self.device)
        # The fused step is the same computation in one pass over memory.
        self.fused = self.device.type in ("cpu", "cuda")
        groups = parameter_groups(self.parameters, options.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, fused=self.fused)

    def run(self, *, keep_start: bool) -> None:
        """Train to the end, and leave the best weights in the model.

        Args:
            keep_start: False where a head starts from random numbers, so that the start is no candidate.

        Raises:
            DataError: the loss is not finite, the model collapses, or dev can never be scored.
            KeyboardInterrupt: the user stopped it; the step is finished and saved.
        """
        done = self._resume()
        if done is None:
            self.best.begin(keep=keep_start)
            self.guard.look(0)
            done = 0
        steps = self.plan.steps
        evaluate_at = self.plan.evaluated_at(self.options.evaluations)
        saved = time.monotonic()
        self.clock = (saved, self.report.tokens)
        stop = False
        with patience() as stopped:
            for step in range(done, steps):
                self._step(step)
                self.best.follow(step + 1)
                self._look(step + 1, step + 1 in evaluate_at)
                self._tell(step + 1)
                stop = self.team.any(stopped())
                # The clocks of a team differ, so the first process says when.
                due = self.team.agree(time.monotonic() - saved >= self.options.checkpoint_seconds)
                if self.checkpoints is not None and ((due and step + 1 < steps) or stop):
                    self._save(step + 1)
                    saved = time.monotonic()
                if stop:
                    break
        if stop:  # the signal has been sent on; nobody may have been there to raise
            raise KeyboardInterrupt
        self.report.regressed = keep_start and self.report.best_step == 0
        self.best.restore()
        self.prepared.undo()
        self.report.spread = self.guard.history
        self.report.padding = round(1 - self.report.tokens / self.computed, 4) if self.computed else 0.0

    def _look(self, step: int, evaluate: bool) -> None:
        """Watch for a collapse, and score dev if it is time; neither counts for the speed."""
        began = time.monotonic()
        if evaluate or step in EARLY_STEPS:
            self.guard.look(step)
        if evaluate:
            self.best.evaluate(step)
            self.metrics.log(step, dev=self.report.curve[-1]["dev"])
        self.clock = (self.clock[0] + time.monotonic() - began, self.clock[1])

    def _step(self, step: int) -> None:
        """One update of the weights."""
        self.task.model.train()
        torch.manual_seed(seed_of_step(self.seed, self.team.rank, step))
        rate = self.options.learning_rate * self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batches = self.plan.of_step(step)
        total = 0.0
        for number, rows in batches:
            with self.precision():
                loss, tokens, computed, partial = self.task.loss(number, rows)
            value = self.team.total(loss) if partial else float(loss.detach())
            if not math.isfinite(value):
                raise self._not_finite("loss", step, value, [(number, rows)])
            (loss / len(batches)).backward()
            total += value / len(batches)
            self.report.tokens += tokens
            self.computed += tokens if self.prepared.packed else computed
        self.team.add_gradients(self.parameters, self.task.whole_gradients)
        norm = nn.utils.clip_grad_norm_(self.parameters, _GRADIENT_NORM)
        if not math.isfinite(float(norm)):
            raise self._not_finite("gradient", step, float(norm), batches)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._log(step + 1, total, rate)

    def _rate(self, step: int) -> float:
        """The share of the peak learning rate: up over the warm-up, then down to 0 in a line."""
        warmup = max(round(self.plan.steps * self.options.warmup), 1)
        if step < warmup:
            return (step + 1) / warmup
        return max(self.plan.steps - step, 0) / max(self.plan.steps - warmup, 1)

    def _log(self, step: int, loss: float, rate: float) -> None:
        self.since.append(loss)
        if step % max(self.plan.steps // 40, 1) == 0 or step == self.plan.steps:
            mean = sum(self.since) / len(self.since)
            self.report.losses.append({"step": step, "loss": mean})
            now = time.monotonic()
            self.speed = (self.report.tokens - self.clock[1]) / max(now - self.clock[0], 1e-9)
            self.clock = (now, self.report.tokens)
            self.metrics.log(step, loss=mean, learning_rate=rate, tokens_per_second=round(self.speed, 1))
            self.since.clear()

    def _tell(self, step: int) -> None:
        parts = []
        recent = self.since or [self.report.losses[-1]["loss"]]
        parts.append(f"loss {sum(recent) / len(recent):.3f}")
        passed = time.monotonic() - self.clock[0]
        self.speed = (self.report.tokens - self.clock[1]) / passed if self.since and passed > 0 else self.speed
        parts.append(f"{self.speed:,.0f} tokens/s")
        if self.report.dev_best is not None:
            parts.append(f"dev {self.report.dev_best:.2f}")
        self.progress(step, self.plan.steps, "  ".join(parts))

    def _not_finite(self, what: str, step: int, value: float, batches: list[tuple[int, list[int]]]) -> DataError:
        """The weights are those of the step before; say which rows did it, as far as they do it by themselves."""
        self.optimizer.zero_grad(set_to_none=True)
        self.task.model.eval()
        rows = [(number, row) for number, part in batches for row in part]
        with torch.no_grad(), self.precision():  # in float32 a row that overflows bfloat16 would look innocent
            losses = [float(self.task.loss(number, [row]).loss) for number, row in rows]
        guilty = [rows[i] for i, loss in enumerate(losses) if not math.isfinite(loss)]
        shown = " | ".join(self.task.describe(*row) for row in (guilty or rows)[:3])
        which = f"{len(guilty)} of {len(rows)} rows by themselves" if guilty else f"{len(rows)} rows together"
        return DataError(
            f"the {what} is not finite any more; the weights were not updated",
            where=f"step {step + 1} of {self.plan.steps}",
            got=f"{value} for {which}, such as {shown}",
            hint=Phrase("lower {}, or look at these rows", Option("learning_rate")),
        )

    # -- checkpoints

    def _save(self, step: int) -> None:
        tensors = {f"weight/{name}": value for name, value in zip(self.names, self.parameters, strict=True)}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer/{key}/{name}"] = value
        tensors |= {f"best/{name}": value for name, value in self.best.best.items()}
        tensors |= {f"average/{name}": value for name, value in self.best.average.items()}
        state = {
            "plan": self.plan.digest(),
            "report": self.report.as_dict(),
            "since": self.since,
            "computed": self.computed,
            "metrics": self.metrics.rows,
            "guard": self.guard.history,
        }
        if self.team.leads:
            self.checkpoints.save(step, tensors, state)
        self.team.wait()

    def _resume(self) -> int | None:
        found = None
        for leads in (True, False):  # the first process clears away what a kill left; the others look after it
            if self.checkpoints is not None and self.team.leads is leads:
                found = self.checkpoints.load(self.device)
            self.team.wait()
        if found is None:
            return None
        step, tensors, state = found
        if state["plan"] != self.plan.digest():
            raise DataError(
                "this checkpoint was made with other batches",
                where=self.checkpoints.folder,
                got=f"{self.team.size} process(es)",
                hint="go on with as many processes as began it, or remove the folder to start over",
            )
        self.checkpoints.say(f"  going on from the checkpoint at step {step:,} of {self.plan.steps:,}")
        with torch.no_grad():
            for name, parameter in zip(self.names, self.parameters, strict=True):
                parameter.copy_(tensors[f"weight/{name}"])
        for name, parameter in zip(self.names, self.parameters, strict=True):
            prefix, suffix = "optimizer/", f"/{name}"
            self.optimizer.state[parameter] = {
                # The count of steps lies where the kind of optimizer wants it.
                key[len(prefix) : -len(suffix)]: value if self.fused or value.ndim else value.cpu()
                for key, value in tensors.items()
                if key.startswith(prefix) and key.endswith(suffix) and key.count("/") == 2
            }
        self.best.best = {k[5:]: v.cpu() for k, v in tensors.items() if k.startswith("best/")}
        self.best.average = {k[8:]: v for k, v in tensors.items() if k.startswith("average/")}
        for name, value in state["report"].items():
            setattr(self.report, name, value)
        self.since, self.computed = list(state["since"]), int(state["computed"])
        self.metrics.restore(state["metrics"])
        self.guard.history[:] = state["guard"]
        return step


def seed_of_step(seed: int, rank: int, step: int) -> int:
    """What a process draws a step's dropout from: 32 bits, for torch's generator on a CPU reads no more.

    Args:
        seed: of the training.
        rank: of the process; each draws its own.
        step: from 0.
    """
    return int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0])


def save_model(model: Any, out: Path) -> None:
    """Write an ordinary sentence-transformers folder."""
    model.eval()
    model.save_pretrained(str(out), create_model_card=False, safe_serialization=True)
