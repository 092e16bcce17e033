"""Speed and memory of distillation, against MSELoss and the datasets of sentence-transformers on the same pairs.

    MUNJANG_DATA=FOLDER python -m benchmarks.distill [--teacher bundled:e5-small] [--layers 6] [--rows 640]
        [--epochs 2] [--repeats 3]

Both teach the same student the same teacher's vectors of the same pairs: for the Korean and for the English side the vector
of the English one, by squared error, with one seed, batch size, learning rate and warm-up. The student is the teacher with
`--layers` of its layers and without the pieces of its vocabulary that the texts never use; both get it ready made. Seconds
run from pairs in memory to trained weights in memory. `teacher` is the part in which the teacher reads; `again` is the same
for a second training on the same texts, which reads Munjang's vectors from the cache. The trainers alternate, each in a
process of its own; medians. `cosine` is what a student's vectors of 200 other pairs come to, mean cosine to the teacher's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.training import LENGTH, WARMUP, now, peak_mb

THEIRS, OURS = "sentence-transformers", "munjang"
LEARNING_RATE, BATCH, SEED, HELD_OUT = 2e-4, 32, 42, 200


def load(rows: int) -> tuple[list[Any], list[Any]]:
    """English-Korean pairs to learn from, and others to look at."""
    import random

    from munjang.config.recipe import DataSpec
    from munjang.data.load import load_rows

    found = [
        row
        for name in ("park:dev", "park:test", "jhe:dev")
        for row in load_rows(DataSpec(source=name), ("parallel-pairs",), Path()).rows
    ]
    drawn = random.Random(SEED).sample(found, rows + HELD_OUT)
    pairs = [(row.target, row.source) for row in drawn]  # English first
    return pairs[:rows], pairs[rows:]


def make_student(teacher: Path, layers: int, pairs: list[Any], out: Path) -> None:
    """The student that both get."""
    from munjang.models.layers import cut_layers
    from munjang.models.trim import trim_vocabulary

    cut_layers(teacher, out / "cut", f"even-{layers}")
    trim_vocabulary(out / "cut", out / "student", [text for pair in pairs for text in pair])


def ours(teacher: Path, student: Path, pairs: list[Any], epochs: int) -> tuple[dict[str, float], Any]:
    """Distil with Munjang; the seconds of its parts, and an encoder."""
    from munjang.data.rows import ParallelPair
    from munjang.engine.encoder import Encoder, normalise
    from munjang.progress import silent
    from munjang.train.best import BestWeights, TrainReport
    from munjang.train.bi import BiTask
    from munjang.train.examples import TrainRows
    from munjang.train.loop import Loop
    from munjang.train.objectives import BI_OBJECTIVES
    from munjang.train.options import TrainBiOptions

    encoder, runner = Encoder(teacher, "cpu", backend="exact", cache=True), Encoder(student, "cpu")
    runner.model.max_seq_length = LENGTH
    common = {
        "name": "bench",
        "model": "start",
        "train": ["train"],
        "dev": "dev",
        "evaluations": 1,
        "teacher": "teacher",
    }
    common |= {"warmup": WARMUP, "max_length": LENGTH, "batch_size": BATCH, "epochs": epochs}
    options = TrainBiOptions(learning_rate=LEARNING_RATE, **common)
    texts = [english for english, _ in pairs]
    began = now("cpu")
    vectors = normalise(encoder.encode(texts))
    read = now("cpu")
    rows = [ParallelPair(*pair) for pair in pairs]
    sets = [TrainRows("train", "parallel-pairs", rows, BI_OBJECTIVES["distil"], vectors=vectors)]
    task = BiTask(runner.model, sets, options, runner.prompt())
    best = BestWeights(task.trainable, time.perf_counter, TrainReport.of(sets))  # the last weights are the best
    Loop(task, options, best, seed=SEED, progress=silent).run(keep_start=False)
    ended = now("cpu")
    normalise(Encoder(teacher, "cpu", backend="exact", cache=True).encode(texts))
    return {"teacher": read - began, "all": ended - began, "again": now("cpu") - ended}, runner


def theirs(teacher: Path, student: Path, pairs: list[Any], epochs: int) -> tuple[dict[str, float], Any]:
    """Distil with sentence-transformers, as its example for multilingual models does."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MSELoss

    from munjang.engine.encoder import Encoder

    reader, runner = SentenceTransformer(str(teacher), device="cpu"), Encoder(student, "cpu")
    runner.model.max_seq_length = LENGTH
    prompts = {"prompts": runner.prompt()} if runner.prompt() else {}
    with tempfile.TemporaryDirectory() as folder:
        began = now("cpu")
        data = Dataset.from_dict({"english": [a for a, _ in pairs], "korean": [b for _, b in pairs]})
        data = data.map(
            lambda batch: {
                "label": reader.encode(
                    batch["english"], batch_size=BATCH, show_progress_bar=False, normalize_embeddings=True
                )
            },
            batched=True,
            batch_size=1024,
        )
        read = now("cpu")
        settings = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            warmup_steps=WARMUP,
            seed=SEED,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **prompts,
        )
        loss = MSELoss(runner.model)
        SentenceTransformerTrainer(model=runner.model, args=settings, train_dataset=data, loss=loss).train()
        ended = now("cpu")
    runner.model.eval()
    return {"teacher": read - began, "all": ended - began, "again": read - began}, runner


