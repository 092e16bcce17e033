"""Seconds of an evaluation against the evaluators of sentence-transformers, on the same models and rows, and of the bootstrap.

    MUNJANG_DATA=FOLDER python -m benchmarks.evaluate [--bi bundled:e5-small] [--cross MODEL] [--on SET...] [--repeats 2]
        [--ceiling]

Peers: EmbeddingSimilarityEvaluator for a bi-encoder and CrossEncoderCorrelationEvaluator for a cross-encoder, with their
defaults, one set after the other, as they are used. Munjang measures all sets at once: each distinct text once, by length,
in batches of a budget of tokens. Runs alternate; the table holds medians. What is timed is the model's work and the
figures: neither side has intervals in it, nor single calls for the latency. `--cross` scores each pair in the order given, as
the peer does. The last line times 10,000 resamples of Spearman on 1,500 pairs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.engine import ceiling
from benchmarks.machine import machine

_SETS = ("korsts:test", "klue-sts-sample", "stsb:dev", "stsb:test")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bi", default="bundled:e5-small")
    parser.add_argument("--cross", help="a cross-encoder; without one only bi-encoders are compared")
    parser.add_argument("--on", nargs="+", default=list(_SETS))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--ceiling", action="store_true", help="what matrix products alone would take for the bi-encoder"
    )
    arguments = parser.parse_args()
    from munjang.models.source import resolve_model

    sets = {name: _rows(name) for name in arguments.on}
    print(machine())
    print(f"{sum(map(len, sets.values())):,} pairs of {', '.join(sets)}\n")
    print("| model | sentence-transformers, s | munjang, s | ratio | largest difference of Spearman x 100 |")
    print("|---|---:|---:|---:|---:|")
    for kind, name in (("bi-encoder", arguments.bi), ("cross-encoder", arguments.cross)):
        if name is not None:
            print(_line(f"{kind} {name}", kind, resolve_model(name, Path()), sets, arguments.repeats), flush=True)
    if arguments.ceiling:
        texts = list(dict.fromkeys(text for rows in sets.values() for row in rows for text in row[:2]))
        print("\n" + ceiling(resolve_model(arguments.bi, Path()), texts))
    print(f"\nbootstrap: {_bootstrap():.2f} s for 10,000 resamples of Spearman on 1,500 pairs")


def _rows(name: str) -> list:
    from munjang.config.recipe import DataSpec
    from munjang.data.load import load_rows

    return load_rows(DataSpec(source=name), ("scored-pairs",), Path()).rows


def _line(label: str, kind: str, folder: Path, sets: dict[str, list], repeats: int) -> str:
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        "peer": (_peer_bi if kind == "bi-encoder" else _peer_cross)(folder, sets),
        "munjang": _munjang(folder, sets),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    figures: dict[str, dict[str, float]] = {}
    for _ in range(repeats):
        for name, run in contenders.items():
            began = time.perf_counter()
            figures[name] = run()
            seconds[name].append(time.perf_counter() - began)
    peer, own = (statistics.median(seconds[name]) for name in ("peer", "munjang"))
    apart = max(abs(figures["peer"][name] - figures["munjang"][name]) for name in sets)
    return f"| {label} | {peer:.1f} | {own:.1f} | {peer / own:.2f} | {apart:.4f} |"


def _peer_bi(folder: Path, sets: dict[str, list]) -> Callable[[], dict[str, float]]:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    model = SentenceTransformer(str(folder), device="cpu")
    evaluators = {
        name: EmbeddingSimilarityEvaluator(*map(list, zip(*rows, strict=True)), main_similarity="cosine", name=name)
        for name, rows in sets.items()
    }
    return lambda: {name: 100 * e(model)[f"{name}_spearman_cosine"] for name, e in evaluators.items()}


def _peer_cross(folder: Path, sets: dict[str, list]) -> Callable[[], dict[str, float]]:
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderCorrelationEvaluator

    model = CrossEncoder(str(folder), device="cpu")
    evaluators = {
        name: CrossEncoderCorrelationEvaluator([row[:2] for row in rows], [row[2] for row in rows], name=name)
        for name, rows in sets.items()
    }
    return lambda: {name: 100 * e(model)[f"{name}_spearman"] for name, e in evaluators.items()}


def _munjang(folder: Path, sets: dict[str, list]) -> Callable[[], dict[str, float]]:
    from munjang.engine.encoder import Encoder, cosine_of_rows
    from munjang.engine.scorer import Scorer
    from munjang.evaluate.outputs import PairLogits, Vectors
    from munjang.evaluate.statistics import spearman, whole
    from munjang.models.folder import model_kind

    cross = model_kind(folder) == "cross-encoder"
    runner = Scorer(folder) if cross else Encoder(folder)

    def measured() -> dict[str, float]:
        """Spearman x 100 of each set."""
        if isinstance(runner, Scorer):
            logits = PairLogits(runner, [row[:2] for rows in sets.values() for row in rows])
            found = {name: logits.scores([row[:2] for row in rows], False) for name, rows in sets.items()}
        else:
            vectors = Vectors(runner, [("similarity", [t for row in rows for t in row[:2]]) for rows in sets.values()])
            found = {
                name: cosine_of_rows(*(vectors.of([row[side] for row in rows]) for side in (0, 1)))
                for name, rows in sets.items()
            }
        return {
            name: 100 * (whole(spearman, found[name], np.array([row[2] for row in rows])) or 0.0)
            for name, rows in sets.items()
        }

    return measured


def _bootstrap(pairs: int = 1_500) -> float:
    from munjang.evaluate.statistics import resampled_weights, spearman

    draw = np.random.default_rng(0)
    gold = draw.integers(0, 26, pairs) / 25
    predicted = gold + 0.3 * draw.normal(size=pairs)
    began = time.perf_counter()
    for weights in resampled_weights(pairs):
        spearman(predicted, gold, weights)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
