"""Speed, memory and dev score of training, against the trainers of sentence-transformers on the same rows.

    MUNJANG_DATA=FOLDER python -m benchmarks.training [--model bundled:minilm] [--data stsb] [--kind bi|cross]
        [--rows 1280] [--repeats 3] [--seeds 1 2 3] [--full] [--freeze 4] [--ceiling] [--device cpu]

Both train from the same model on the same rows with the same objective, batch size, learning rate, warm-up and seed; all
else are each one's defaults. Short trainings of `--rows` rows alternate, each in a process of its own, and the medians
are compared, and Spearman x 100 on dev; seconds run from rows in memory to trained weights in memory, tokenising included,
loading and scoring left out. With `--full` both also train one whole epoch. `--freeze N` adds a Munjang that leaves the N
lower layers and the embeddings as they are.

`--seeds 1 2 3` trains with each seed, and dev is given as mean and standard deviation over them. The rows stay the same;
the seed decides their order, dropout and the weights of a new head.

`--ceiling` adds a row: the samples a second of a step that computed nothing but the matrix products of the linear layers,
forward and backward, of Munjang's own batches (their tokens without padding), by torch.mm on as many threads. The column
beside it says which share of that each trainer reaches. What a trainer computes for padding counts against it.

On a GPU (`--device cuda`) all train in bfloat16, sentence-transformers attends as transformers loads its models (by torch's
scaled_dot_product_attention, which takes a flash kernel where one fits), and peak MB is that of torch's tensors there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import machine

THEIRS, OURS, FROZEN, CEILING = "sentence-transformers", "munjang", "munjang-frozen", "matrix products alone"
LEARNING_RATE = {"bi": 6e-5, "cross": 1e-4}
BATCH = {"bi": 32, "cross": 16}
WARMUP, LENGTH, SEED = 0.1, 128, 42


class OurTask(NamedTuple):
    """A training of Munjang before its first step."""

    options: Any
    runner: Any
    """Scores dev; holds the model."""
    sets: list[Any]
    make: Callable[[], Any]
    """Tokenises, and gives what the loop trains; it is timed."""


def load(data: str, split: str, limit: int | None) -> list[Any]:
    """Scored pairs of a split, the first `limit` of them in an order drawn once."""
    import random

    from munjang.config.recipe import DataSpec
    from munjang.data.load import load_rows

    rows = load_rows(DataSpec(source=f"{data}:{split}"), ("scored-pairs",), Path()).rows
    return rows if limit is None else random.Random(SEED).sample(rows, limit)


def our_task(kind: str, start: Path, rows: list[Any], device: str, seed: int, freeze: int = 0) -> OurTask:
    """What Munjang trains, before its first step: rows not tokenised yet, some lower layers frozen."""
    from munjang.engine.encoder import Encoder
    from munjang.engine.scorer import Scorer
    from munjang.models.heads import new_cross_encoder
    from munjang.train.bi import BiTask
    from munjang.train.cross import CrossTask
    from munjang.train.examples import TrainRows
    from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES
    from munjang.train.options import TrainBiOptions, TrainCrossOptions

    common = {"name": "bench", "model": "start", "train": ["train"], "dev": "dev", "evaluations": 1}
    common |= {"warmup": WARMUP, "max_length": LENGTH, "batch_size": BATCH[kind], "freeze_layers": freeze}
    common |= {"learning_rate": LEARNING_RATE[kind]}
    if kind == "bi":
        options = TrainBiOptions(**common)
        runner = Encoder(start, device)
        runner.model.max_seq_length = LENGTH
        sets = [TrainRows("train", "scored-pairs", rows, BI_OBJECTIVES["cosent"])]
        return OurTask(options, runner, sets, lambda: BiTask(runner.model, sets, options, runner.prompt()))
    options = TrainCrossOptions(orders="given", **common)
    runner = Scorer.of(new_cross_encoder(start, "mean", LENGTH, device, seed), device)
    sets = [TrainRows("train", "scored-pairs", rows, CROSS_OBJECTIVES["bce"])]
    return OurTask(options, runner, sets, lambda: CrossTask(runner.model, sets, options, seed))


def ours(kind: str, start: Path, rows: list[Any], device: str, seed: int, freeze: int = 0) -> tuple[float, Any]:
    """Train with Munjang's loop, with some lower layers frozen; returns seconds and a runner for dev."""
    from munjang.progress import silent
    from munjang.train.best import BestWeights, TrainReport
    from munjang.train.loop import Loop

    options, runner, sets, make = our_task(kind, start, rows, device, seed, freeze)
    began = now(device)
    task = make()
    best = BestWeights(task.trainable, time.perf_counter, TrainReport.of(sets))  # the last weights are the best
    Loop(task, options, best, seed=seed, progress=silent).run(keep_start=False)
    return now(device) - began, runner


