"""Training of bi-encoders on scored pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import AnglELoss, CoSENTLoss, CosineSimilarityLoss

from munjang.data.rows import ScoredPair, sentences_of
from munjang.engine.encoder import Encoder, count_tokens
from munjang.progress import Progress, silent
from munjang.train.loop import KeepBest, TrainReport, fit, freeze_word_embeddings, trainer_arguments
from munjang.train.options import TrainBiOptions

OBJECTIVES = {"cosent": CoSENTLoss, "cosine": CosineSimilarityLoss, "angle": AnglELoss}


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
    """
    encoder = Encoder(start, device, options.eval_budget)
    model: SentenceTransformer = encoder.model
    model.max_seq_length = min(options.max_length, model.get_max_seq_length() or options.max_length)
    if options.freeze_embeddings:
        freeze_word_embeddings(model)
    report = TrainReport(rows=len(set(rows)), excluded=0)
    prompt = encoder.prompt()
    report.truncated = sum(
        n > model.max_seq_length for n in count_tokens(model, [prompt + t for t in sentences_of(rows)])
    )

    def score() -> float | None:
        model.eval()
        value = evaluate(encoder)
        model.train()
        return value

    keep = KeepBest(
        model, score, report, evaluations=options.evaluations, progress=progress, start=True, ema=options.ema
    )
    arguments = SentenceTransformerTrainingArguments(
        **trainer_arguments(options, out, seed, device, len(rows)), prompts=prompt or None
    )
    dataset = Dataset.from_dict(
        {
            "sentence1": [row.sentence1 for row in rows],
            "sentence2": [row.sentence2 for row in rows],
            "score": [row.score for row in rows],
        }
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=dataset, loss=OBJECTIVES[options.objective](model), callbacks=[keep]
    )
    fit(trainer, keep, out)
    return report
