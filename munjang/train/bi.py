"""Training of bi-encoders on scored pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import AnglELoss, CoSENTLoss, CosineSimilarityLoss
from torch import Tensor

from munjang.data.rows import ScoredPair, sentences_of
from munjang.engine.encoder import Encoder, count_tokens
from munjang.progress import Progress, silent
from munjang.text import printable
from munjang.train.batches import RowSet
from munjang.train.best import BestWeights, TrainReport
from munjang.train.checkpoint import Checkpoints
from munjang.train.features import Features
from munjang.train.loop import Loop, save_model
from munjang.train.options import TrainBiOptions

#: Each compares the embeddings of two columns with scores; sentence-transformers' own definitions.
OBJECTIVES = {"cosent": CoSENTLoss, "cosine": CosineSimilarityLoss, "angle": AnglELoss}


class ScoredPairs:
    """Scored pairs under one of the objectives; see `munjang.train.loop.Task`.

    Each distinct text is tokenised once, and both sides of a batch go through the model in one forward pass.

    Args:
        model: the bi-encoder under training.
        rows: pairs; a pair that occurs twice counts twice.
        objective: a key of `OBJECTIVES`.
        prompt: goes before every text.
    """

    def __init__(self, model: SentenceTransformer, rows: list[ScoredPair], objective: str, prompt: str) -> None:
        self.model, self.rows = model, rows
        texts = list(dict.fromkeys(sentences_of(rows)))
        place = {text: i for i, text in enumerate(texts)}
        self.features = Features(model, texts, prompt)
        self.pairs = [(place[row.sentence1], place[row.sentence2]) for row in rows]
        self.scores = torch.tensor([row.score for row in rows])
        self.objective = OBJECTIVES[objective](model)
        lengths = self.features.lengths
        self.sets = [RowSet([max(lengths[a], lengths[b]) for a, b in self.pairs], texts=2)]
        self.used_tokens = self.features.used.tolist()

    def loss(self, number: int, rows: list[int]) -> tuple[Tensor, int, int]:
        """See `Task.loss`."""
        texts = [self.pairs[row][side] for side in (0, 1) for row in rows]
        batch = self.features.batch(texts)
        embeddings = self.model(batch)["sentence_embedding"]
        sides = [embeddings[: len(rows)], embeddings[len(rows) :]]
        scores = self.scores[rows].to(embeddings.device)
        loss = self.objective.compute_loss_from_embeddings(sides, scores)
        return loss, int(batch["attention_mask"].sum()), batch["attention_mask"].numel()

    def describe(self, number: int, row: int) -> str:
        """See `Task.describe`."""
        one = self.rows[row]
        return f"{printable(one.sentence1, 60)} / {printable(one.sentence2, 60)} ({one.score:.2f})"


def train_bi(
    options: TrainBiOptions,
    rows: list[ScoredPair],
    evaluate: Callable[[Encoder], float | None],
    *,
    start: Path,
    out: Path,
    seed: int,
    device: str,
    progress: Progress = silent,
    checkpoints: Checkpoints | None = None,
) -> TrainReport:
    """Train a bi-encoder and save the weights that were best on dev.

    The model's default prompt goes before every text, in training as in every later use.

    Args:
        options: see `TrainBiOptions`.
        rows: scored pairs.
        evaluate: scores dev with an encoder: Spearman x 100, or None where it is undefined.
        start: folder of the model to start from; a bare transformer gets mean pooling.
        out: folder to write the sentence-transformers model into.
        seed: of the order of rows and of dropout.
        device: such as `cpu`.
        progress: told of each step.
        checkpoints: where to save and from where to go on; None saves nothing on the way.
    """
    encoder = Encoder(start, device, options.eval_budget)
    model: SentenceTransformer = encoder.model
    model.max_seq_length = min(options.max_length, model.get_max_seq_length() or options.max_length)
    report = TrainReport(rows=len(set(rows)), excluded=0)
    prompt = encoder.prompt()
    report.truncated = sum(
        n > model.max_seq_length for n in count_tokens(model, [prompt + t for t in sentences_of(rows)])
    )

    def score() -> float | None:
        model.eval()
        return evaluate(encoder)

    best = BestWeights(model, score, report, ema=options.ema)
    task = ScoredPairs(model, rows, options.objective, prompt)
    Loop(task, options, best, seed=seed, progress=progress, checkpoints=checkpoints).run(keep_start=True)
    save_model(model, out)
    return report