def products_alone(kind: str, start: Path, rows: list[Any], device: str, seed: int) -> float:
    """Seconds that the matrix products of a training take by themselves, over the very batches of Munjang's.

    Those of the linear layers of the body, as its configuration gives their shapes: query, key, value, output and the two
    of the feed-forward part. Each costs one product in the forward pass and two in the backward pass, over the tokens of a
    batch without padding. Products of attention, embeddings, norms, dropout, the loss and the optimizer are left out: a
    ceiling, and no step reaches it.
    """
    import torch

    from munjang.train.plan import make_plan
    from munjang.train.trainable import precision_of

    options, runner, _, make = our_task(kind, start, rows, device, seed)
    task = make()
    config = runner.model.transformers_model.config
    layers = linear_shapes(config.hidden_size, config.intermediate_size) * config.num_hidden_layers
    place = torch.device(device)
    with precision_of(options, place)():
        half = torch.is_autocast_enabled(place.type)
    own = {"device": place, "dtype": torch.bfloat16 if half else torch.float32}
    weights = {shape: torch.randn(shape, **own) for shape in set(layers)}
    spent = 0.0
    for number, chosen in make_plan(task.sets, options, seed).batches:
        count = tokens_of(kind, task, number, chosen)
        inputs = {width: torch.randn((count, width), **own) for shape in weights for width in shape}
        began = now(device)
        for wide, narrow in layers:
            torch.mm(inputs[wide], weights[wide, narrow])
            torch.mm(inputs[narrow], weights[wide, narrow].T)
            torch.mm(inputs[wide].T, inputs[narrow])
        spent += now(device) - began
    return spent


def linear_shapes(hidden: int, inner: int) -> list[tuple[int, int]]:
    """Shapes (in, out) of the linear layers of one transformer layer: query, key, value, output, feed-forward."""
    return [(hidden, hidden)] * 4 + [(hidden, inner), (inner, hidden)]


def tokens_of(kind: str, task: Any, number: int, rows: list[int]) -> int:
    """Tokens of a batch, without padding."""
    if kind == "bi":
        positions = task.positions[number][rows]
        return sum(task.features.lengths[i] for i in positions[positions >= 0])
    return sum(task.features.lengths[i] for row in rows for i in task.pairs[number][row])


