"""Speed, memory and dev score of training, against the trainers of sentence-transformers on the same rows.

    MUNJANG_DATA=FOLDER python -m benchmarks.training [--model bundled:minilm] [--data stsb] [--kind bi|cross]
        [--rows 1280] [--repeats 3] [--full] [--freeze 4] [--device cpu]

Both train from the same model on the same rows with the same objective, batch size, learning rate, warm-up and seed; all
else are each one's defaults. Short trainings of `--rows` rows alternate, each in a process of its own, and the medians
are compared, and Spearman x 100 on dev; seconds run from rows in memory to trained weights in memory, tokenising included,
loading and scoring left out. With `--full` both also train one whole epoch once. `--freeze N` adds a
Munjang that leaves the N lower layers and the embeddings as they are. On a GPU (`--device cuda`) all train in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

THEIRS, OURS, FROZEN = "sentence-transformers", "munjang", "munjang-frozen"
LEARNING_RATE = {"bi": 6e-5, "cross": 1e-4}
BATCH = {"bi": 32, "cross": 16}
WARMUP, LENGTH, SEED = 0.1, 128, 42


def load(data: str, split: str, limit: int | None) -> list[Any]:
    """Scored pairs of a split, the first `limit` of them in an order drawn once."""
    import random

    from munjang.config.recipe import DataSpec
    from munjang.data.load import load_rows

    rows = load_rows(DataSpec(source=f"{data}:{split}"), ("scored-pairs",), Path()).rows
    return rows if limit is None else random.Random(SEED).sample(rows, limit)


def ours(kind: str, start: Path, rows: list[Any], device: str, freeze: int = 0) -> tuple[float, Any]:
    """Train with Munjang's loop, with some lower layers frozen; returns seconds and a runner for dev."""
    from munjang.engine.encoder import Encoder
    from munjang.engine.scorer import Scorer
    from munjang.models.heads import new_cross_encoder
    from munjang.progress import silent
    from munjang.train.best import BestWeights, TrainReport
    from munjang.train.bi import BiTask
    from munjang.train.cross import CrossTask
    from munjang.train.examples import TrainRows
    from munjang.train.loop import Loop
    from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES
    from munjang.train.options import TrainBiOptions, TrainCrossOptions

    common = {"name": "bench", "model": "start", "train": ["train"], "dev": "dev", "evaluations": 1}
    common |= {"warmup": WARMUP, "max_length": LENGTH, "batch_size": BATCH[kind], "freeze_layers": freeze}
    if kind == "bi":
        options = TrainBiOptions(learning_rate=LEARNING_RATE[kind], **common)
        runner = Encoder(start, device)
        runner.model.max_seq_length = LENGTH
        objective = BI_OBJECTIVES["cosent"]
    else:
        options = TrainCrossOptions(learning_rate=LEARNING_RATE[kind], orders="given", **common)
        runner = Scorer.of(new_cross_encoder(start, "mean", LENGTH, device, SEED), device)
        objective = CROSS_OBJECTIVES["bce"]
    began = time.perf_counter()
    sets = [TrainRows("train", "scored-pairs", rows, objective)]
    task = (
        BiTask(runner.model, sets, options, runner.prompt())
        if kind == "bi"
        else CrossTask(runner.model, sets, options, SEED)
    )
    best = BestWeights(task.trainable, lambda: time.perf_counter(), TrainReport.of(sets))  # the last are the best
    Loop(task, options, best, seed=SEED, progress=silent).run(keep_start=False)
    return time.perf_counter() - began, runner


