"""Training of cross-encoders on scored pairs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor, nn

from munjang.data.rows import ScoredPair, pair_key, sentences_of
from munjang.engine.encoder import count_tokens
from munjang.engine.scorer import Scorer
from munjang.models.folder import model_kind
from munjang.progress import Progress, silent
from munjang.text import match_key, printable
from munjang.train.batches import RowSet
from munjang.train.best import BestWeights, TrainReport
from munjang.train.checkpoint import Checkpoints
from munjang.train.features import Features
from munjang.train.loop import Loop, save_model
from munjang.train.options import TrainCrossOptions


def in_orders(rows: list[ScoredPair], orders: str, seed: int) -> list[ScoredPair]:
    """Pairs as they are presented: in `both` orders, in one drawn at `random`, or as `given`."""
    turned = [ScoredPair(row.sentence2, row.sentence1, row.score) for row in rows]
    if orders == "both":
        return [row for pair in zip(rows, turned, strict=True) for row in pair]
    if orders == "random":
        draw = random.Random(seed)
        return [row if draw.random() < 0.5 else other for row, other in zip(rows, turned, strict=True)]
    return rows


def random_negatives(rows: list[ScoredPair], share: float, seed: int) -> list[ScoredPair]:
    """Pairs of sentences drawn at random from the rows, with score 0; none of them is a row.

    Args:
        rows: training pairs.
        share: pairs to draw for each row.
        seed: of the draw.
    """
    sentences = list({match_key(text): text for text in sentences_of(rows)}.values())
    known = {key for key in (pair_key(row.sentence1, row.sentence2) for row in rows) if key[0] != key[1]}
    wanted = min(round(len(rows) * share), len(sentences) * (len(sentences) - 1) // 2 - len(known))
    draw = random.Random(seed)
    drawn: list[ScoredPair] = []
    while len(drawn) < wanted:
        first, second = draw.choice(sentences), draw.choice(sentences)
        key = pair_key(first, second)
        if key not in known and key[0] != key[1]:
            known.add(key)
            drawn.append(ScoredPair(first, second, 0.0))
    return drawn


def new_cross_encoder(body: Path, pooling: str, max_length: int, device: str, seed: int) -> CrossEncoder:
    """A cross-encoder from any transformer body, with a new head that reads the pooled tokens.

    The body of a bi-encoder has its meaning in the mean of its tokens: on KorSTS dev one epoch from
    multilingual-e5-small gave more with a mean than with the first token.
    """
    torch.manual_seed(seed)
    transformer = Transformer(str(body), max_seq_length=max_length, model_kwargs={"use_safetensors": True})
    size = transformer.get_embedding_dimension()
    head = Dense(size, 1, activation_function=None, module_output_name="scores")
    return CrossEncoder(modules=[transformer, Pooling(size, pooling), head], device=device)


class PairScores:
    """Regression of scores on 0..1 by binary cross-entropy on the logit; see `munjang.train.loop.Task`.

    Args:
        model: the cross-encoder under training.
        rows: pairs as they are presented.
    """

    def __init__(self, model: CrossEncoder, rows: list[ScoredPair]) -> None:
        self.model, self.rows = model, rows
        self.features = Features(model, [[row.sentence1, row.sentence2] for row in rows])
        self.scores = torch.tensor([row.score for row in rows])
        self.sets = [RowSet(self.features.lengths, texts=1)]
        self.used_tokens = self.features.used.tolist()

    def loss(self, number: int, rows: list[int]) -> tuple[Tensor, int, int]:
        """See `Task.loss`."""
        batch = self.features.batch(rows)
        logits = self.model(batch)["scores"].view(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, self.scores[rows].to(logits))
        return loss, int(batch["attention_mask"].sum()), batch["attention_mask"].numel()

    def describe(self, number: int, row: int) -> str:
        """See `Task.describe`."""
        one = self.rows[row]
        return f"{printable(one.sentence1, 60)} / {printable(one.sentence2, 60)} ({one.score:.2f})"


def train_cross(
    options: TrainCrossOptions,
    rows: list[ScoredPair],
    evaluate: Callable[[Scorer], float | None],
    *,
    start: Path,
    out: Path,
    seed: int,
    device: str,
    progress: Progress = silent,
    checkpoints: Checkpoints | None = None,
) -> TrainReport:
    """Train a cross-encoder to give scores on 0..1 and save the weights that were best on dev.

    Args:
        options: see `TrainCrossOptions`.
        rows: scored pairs.
        evaluate: scores dev with a scorer: Spearman x 100, or None where it is undefined.
        start: folder to start from: a cross-encoder with one output goes on, any other body gets a new head.
        out: folder to write the CrossEncoder into.
        seed: of the head, the order of rows and of dropout.
        device: such as `cpu`.
        progress: told of each step.
        checkpoints: where to save and from where to go on; None saves nothing on the way.
    """
    goes_on = model_kind(start) == "cross-encoder"
    if goes_on:
        scorer = Scorer(start, device, budget=options.eval_budget)
        scorer.model.max_seq_length = min(options.max_length, scorer.model.max_seq_length or options.max_length)
    else:
        model = new_cross_encoder(start, options.pooling, options.max_length, device, seed)
        scorer = Scorer.of(model, device, budget=options.eval_budget)
    model = scorer.model
    shown = in_orders([*rows, *random_negatives(rows, options.negatives, seed)], options.orders, seed)
    report = TrainReport(rows=len(set(rows)), excluded=0)
    lengths = count_tokens(model, [(row.sentence1, row.sentence2) for row in rows])
    report.truncated = sum(n > model.max_seq_length for n in lengths)

    def score() -> float | None:
        model.eval()
        return evaluate(scorer)

    best = BestWeights(model, score, report, ema=options.ema)
    task = PairScores(model, shown)
    Loop(task, options, best, seed=seed, progress=progress, checkpoints=checkpoints).run(keep_start=goes_on)
    save_model(model, out)
    return report