def now(device: str) -> float:
    """Seconds of a clock, when everything that was asked of the device is done."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def theirs(kind: str, start: Path, rows: list[Any], device: str, seed: int) -> tuple[float, Any]:
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
        runner = Scorer.of(new_cross_encoder(start, "mean", LENGTH, device, seed), device)
        model, make, arguments = runner.model, CrossEncoderTrainer, CrossEncoderTrainingArguments
        loss = BinaryCrossEntropyLoss(model)
    model.max_seq_length = LENGTH
    with tempfile.TemporaryDirectory() as folder:
        began = now(device)
        data = Dataset.from_dict(
            {name: [row[i] for row in rows] for i, name in enumerate(("sentence1", "sentence2", "label"))}
        )
        settings = arguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH[kind],
            learning_rate=LEARNING_RATE[kind],
            warmup_steps=WARMUP,
            seed=seed,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=device == "cpu",
            bf16=device != "cpu",
            **more,
        )
        make(model=model, args=settings, train_dataset=data, loss=loss).train()
        seconds = now(device) - began
    model.eval()
    return seconds, runner


def child(arguments: argparse.Namespace) -> None:
    """One training in this process, or its matrix products; prints what was measured."""
    from munjang.evaluate.dev import dev_of_encoder, dev_of_scorer
    from munjang.models.source import resolve_model

    (seed,) = arguments.seeds
    rows = load(arguments.data, "train", None if arguments.full else arguments.rows)
    given = (arguments.kind, resolve_model(arguments.model), rows, arguments.device, seed)
    if arguments.child == CEILING:
        print(json.dumps({"samples_per_second": len(rows) / products_alone(*given)}))
        return
    if arguments.child == THEIRS:
        seconds, runner = theirs(*given)
    else:
        seconds, runner = ours(*given, freeze=arguments.freeze if arguments.child == FROZEN else 0)
    peak = peak_mb(arguments.device)
    score = dev_of_encoder if arguments.kind == "bi" else dev_of_scorer
    dev = score(runner, "scored-pairs", load(arguments.data, "dev", None))
    print(json.dumps({"samples_per_second": len(rows) / seconds, "peak_mb": peak, "dev": dev}))


def peak_mb(device: str) -> int:
    """Largest memory so far, in MiB: of the process, or on a GPU of torch's tensors there."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(who: str, arguments: argparse.Namespace, seed: int, full: bool) -> dict[str, Any]:
    """One training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--child", who, "--seeds", str(seed)]
    for name in ("model", "data", "kind", "rows", "freeze", "device"):
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command + ["--full"] * full, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} failed:\n{done.stderr[-3000:]}")
    return {"seed": seed, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Measure all in turn, and print the table."""
    arguments = parse()
    if arguments.child:
        child(arguments)
        return
    who = [THEIRS, OURS] + [FROZEN] * bool(arguments.freeze) + [CEILING] * arguments.ceiling
    short: dict[str, list[dict[str, Any]]] = {name: [] for name in who}
    whole: dict[str, list[dict[str, Any]]] = {name: [] for name in who}
    # In turn, so that what else the machine does falls on all of them.
    for full, rounds, runs in ((False, arguments.repeats, short), (True, int(arguments.full), whole)):
        for _, seed, name in itertools.product(range(rounds), arguments.seeds, who):
            runs[name].append(measure(name, arguments, seed, full))
    print(f"{arguments.kind}, {arguments.model}, {arguments.data}:train, {arguments.device}; {machine()}\n")
    for line in table(arguments, short, whole):
        print(line)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled:minilm")
    parser.add_argument("--data", default="stsb")
    parser.add_argument("--kind", default="bi", choices=("bi", "cross"))
    parser.add_argument("--rows", type=int, default=1280)
    parser.add_argument("--repeats", type=int, help="rounds for each seed; 3, or 1 with several seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEED], help="of order, dropout and heads")
    parser.add_argument("--full", action="store_true", help="train one whole epoch too, and compare dev")
    parser.add_argument("--freeze", type=int, default=0, help="also measure with this many lower layers frozen")
    parser.add_argument("--ceiling", action="store_true", help="also measure the matrix products by themselves")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child", choices=(THEIRS, OURS, FROZEN, CEILING), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.repeats = arguments.repeats or (1 if len(arguments.seeds) > 1 else 3)
    return arguments


Runs = dict[str, list[dict[str, Any]]]


def table(arguments: argparse.Namespace, short: Runs, whole: Runs) -> list[str]:
    """The lines of the table: one row a trainer."""
    columns = ["trainer", "samples/s", "ratio", *(["of the products alone"] if CEILING in short else []), "peak MB"]
    columns += [f"dev after {arguments.rows:,} rows", "whole epoch: samples/s", "peak MB", "dev"]
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for name, runs in short.items():
        label = f"{OURS}, {arguments.freeze} layers frozen" if name == FROZEN else name
        speed = median(runs, "samples_per_second")
        row = [label, f"{speed:.1f}", f"{speed / median(short[THEIRS], 'samples_per_second'):.2f}"]
        if CEILING in short:
            # Of frozen layers the backward products are left out, so that this ceiling is not theirs.
            ceiling = median(short[CEILING], "samples_per_second")
            row.append("-" if name == FROZEN else f"{speed / ceiling:.0%}")
        row += [amount(median(runs, "peak_mb")), scores(runs)]
        full = median(whole[name], "samples_per_second")
        row += ["-" if full is None else f"{full:.1f}", amount(median(whole[name], "peak_mb")), scores(whole[name])]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def median(runs: list[dict[str, Any]], name: str) -> float | None:
    """Of one number over some trainings; None where it was not measured."""
    found = [run[name] for run in runs if name in run]
    return statistics.median(found) if found else None


def amount(value: float | None) -> str:
    """A whole number with its thousands apart."""
    return "-" if value is None else f"{value:,.0f}"


def scores(runs: list[dict[str, Any]]) -> str:
    """Dev of each seed once: one number, or mean and standard deviation; a repeat of a seed scores the same."""
    found = list({run["seed"]: run["dev"] for run in runs if "dev" in run}.values())
    if not found:
        return "-"
    mean = f"{statistics.fmean(found):.2f}"
    return mean if len(found) == 1 else f"{mean} ± {statistics.stdev(found):.2f}"


if __name__ == "__main__":
    main()