def theirs(kind: str, start: Path, rows: list[Any], device: str) -> tuple[float, Any]:
    """Train with the trainer of sentence-transformers; returns seconds and a runner for dev."""
    import tempfile

    from datasets import Dataset
    from sentence_transformers import (
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    from munjang.engine.encoder import Encoder
    from munjang.engine.scorer import Scorer
    from munjang.models.heads import new_cross_encoder

    more: dict[str, Any] = {}
    if kind == "bi":
        runner = Encoder(start, device)
        model, make, arguments, loss = (
            runner.model,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
            CoSENTLoss(runner.model),
        )
        if runner.prompt():
            more["prompts"] = runner.prompt()
    else:
        runner = Scorer.of(new_cross_encoder(start, "mean", LENGTH, device, SEED), device)
        model, make, arguments = runner.model, CrossEncoderTrainer, CrossEncoderTrainingArguments
        loss = BinaryCrossEntropyLoss(model)
    model.max_seq_length = LENGTH
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        data = Dataset.from_dict(
            {name: [row[i] for row in rows] for i, name in enumerate(("sentence1", "sentence2", "label"))}
        )
        settings = arguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH[kind],
            learning_rate=LEARNING_RATE[kind],
            warmup_steps=WARMUP,
            seed=SEED,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=device == "cpu",
            bf16=device != "cpu",
            **more,
        )
        make(model=model, args=settings, train_dataset=data, loss=loss).train()
        seconds = time.perf_counter() - began
    model.eval()
    return seconds, runner


def child(arguments: argparse.Namespace) -> None:
    """One training in this process; prints what was measured."""
    from munjang.evaluate.dev import dev_of_encoder, dev_of_scorer
    from munjang.models.source import resolve_model

    rows = load(arguments.data, "train", None if arguments.full else arguments.rows)
    start = resolve_model(arguments.model)
    given = (arguments.kind, start, rows, arguments.device)
    if arguments.child == THEIRS:
        seconds, runner = theirs(*given)
    else:
        seconds, runner = ours(*given, freeze=arguments.freeze if arguments.child == FROZEN else 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    score = dev_of_encoder if arguments.kind == "bi" else dev_of_scorer
    dev = score(runner, "scored-pairs", load(arguments.data, "dev", None))
    print(json.dumps({"samples_per_second": len(rows) / seconds, "peak_mb": peak, "dev": dev}))


def measure(who: str, arguments: argparse.Namespace, full: bool) -> dict[str, Any]:
    """One training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--child", who]
    for name in ("model", "data", "kind", "rows", "freeze", "device"):
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command + ["--full"] * full, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure both in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled:minilm")
    parser.add_argument("--data", default="stsb")
    parser.add_argument("--kind", default="bi", choices=("bi", "cross"))
    parser.add_argument("--rows", type=int, default=1280)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="train one whole epoch too, and compare dev")
    parser.add_argument("--freeze", type=int, default=0, help="also measure with this many lower layers frozen")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child", choices=(THEIRS, OURS, FROZEN), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    who = (THEIRS, OURS, FROZEN) if arguments.freeze else (THEIRS, OURS)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in who}
    for _ in range(arguments.repeats):
        for name in who:
            runs[name].append(measure(name, arguments, full=False))
    whole = {name: measure(name, arguments, full=True) for name in who} if arguments.full else {}
    print(f"{arguments.kind}, {arguments.model}, {arguments.data}:train; {machine()}\n")
    print(
        f"| trainer | samples/s | ratio | peak MB | dev after {arguments.rows:,} rows | whole epoch: samples/s | dev |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    base = statistics.median(run["samples_per_second"] for run in runs[who[0]])
    for name in who:
        speed = statistics.median(run["samples_per_second"] for run in runs[name])
        peak = statistics.median(run["peak_mb"] for run in runs[name])
        label = f"{OURS}, {arguments.freeze} layers frozen" if name == FROZEN else name
        row = [label, f"{speed:.1f}", f"{speed / base:.2f}", f"{peak:,.0f}"]
        one = whole.get(name)
        row.append(f"{runs[name][0]['dev']:.2f}")
        row += [f"{one['samples_per_second']:.1f}", f"{one['dev']:.2f}"] if one else ["-"] * 2
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
