"""Trainings of every sort that are killed and go on end with the bits of an unbroken one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from munjang.data.rows import LabelledPair, ScoredPair
from munjang.train.bi import train_bi
from munjang.train.checkpoint import Checkpoints
from munjang.train.cross import train_cross
from munjang.train.examples import TrainRows
from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES
from munjang.train.options import TrainBiOptions, TrainCrossOptions


class _Killed(BaseException):
    pass


def sets_of(rows: list[ScoredPair], objectives: list[str], cross: bool) -> list[TrainRows]:
    labels = ("entailment", "neutral", "contradiction")
    nli = [LabelledPair(row.sentence1, row.sentence2, labels[i % 3]) for i, row in enumerate(rows)]
    by_name = {"softmax": ("labelled-pairs", nli), "classes": ("labelled-pairs", nli)}
    by_name |= {name: ("sentences", [row.sentence1 for row in rows]) for name in ("simcse", "tsdae")}
    known = CROSS_OBJECTIVES if cross else BI_OBJECTIVES
    return [TrainRows(name, *by_name.get(name, ("scored-pairs", rows)), known[name]) for name in objectives]


@pytest.mark.parametrize(
    ("cross", "objectives", "options"),
    [
        (False, ["cosent", "softmax"], {"ema": 0.9}),
        (False, ["tsdae"], {}),
        (False, ["cosent", "simcse"], {"accumulate": 2, "matryoshka": [16, 8]}),
        (False, ["cosent"], {"lora": {"rank": 4, "dropout": 0.1}}),
        (False, ["cosent"], {"freeze_layers": 1}),
        (True, ["bce"], {"ema": 0.5}),
        (True, ["classes"], {"lora": {"rank": 2}}),
    ],
)
def test_a_killed_training_ends_with_the_bits_of_an_unbroken_one(
    tiny_bi: Path, tmp_path: Path, rows: list[ScoredPair], cross: bool, objectives: list[str], options: dict[str, Any]
) -> None:
    kind, train = (TrainCrossOptions, train_cross) if cross else (TrainBiOptions, train_bi)
    common = {
        "name": "m",
        "model": "m",
        "train": ["t"],
        "dev": "d",
        "batch_size": 8,
        "epochs": 2,
        "learning_rate": 1e-3,
    }
    given = kind(**common, evaluations=2, checkpoint_seconds=0, **options)
    sets = sets_of(rows, objectives, cross)
    told: list[int] = []

    def run(name: str, work: str, at: int | None = None) -> dict[str, Any]:
        def progress(done: int, total: int, note: str = "") -> None:
            told.append(done)
            if done == at:
                raise _Killed

        # Dev grows with the steps, so that the last weights are the best, whichever process asks.
        def score(runner: Any) -> float:
            return float(len(told) and told[-1])

        checkpoints = Checkpoints(tmp_path / work, "this")
        out = tmp_path / name
        more = {"start": tiny_bi, "out": out, "seed": 5, "device": "cpu", "progress": progress}
        return train(given, sets, score, checkpoints=checkpoints, **more).as_dict()

    unbroken = run("whole", "work-whole")
    steps, told[:] = told[-1], []
    for at in (1, steps // 2, steps - 1):
        with pytest.raises(_Killed):
            run("broken", "work", at)
    report = run("broken", "work")
    assert told[-1] == steps
    whole, again = (
        {str(f.relative_to(tmp_path / n)): load_file(f) for f in (tmp_path / n).rglob("*.safetensors")}
        for n in ("whole", "broken")
    )
    assert whole.keys() == again.keys() != set()
    for file, tensors in whole.items():
        assert all(torch.equal(value, again[file][key]) for key, value in tensors.items())
    assert report["losses"] == unbroken["losses"]
    assert report["tokens"] == unbroken["tokens"]


def test_a_start_in_half_precision_is_trained_in_full(
    tiny_bi: Path, tmp_path: Path, rows: list[ScoredPair], make_options: Callable[..., Any]
) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_bi), device="cpu").bfloat16()
    model.save_pretrained(str(tmp_path / "half"), create_model_card=False)
    assert (
        load_file(tmp_path / "half" / "model.safetensors")["embeddings.word_embeddings.weight"].dtype == torch.bfloat16
    )
    scores = iter([1.0, 2.0, 3.0])
    sets = sets_of(rows, ["cosent"], False)
    train_bi(
        make_options(),
        sets,
        lambda encoder: next(scores),
        start=tmp_path / "half",
        out=tmp_path / "out",
        seed=1,
        device="cpu",
    )
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_rows_without_use_and_a_shorter_length_are_counted_and_said(
    tiny_bi: Path, tmp_path: Path, make_options: Callable[..., Any]
) -> None:
    nli = [
        LabelledPair(f"전제 {i // 3}", f"가설 {i}", ("entailment", "neutral", "contradiction")[i % 3])
        for i in range(30)
    ]
    sets = [TrainRows("t", "labelled-pairs", nli, BI_OBJECTIVES["mnrl"])]
    scores = iter([1.0, 2.0, 3.0])
    report = train_bi(
        make_options(max_length=32),
        sets,
        lambda encoder: next(scores),
        start=tiny_bi,
        out=tmp_path / "out",
        seed=1,
        device="cpu",
    )
    assert (report.rows, report.unused) == (30, 10)
    assert report.warnings == ["the start read 96 tokens, the trained model reads 32"]
