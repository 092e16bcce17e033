"""The stages mine and label: candidate pairs, then silver scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from munjang.augment.options import LabelOptions, MineOptions
from munjang.augment.pairs import mine
from munjang.data.rows import pair_key, sentences_of
from munjang.engine.encoder import Encoder, normalise
from munjang.engine.scorer import Scorer
from munjang.models.folder import fingerprint_model
from munjang.pipeline.stage import Context
from munjang.stages.inputs import PAIRS_FILE, load_input_rows, load_sentences, model_folder, stage_directory


def run_mine(options: MineOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write candidate pairs to `pairs.parquet`."""
    held_out = [row for value in options.held_out for row in load_input_rows(context, value).rows]
    excluded = [row for value in options.exclude for row in load_input_rows(context, value).rows]
    sentences = load_sentences(context, options.sentences, unseen=sentences_of(held_out))
    known = {pair_key(row.sentence1, row.sentence2) for row in [*excluded, *held_out]}
    encoder = Encoder(model_folder(context, options.model), context.device, cache=True)
    vectors = normalise(encoder.encode(sentences, progress=context.progress(f"encoding {len(sentences):,} sentences")))
    candidates = mine(
        sentences,
        vectors,
        known,
        neighbours=options.neighbours,
        random_share=options.random_share,
        max_pairs=options.max_pairs,
        seed=context.recipe.seed,
    )
    columns = {name: [getattr(c, name) for c in candidates] for name in candidates[0]._fields}
    pyarrow.parquet.write_table(pyarrow.table(columns), out / PAIRS_FILE)
    counts = {s: sum(c.strategy == s for c in candidates) for s in ("semantic", "random")}
    mixed = ", ".join(f"{count:,} {strategy}" for strategy, count in counts.items())
    context.say(f"  {len(candidates):,} pairs from {len(sentences):,} sentences ({mixed})")
    return {"sentences": len(sentences), "pairs": len(candidates), **counts}


def run_label(options: LabelOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write silver pairs to `pairs.parquet`, with where each comes from and which model scored it."""
    directory = stage_directory(context, options.pairs)
    table = pyarrow.parquet.read_table(directory / PAIRS_FILE)
    pairs = list(zip(table["sentence1"].to_pylist(), table["sentence2"].to_pylist(), strict=True))
    folder = model_folder(context, options.model)
    scorer = Scorer(folder, context.device, symmetric=options.symmetric, cache=True)
    scores = np.clip(scorer.score(pairs, context.progress(f"labelling {len(pairs):,} pairs")), 0, 1).astype(np.float64)
    table = table.append_column("score", pyarrow.array(scores))
    table = table.append_column(
        "labelled_by", pyarrow.array([fingerprint_model(folder)] * len(pairs)).dictionary_encode()
    )
    pyarrow.parquet.write_table(table, out / PAIRS_FILE)
    histogram = np.histogram(scores, bins=10, range=(0, 1))[0].tolist()
    context.say(f"  {len(pairs):,} silver scores, mean {scores.mean():.2f}, by tenth of the scale {histogram}")
    return {"pairs": len(pairs), "mean": float(scores.mean()), "deviation": float(scores.std()), "histogram": histogram}
