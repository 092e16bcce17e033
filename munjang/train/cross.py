"""Training of cross-encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from torch import Tensor, nn

from munjang.data.rows import pairs_of
from munjang.engine.features import Features
from munjang.engine.scorer import Scorer
from munjang.models.folder import model_kind
from munjang.models.heads import with_head
from munjang.progress import Progress, silent
from munjang.text import printable
from munjang.train.batches import RowSet
from munjang.train.best import BestWeights, TrainReport
from munjang.train.checkpoint import Checkpoints
from munjang.train.cross_losses import LOSSES
from munjang.train.examples import TrainRows, cross_examples, describe
from munjang.train.guards import CollapseGuard, probe_positions, spread_of_scores
from munjang.train.loop import Loop, save_model
from munjang.train.metrics import MetricsLog
from munjang.train.objectives import common_task
from munjang.train.options import TrainCrossOptions
from munjang.train.targets import TargetTable
from munjang.train.task import StepLoss
from munjang.train.team import Team


class CrossTask:
    """What a cross-encoder learns from, set by set; see `munjang.train.loop.Task`.

    Args:
        model: the cross-encoder under training.
        sets: rows with their objectives.
        options: of the training.
        seed: of orders and random negatives.
        team: the processes that train together.
    """

    def __init__(
        self,
        model: CrossEncoder,
        sets: Sequence[TrainRows],
        options: TrainCrossOptions,
        seed: int = 0,
        team: Team | None = None,
    ) -> None:
        self.model, self.team = model, team or Team()
        self.examples = [cross_examples(one, options.orders, options.negatives, seed) for one in sets]
        self.losses = [LOSSES[one.objective.name] for one in sets]
        self.targets = [TargetTable(part) for part in self.examples]
        pairs: dict[tuple[str, str], int] = {}
        self.pairs = [
            [[pairs.setdefault((e.texts[0], text), len(pairs)) for text in e.texts[1:]] for e in part]
            for part in self.examples
        ]
        self.features = Features(model, [list(pair) for pair in pairs])
        self.shown = list(pairs)
        lengths = self.features.lengths
        self.sets = [
            RowSet([max(lengths[i] for i in row) for row in part], texts=max(map(len, part))) for part in self.pairs
        ]
        self.used_tokens = self.features.used.tolist()
        self.trainable = nn.ModuleDict({"model": model})
        self.whole_gradients: set[int] = set()
        self._shown = [" / ".join(printable(text, 30) for text in pair) for pair in pairs]

    def truncated_pairs(self) -> set[frozenset[str]]:
        """Pairs, in any order, of which the model does not read the end."""
        return {frozenset(pair) for pair, cut in zip(self.shown, self.features.truncated, strict=True) if cut}

    def loss(self, number: int, rows: list[int]) -> StepLoss:
        """See `munjang.train.loop.Task`."""
        pairs = [self.pairs[number][row] for row in rows]
        width = max(map(len, pairs))
        logits, tokens, computed = self.score([i for row in pairs for i in row])
        mask = torch.tensor([[j < len(row) for j in range(width)] for row in pairs], device=logits.device)
        targets = self.targets[number].of(rows, width, logits.device)
        if self.targets[number].lists:
            logits = logits.new_zeros(mask.shape).masked_scatter(mask, logits[:, 0])
        return StepLoss(self.losses[number](logits, mask, targets), tokens, computed)

    def score(self, pairs: list[int]) -> tuple[Tensor, int, int]:
        """Logits of some pairs (n, outputs), their tokens, and tokens computed with padding."""
        tokens = sum(self.features.lengths[i] for i in pairs)
        share = self.team.share(pairs)
        if not share:  # more processes than pairs
            nothing = torch.zeros((0, self.model.num_labels), device=self.model.device)
            return self.team.gather(nothing, len(pairs)), tokens, tokens
        batch = self.features.batch(share)
        own = self.model(batch)["scores"].float()
        logits = self.team.gather(own.reshape(-1, self.model.num_labels), len(pairs))
        mask = batch["attention_mask"]
        return logits, tokens, self.team.whole(mask.numel(), int(mask.sum()), tokens)

    def guard(self, seed: int) -> CollapseGuard:
        """Watches the spread of the logits of some pairs."""
        probes = probe_positions(len(self.features), seed)

        def outputs() -> Tensor:
            self.model.eval()
            return self.model(self.features.batch(probes))["scores"].float().reshape(len(probes), -1).cpu()

        return CollapseGuard(outputs, spread_of_scores, [self._shown[i] for i in probes[:2]])

    def describe(self, number: int, row: int) -> str:
        """See `munjang.train.loop.Task`."""
        return describe(self.examples[number][row])


def train_cross(
    options: TrainCrossOptions,
    sets: Sequence[TrainRows],
    evaluate: Callable[[Scorer], float | None],
    *,
    start: Path,
    out: Path,
    seed: int,
    device: str,
    progress: Progress = silent,
    checkpoints: Checkpoints | None = None,
    team: Team | None = None,
    metrics: MetricsLog | None = None,
) -> TrainReport:
    """Train a cross-encoder and save the weights that were best on dev.

    The head is that of the objectives: one output on 0..1 for scores and ranking, three for NLI. A start with another
    head gets the right one, warm where the two are related.

    Args:
        options: see `TrainCrossOptions`.
        sets: rows with their objectives.
        evaluate: scores dev with a scorer: x 100, higher is better, or None where it is undefined.
        start: folder to start from: any body, or a cross-encoder.
        out: folder to write the CrossEncoder into.
        seed: of the head, the order of rows and of dropout.
        device: such as `cpu`.
        progress: told of each step.
        checkpoints: where to save and from where to go on; None saves nothing on the way.
        team: the processes that train together.
        metrics: filled with loss and speed by step.

    Raises:
        ConfigError: the objectives need different heads.
        DataError: rows that cannot teach, a loss that is not finite, a collapse.
    """
    task_name = common_task({one.name: one.objective for one in sets}, options.option("train"))
    head = with_head(start, task_name, pooling=options.pooling, max_length=options.max_length, device=device, seed=seed)
    model = head.model.float()  # updates of 1e-5 round away in half precision
    scorer = Scorer.of(model, device, symmetric=task_name == "sts", budget=options.eval_budget)
    report = TrainReport.of(sets)
    report.head = head.said
    report.warnings += [*options.length_said(model.max_seq_length), *_pooling_said(options, start)]

    def score() -> float | None:
        model.eval()
        return evaluate(scorer)

    task = CrossTask(model, sets, options, seed, team)
    cut = task.truncated_pairs()
    pairs = [pair for one in sets for row in one.rows for pair in pairs_of(row)] if cut else []
    report.truncated = sum(frozenset(pair) in cut for pair in pairs)
    best = BestWeights(
        task.trainable, score, report, ema=options.ema, team=task.team, parts=lambda: getattr(evaluate, "parts", {})
    )
    loop = Loop(task, options, best, seed=seed, progress=progress, checkpoints=checkpoints, metrics=metrics)
    loop.run(keep_start=not head.new)
    if task.team.leads:
        save_model(model, out)
    return report


def _pooling_said(options: TrainCrossOptions, start: Path) -> list[str]:
    """A sentence where a pooling was asked for that no new head reads."""
    if "pooling" not in options.model_fields_set or model_kind(start) != "cross-encoder":
        return []
    return [f"pooling = {options.pooling!r} has no effect: a cross-encoder's head keeps what it reads"]