def child(arguments: argparse.Namespace) -> None:
    """One distillation in this process; prints what was measured."""
    from munjang.engine.encoder import Encoder, cosine_of_rows
    from munjang.models.source import resolve_model

    teacher, student = resolve_model(arguments.teacher), Path(arguments.student)
    pairs, others = load(arguments.rows)
    run = ours if arguments.child == OURS else theirs
    found, runner = run(teacher, student, pairs, arguments.epochs)
    found["peak_mb"] = peak_mb("cpu")
    texts, sources = [text for pair in others for text in pair], [a for a, _ in others for _ in range(2)]
    found["cosine"] = float(cosine_of_rows(runner.encode(texts), Encoder(teacher, "cpu").encode(sources)).mean())
    print(json.dumps(found))


def main() -> None:
    """Measure both in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="bundled:e5-small")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--student", help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=(THEIRS, OURS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    from munjang.models.source import resolve_model

    runs: dict[str, list[dict[str, float]]] = {THEIRS: [], OURS: []}
    with tempfile.TemporaryDirectory() as folder:
        pairs, others = load(arguments.rows)
        make_student(resolve_model(arguments.teacher), arguments.layers, [*pairs, *others], Path(folder))
        for number in range(arguments.repeats):
            for name, found in runs.items():
                found.append(measure(name, arguments, Path(folder), number))
    print(f"{arguments.teacher}, {arguments.layers} layers, {arguments.rows:,} pairs; {machine()}\n")
    for line in table(arguments, runs):
        print(line)


def measure(name: str, arguments: argparse.Namespace, folder: Path, number: int) -> dict[str, float]:
    """One distillation in a process of its own, with a cache of its own."""
    command = [sys.executable, "-m", "benchmarks.distill", "--child", name, "--student", str(folder / "student")]
    for option in ("teacher", "layers", "rows", "epochs"):
        command += [f"--{option}", str(getattr(arguments, option))]
    # The cache of vectors lies beside converted models, which are to stay.
    models = Path(os.environ.get("MUNJANG_CACHE") or Path.home() / ".cache" / "munjang") / "models"
    cache = folder / f"cache-{number}-{name}"
    cache.mkdir()
    if models.is_dir():
        (cache / "models").symlink_to(models)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "MUNJANG_CACHE": str(cache)}
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(arguments: argparse.Namespace, runs: dict[str, list[dict[str, float]]]) -> list[str]:
    """The lines of the table: one row a trainer."""
    median = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]} for name, found in runs.items()
    }
    texts = 2 * arguments.rows * arguments.epochs
    lines = [
        "| distillation | teacher, s | student, texts/s | all, s | ratio | again: teacher, s | peak MB | cosine |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in median.items():
        student = texts / (found["all"] - found["teacher"])
        ratio = median[THEIRS]["all"] / found["all"]
        lines.append(
            f"| {name} | {found['teacher']:.1f} | {student:.1f} | {found['all']:.1f} | {ratio:.2f} | {found['again']:.2f} | "
            f"{found['peak_mb']:,.0f} | {found['cosine']:.4f} |"
        )
    return lines


if __name__ == "__main__":
    main()
