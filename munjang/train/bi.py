"""Training of bi-encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from munjang.data.rows import sentences_of
from munjang.engine.bags import is_bag, read_features
from munjang.engine.encoder import Encoder
from munjang.engine.loading import load_model
from munjang.errors import ConfigError
from munjang.models.convert import as_bi_encoder, own_pooling
from munjang.models.folder import model_kind
from munjang.progress import Progress, silent
from munjang.text import printable
from munjang.train.batches import RowSet
from munjang.train.best import BestWeights, TrainReport
from munjang.train.checkpoint import Checkpoints
from munjang.train.distilling import add_dense, make_distil, reduced
from munjang.train.examples import Example, TrainRows, describe, examples_of
from munjang.train.guards import CollapseGuard, probe_positions, spread_of_vectors
from munjang.train.loop import Loop, save_model
from munjang.train.losses import make_loss
from munjang.train.metrics import MetricsLog
from munjang.train.options import TrainBiOptions
from munjang.train.targets import TargetTable, VectorTable
from munjang.train.task import StepLoss
from munjang.train.team import Team
from munjang.train.tsdae import DenoisingDecoder


class BiTask:
    """What a bi-encoder learns from, set by set; see `munjang.train.loop.Task`.

    Each distinct text is tokenised once, and all texts of a batch go through the model in one forward pass.

    Args:
        model: the bi-encoder under training.
        sets: rows with their objectives.
        options: of the training.
        prompt: goes before every text.
        team: the processes that train together.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        sets: Sequence[TrainRows],
        options: TrainBiOptions,
        prompt: str = "",
        team: Team | None = None,
    ) -> None:
        self.model, self.team = model, team or Team()
        self.examples = [examples_of(one) for one in sets]
        self.texts = texts = list(
            dict.fromkeys(text for part in self.examples for example in part for text in example.texts)
        )
        place = {text: i for i, text in enumerate(texts)}
        self.features = read_features(model, texts, prompt)
        self.positions = [_positions(part, place) for part in self.examples]
        self.targets = [
            TargetTable(part) if one.vectors is None else VectorTable(one.vectors)
            for one, part in zip(sets, self.examples, strict=True)
        ]
        self.sets = [_row_set(part, self.features.lengths) for part in self.positions]
        self.used_tokens = self.features.used.tolist()
        self.losses = [self._loss(one, options, prompt) for one in sets]
        heads = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))
        self.trainable = nn.ModuleDict({"model": model, "heads": heads})
        whole = (head for head in heads if not isinstance(head, DenoisingDecoder))
        self.whole_gradients = {id(p) for head in whole for p in head.parameters()}

    def _loss(self, one: TrainRows, options: TrainBiOptions, prompt: str) -> Any:
        if one.vectors is not None:
            return make_distil(one.objective.name, self.model, options, one.vectors.shape[1])
        if one.objective.name == "tsdae":
            return DenoisingDecoder(self.model, self.features, prompt)
        return make_loss(one.objective.name, self.model, options)

    def truncated_texts(self) -> set[str]:
        """Those of which the model does not read the end."""
        return {text for text, cut in zip(self.texts, self.features.truncated, strict=True) if cut}

    def loss(self, number: int, rows: list[int]) -> StepLoss:
        """See `munjang.train.loop.Task`."""
        positions = self.positions[number][rows]
        mask = torch.from_numpy(positions >= 0)
        if isinstance(self.losses[number], DenoisingDecoder):
            return self.losses[number].step(self.team, positions[:, 0].tolist())
        texts = positions[positions >= 0].tolist()
        vectors, tokens, computed = self.embed(texts)
        # A missing text takes the row of zeros behind the vectors.
        slots = torch.full(positions.shape, len(texts), dtype=torch.long)
        slots[mask] = torch.arange(len(texts))
        padded = torch.cat([vectors, vectors.new_zeros((1, vectors.shape[1]))])
        grouped = padded[slots.to(vectors.device)]
        targets = self.targets[number].of(rows, positions.shape[1] - 1, vectors.device)
        return StepLoss(
            self.losses[number](grouped, torch.from_numpy(positions).to(vectors.device), targets), tokens, computed
        )

    def embed(self, texts: list[int]) -> tuple[Tensor, int, int]:
        """Vectors of some texts (n, d), their tokens, and tokens computed with padding."""
        tokens = sum(self.features.lengths[i] for i in texts)
        share = self.team.share(texts)
        if not share:  # more processes than texts
            nothing = torch.zeros((0, int(self.model.get_embedding_dimension() or 0)), device=self.model.device)
            return self.team.gather(nothing, len(texts)), tokens, tokens
        batch = self.features.batch(share)
        vectors = self.team.gather(self.model(batch)["sentence_embedding"].float(), len(texts))
        there = batch.get("attention_mask")
        own = batch["input_ids"].numel()
        return vectors, tokens, self.team.whole(own, own if there is None else int(there.sum()), tokens)

    def guard(self, seed: int) -> CollapseGuard:
        """Watches the spread of the vectors of some texts."""
        probes = probe_positions(len(self.features), seed)

        def outputs() -> Tensor:
            self.model.eval()
            return self.model(self.features.batch(probes))["sentence_embedding"].float().cpu()

        return CollapseGuard(outputs, spread_of_vectors, [printable(self.texts[i], 60) for i in probes[:2]])

    def describe(self, number: int, row: int) -> str:
        """See `munjang.train.loop.Task`."""
        return describe(self.examples[number][row])


