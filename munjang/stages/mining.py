"""The stage mine: candidate pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from munjang.augment.candidates import Mined
from munjang.augment.mining import Corpus, mine
from munjang.augment.options import MineOptions
from munjang.augment.teachers import Teacher, score_resumably
from munjang.data.readers import ROLES
from munjang.data.rows import pair_key, sentences_of
from munjang.engine.encoder import Encoder, normalise
from munjang.models.folder import fingerprint_model
from munjang.pipeline.stage import Context
from munjang.stages.inputs import PAIRS_FILE, load_input_rows, load_sentences, model_folder

#: Rows of a table that are made at a time.
_BLOCK = 100_000


def run_mine(options: MineOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write candidate pairs to `pairs.parquet`, with where each comes from."""
    held_out = [row for value in options.held_out for row in load_input_rows(context, value, tuple(ROLES)).rows]
    excluded = [row for value in options.exclude for row in load_input_rows(context, value).rows]
    sentences = load_sentences(context, options.sentences, unseen=sentences_of(held_out))
    known = {pair_key(row.sentence1, row.sentence2) for row in excluded}
    vectors = None
    if options.model is not None and sentences:
        encoder = Encoder(model_folder(context, options.model), context.device, backend="exact", cache=True)
        title = f"encoding {len(sentences):,} sentences"
        vectors = normalise(encoder.encode(sentences, progress=context.progress(title)))
    corpus = Corpus(
        sentences,
        vectors,
        _score(options, context, sentences),
        np.array([row.score for row in excluded]) if "kde" in options.strategies else None,
    )
    mined = mine(
        corpus,
        known,
        options.strategies,
        neighbours=options.neighbours,
        pool=options.pool,
        max_pairs=options.max_pairs,
        seed=context.recipe.seed,
        progress=context.progress(f"searching among {len(sentences):,} sentences"),
    )
    found_by = fingerprint_model(model_folder(context, options.model)) if options.model is not None else None
    _write(out / PAIRS_FILE, mined, corpus, found_by)
    total = len(mined.pairs.first)
    mixed = ", ".join(f"{count:,} {name}" for name, count in mined.counts.items())
    context.say(f"  {total:,} pairs from {len(sentences):,} sentences ({mixed})")
    if options.max_pairs is not None and total < options.max_pairs:
        context.say(f"  fewer than max_pairs = {options.max_pairs:,}: there are no more of these strategies")
    return {"sentences": len(sentences), "pairs": total, "strategies": mined.counts}


def _score(
    options: MineOptions, context: Context, sentences: list[str]
) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    """Scores of pairs by position, for `kde`; committed as they come, so a kill costs little."""
    if options.scorer is None:
        return None
    teacher = Teacher(options.scorer, model_folder(context, options.scorer), context.device)

    def score(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        pairs = [(sentences[i], sentences[j]) for i, j in zip(first, second, strict=True)]
        progress = context.progress(f"scoring a pool of {len(pairs):,} pairs")
        return score_resumably(teacher, pairs, context.work, context.fingerprint, progress).mean(axis=1)

    return score


def _write(path: Path, mined: Mined, corpus: Corpus, found_by: str | None) -> None:
    """A table of the pairs, written in blocks: texts of millions of pairs are never in memory at once."""
    pairs = mined.pairs
    schema = pyarrow.schema(
        {
            "sentence1": pyarrow.string(),
            "sentence2": pyarrow.string(),
            "strategy": pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
            "rank": pyarrow.int32(),
            "found_score": pyarrow.float32(),
            "cosine": pyarrow.float32(),
            "found_by": pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
        }
    )
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, len(pairs.first), _BLOCK):
            part = pairs.take(np.arange(start, min(start + _BLOCK, len(pairs.first))))
            names = pyarrow.DictionaryArray.from_arrays(
                pyarrow.array(mined.strategy[start : start + _BLOCK], pyarrow.int8()), mined.names
            )
            cosines = [None] * len(part.first)
            if corpus.vectors is not None:
                cosines = np.einsum("ij,ij->i", corpus.vectors[part.first], corpus.vectors[part.second])
            scores = pyarrow.array(part.score, mask=np.isnan(part.score))
            writer.write_table(
                pyarrow.table(
                    [
                        pyarrow.array([corpus.sentences[i] for i in part.first], pyarrow.string()),
                        pyarrow.array([corpus.sentences[i] for i in part.second], pyarrow.string()),
                        names,
                        pyarrow.array(part.rank, pyarrow.int32()),
                        scores,
                        pyarrow.array(cosines, pyarrow.float32()),
                        pyarrow.array([found_by] * len(part.first), schema.field("found_by").type),
                    ],
                    schema=schema,
                )
            )
