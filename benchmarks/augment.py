"""Mining and labelling of pairs against sentence-transformers' own search and CrossEncoder, on the same vectors and models.

    MUNJANG_DATA=FOLDER python -m benchmarks.augment [--mine 100000 ...] [--dimension 384] [--top 5] [--peer 200000]
        [--label 400] [--cross MODEL] [--data korsts] [--repeats 3]

Mining: the `top` nearest others of each of so many random unit vectors, the hardest case, as nothing lies closer than
chance has it. The peer is `util.semantic_search` with its defaults, asked for one more because a sentence finds itself there;
above `--peer` vectors it is left out. Each contender runs in a process of its own, and its peak memory is of that process.
A pair is a sentence with another one, so n vectors are n * (n - 1) pairs that are looked at.

Labelling: pairs of the STS set, scored in both orders as silver labels are, by `CrossEncoder.predict` with its defaults and by
Munjang's stage, in float32 and by an export in int8; one process, taking turns, the median. `agreement` is the rank correlation
with the scores of `CrossEncoder.predict`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.engine import median_seconds
from benchmarks.machine import machine


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mine", type=int, nargs="*", default=[100_000])
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--peer", type=int, default=200_000)
    parser.add_argument("--label", type=int, default=0)
    parser.add_argument("--cross", default="bundled:minilm")
    parser.add_argument("--data", default="stsb")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--found", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _one(arguments.one, arguments.mine[0], arguments.dimension, arguments.top, Path(arguments.found))
        return
    print(machine())
    if arguments.mine:
        _mining(arguments)
    if arguments.label:
        _labelling(arguments)


def _vectors(count: int, dimension: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _mining(arguments: argparse.Namespace) -> None:
    print(f"\nThe {arguments.top} nearest others of random unit vectors of {arguments.dimension} dimensions\n")
    print(
        "| vectors | by | s | million pairs/s | peak MB | same neighbours as munjang |\n|---:|---|---:|---:|---:|---:|"
    )
    for count in arguments.mine:
        found: dict[str, np.ndarray] = {}
        for name in ("munjang", "sentence-transformers"):
            if name != "munjang" and count > arguments.peer:
                continue
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / "found.npy"
                command = [sys.executable, "-m", "benchmarks.augment", "--one", name, "--found", str(place)]
                sizes = ["--mine", str(count), "--dimension", str(arguments.dimension), "--top", str(arguments.top)]
                said = subprocess.run([*command, *sizes], check=True, capture_output=True, text=True).stdout
                found[name] = np.load(place)
            seconds, peak = map(float, said.split()[-2:])
            same = "" if name == "munjang" else f"{(found['munjang'] == found[name]).mean():.4%}"
            rate = count * (count - 1) / seconds / 1e6
            print(f"| {count:,} | {name} | {seconds:,.1f} | {rate:,.0f} | {peak:,.0f} | {same} |", flush=True)


def _one(name: str, count: int, dimension: int, top: int, place: Path) -> None:
    vectors = _vectors(count, dimension)
    if name == "munjang":
        from munjang.engine.selfjoin import self_join

        began = time.perf_counter()
        positions = self_join(vectors, top).positions
    else:
        import torch
        from sentence_transformers.util import semantic_search

        tensor = torch.from_numpy(vectors)
        began = time.perf_counter()
        hits = semantic_search(tensor, tensor, top_k=top + 1)
        positions = np.array(
            [[hit["corpus_id"] for hit in row if hit["corpus_id"] != i][:top] for i, row in enumerate(hits)]
        )
    seconds = time.perf_counter() - began
    np.save(place, positions)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024)


def _labelling(arguments: argparse.Namespace) -> None:
    from sentence_transformers import CrossEncoder

    from munjang.augment.teachers import Teacher, score_resumably
    from munjang.config.recipe import DataSpec
    from munjang.data.load import load_rows
    from munjang.models.folder import model_kind
    from munjang.models.source import resolve_model

    rows = load_rows(DataSpec(source=f"{arguments.data}:dev"), ("scored-pairs",), Path()).rows
    pairs = [row[:2] for row in rows[: arguments.label]]
    with tempfile.TemporaryDirectory() as work:
        folder = resolve_model(arguments.cross, Path())
        if model_kind(folder) == "bi-encoder":  # its body under a new head: speed does not depend on weights
            model = CrossEncoder(str(folder), num_labels=1, max_length=128, device="cpu")
            folder = Path(work) / "cross"
            model.save_pretrained(str(folder), create_model_card=False)
        plain, teacher = CrossEncoder(str(folder), device="cpu"), Teacher("teacher", folder, "cpu", cache=False)
        quantised = _quantised(folder, pairs, rows)

        def peer() -> np.ndarray:
            scores = np.asarray(plain.predict([*pairs, *((b, a) for a, b in pairs)], show_progress_bar=False))
            return scores.reshape(2, -1).mean(axis=0)

        def ours() -> np.ndarray:
            return score_resumably(teacher, pairs, None, "").mean(axis=1)

        def in_eight_bits() -> np.ndarray:
            return score_resumably(quantised, pairs, None, "").mean(axis=1)

        runs: dict[str, Callable[[], Any]] = {
            "sentence-transformers": peer,
            "munjang": ours,
            "munjang, openvino-int8": in_eight_bits,
        }
        seconds = median_seconds(runs, arguments.repeats)
        agreement = {name: spearmanr(peer(), run()).statistic for name, run in runs.items()}
    print(f"\n{len(pairs):,} pairs of {arguments.data}:dev, both orders of each scored\n")
    print("| by | pairs/s | ratio | agreement |\n|---|---:|---:|---:|")
    for name in runs:
        ratio = seconds["sentence-transformers"] / seconds[name]
        print(f"| {name} | {len(pairs) / seconds[name]:,.0f} | {ratio:.2f} | {agreement[name]:.5f} |")


def _quantised(folder: Path, pairs: list[tuple[str, str]], rows: list[Any]) -> Any:
    """The same teacher in int8; how long the export took is printed."""
    from munjang.augment.teachers import Teacher
    from munjang.engine.exporting import Dev, export_model
    from munjang.evaluate.statistics import spearman, whole
    from munjang.evaluate.sts import gold_scores

    texts = [text for pair in pairs for text in pair]
    dev = Dev("dev", [row[:2] for row in rows], gold_scores(rows))
    began = time.perf_counter()
    export_model(folder, "openvino", "int8", texts, dev, spearman=lambda x, y: whole(spearman, x, y))
    print(f"\nexport and certificate: {time.perf_counter() - began:.0f} s", flush=True)
    return Teacher("teacher", folder, "cpu", backend="openvino-int8", cache=False)


if __name__ == "__main__":
    main()