def _positions(examples: Sequence[Example], place: dict[str, int]) -> np.ndarray:
    """Numbers of the texts of each example: (n, most texts), -1 where there is none."""
    widest = max(len(example.texts) for example in examples)
    found = np.full((len(examples), widest), -1, np.int64)
    for row, example in enumerate(examples):
        found[row, : len(example.texts)] = [place[text] for text in example.texts]
    return found


def _row_set(positions: np.ndarray, lengths: Sequence[int]) -> RowSet:
    longest = np.where(positions >= 0, np.asarray(lengths)[positions], 0).max(axis=1)
    return RowSet(longest.tolist(), texts=positions.shape[1])


def train_bi(
    options: TrainBiOptions,
    sets: Sequence[TrainRows],
    evaluate: Callable[[Encoder], float | None],
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
    """Train a bi-encoder and save the weights that were best on dev.

    The model's default prompt goes before every text, in training as in every later use.

    Args:
        options: see `TrainBiOptions`.
        sets: rows with their objectives.
        evaluate: scores dev with an encoder: x 100, higher is better, or None where it is undefined.
        start: folder of the model to start from; a bare transformer gets mean pooling, a cross-encoder loses its head.
        out: folder to write the sentence-transformers model into.
        seed: of the order of rows, of dropout and of new weights.
        device: such as `cpu`.
        progress: told of each step.
        checkpoints: where to save and from where to go on; None saves nothing on the way.
        team: the processes that train together.
        metrics: filled with loss and speed by step.

    Raises:
        ConfigError: `matryoshka` asks for more dimensions than there are.
        DataError: rows that cannot teach, a loss that is not finite, a collapse.
    """
    report = TrainReport.of(sets)
    taught = next((one.vectors.shape[1] for one in sets if one.vectors is not None), None)
    encoder = _load_start(start, options, device, seed, report, taught if options.projection == "dense" else None)
    model: SentenceTransformer = encoder.model
    if taught is not None and options.projection == "pca":
        sets = reduced(sets, encoder.dimension)
    prompt = encoder.prompt()

    def score() -> float | None:
        model.eval()
        return evaluate(encoder)

    task = BiTask(model, sets, options, prompt, team)
    cut = task.truncated_texts()
    report.truncated = sum(text in cut for one in sets for text in sentences_of(one.rows)) if cut else 0
    best = BestWeights(
        task.trainable, score, report, ema=options.ema, team=task.team, parts=lambda: getattr(evaluate, "parts", {})
    )
    loop = Loop(task, options, best, seed=seed, progress=progress, checkpoints=checkpoints, metrics=metrics)
    # A new layer knows nothing: the start is no candidate then.
    loop.run(keep_start=not report.head.startswith("a dense layer"))
    if task.team.leads:
        save_model(model, out)
    return report


def _load_start(
    start: Path, options: TrainBiOptions, device: str, seed: int, report: TrainReport, size: int | None = None
) -> Encoder:
    """The model to train, with the length that it is to read, and vectors of another `size` where that is asked for; what
    was changed about it goes into the report."""
    torch.manual_seed(seed)
    if model_kind(start) == "cross-encoder":
        loaded, report.head, _ = as_bi_encoder(start, own_pooling(start) or "mean", options.max_length, seed)
        loaded = loaded.to(device)
    else:
        loaded = load_model(SentenceTransformer, start, device)
    if size is not None:
        add_dense(loaded, size, seed)
        report.head = f"a dense layer gives vectors of {size} numbers; it is saved with the model"
    encoder = Encoder.of(loaded, device, options.eval_budget)
    _require_smaller(options, encoder.dimension)
    # Whatever the weights were stored in: updates of 1e-5 round away in half precision.
    model = encoder.model.float()
    if is_bag(model):
        report.reads_whole = True
        return encoder
    whole = model.get_max_seq_length() or options.max_length
    model.max_seq_length = min(options.max_length, whole)
    report.warnings += options.length_said(model.max_seq_length)
    if model.max_seq_length < whole:
        report.warnings.append(f"the start read {whole} tokens, the trained model reads {model.max_seq_length}")
    return encoder


def _require_smaller(options: TrainBiOptions, dimension: int) -> None:
    if options.matryoshka and max(options.matryoshka) >= dimension:
        raise ConfigError(
            "matryoshka dimensions must be smaller than the vector",
            where=options.option("matryoshka", options.matryoshka),
            expected=f"below {dimension}",
            got=f"{options.matryoshka}",
        )
