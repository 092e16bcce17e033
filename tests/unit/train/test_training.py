"""Trained models are ordinary folders with the weights that were best, and come out the same from the same seed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.data.rows import ScoredPair
from munjang.engine.encoder import Encoder
from munjang.engine.scorer import Scorer
from munjang.errors import DataError
from munjang.evaluate.metrics import spearman
from munjang.evaluate.sts import cosine_of_pairs, gold_scores
from munjang.models.source import model_kind, require_safe_folder
from munjang.train.bi import OBJECTIVES, train_bi
from munjang.train.cross import new_cross_encoder, train_cross
from munjang.train.loop import TrainReport
from munjang.train.options import TrainCrossOptions

Weights = dict[str, torch.Tensor]
TEXTS = ["환불은 언제 되나요?", "배송이 늦어요", "주문을 취소하고 싶은데 버튼이 보이지 않아요", "네"]
PAIRS = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[3]), (TEXTS[1], TEXTS[0]), (TEXTS[3], TEXTS[3])]
WORDS = "embeddings.word_embeddings.weight"


def weights(folder: Path) -> Weights:
    """All weights of a model's folder, of its modules one after the other."""
    files = sorted(folder.rglob("*.safetensors"))
    return {f"{f.parent.relative_to(folder)}/{k}": v for f in files for k, v in load_file(f).items()}


def same(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def changed(left: Weights, right: Weights) -> set[str]:
    """The last part of the names of all weights that differ."""
    return {name.rpartition("/")[2] for name in left if not torch.equal(left[name], right[name])}


class Script:
    """Scores dev with numbers told in advance, and keeps the weights that it was asked about."""

    def __init__(self, *scores: float | None) -> None:
        self.scores: Iterator[float | None] = iter(scores)
        self.seen: list[Weights] = []

    def __call__(self, runner: Encoder | Scorer) -> float | None:
        assert not runner.model.training
        self.seen.append({k: v.detach().clone() for k, v in runner.model.state_dict().items()})
        return next(self.scores)


@pytest.fixture
def bi(tiny_bi: Path, tmp_path: Path, make_options, rows: list[ScoredPair]) -> Callable[..., TrainReport]:
    """Trains a bi-encoder for four steps into `tmp_path / out`."""

    def train(score: Any, out: str = "bi", start: Path = tiny_bi, seed: int = 1, **values: Any) -> TrainReport:
        given, progress = values.pop("rows", rows), values.pop("progress", lambda *_: None)
        more = {"start": start, "out": tmp_path / out, "seed": seed, "device": "cpu", "progress": progress}
        return train_bi(make_options(**values), given, score, **more)

    return train


@pytest.fixture
def cross(tiny_bi: Path, tmp_path: Path, make_options, rows: list[ScoredPair]) -> Callable[..., TrainReport]:
    """Trains a cross-encoder for four steps into `tmp_path / out`, from the bi-encoder unless told otherwise."""

    def train(score: Any, out: str = "cross", start: Path = tiny_bi, seed: int = 1, **values: Any) -> TrainReport:
        options = make_options(TrainCrossOptions, **values)
        return train_cross(options, rows, score, start=start, out=tmp_path / out, seed=seed, device="cpu")

    return train


# -- what is saved


def test_a_bi_encoder_is_a_plain_folder_that_scores_the_same(
    bi: Callable[..., TrainReport], tmp_path: Path, dev: list[ScoredPair]
) -> None:
    seen: list[float] = []

    def score(encoder: Encoder) -> float:
        seen.append(100 * spearman(cosine_of_pairs(encoder, dev), gold_scores(dev)))
        return seen[-1]

    report = bi(score)
    folder = tmp_path / "bi"
    require_safe_folder(folder)
    assert model_kind(folder) == "bi-encoder"
    plain, encoder = SentenceTransformer(str(folder), device="cpu"), Encoder(folder)
    assert np.abs(plain.encode(TEXTS) - encoder.encode(TEXTS)).max() < 1e-5
    assert np.abs(plain.encode_query(TEXTS) - encoder.encode(TEXTS, use="query")).max() < 1e-5
    assert plain.prompts == {"query": "질문: ", "document": "글: "}
    assert plain.default_prompt_name == "query"
    assert plain.max_seq_length == 64
    left, right = (plain.encode([row[side] for row in dev]) for side in (0, 1))
    found = 100 * spearman(plain.similarity_pairwise(left, right).numpy(), gold_scores(dev))
    assert found == pytest.approx(max(seen), abs=0.01)
    assert report.dev_best == max(seen)
    assert report.dev_before == seen[0]


def test_a_cross_encoder_is_a_plain_folder_that_scores_the_same(
    cross: Callable[..., TrainReport], tmp_path: Path, dev: list[ScoredPair]
) -> None:
    seen: list[float] = []

    def score(scorer: Scorer) -> float:
        seen.append(100 * spearman(scorer.score([row[:2] for row in dev]), gold_scores(dev)))
        return seen[-1]

    report = cross(score, orders="both", negatives=0.5)
    folder = tmp_path / "cross"
    require_safe_folder(folder)
    assert model_kind(folder) == "cross-encoder"
    plain = CrossEncoder(str(folder), device="cpu")
    scores = plain.predict(PAIRS)
    assert np.abs(scores - Scorer(folder, symmetric=False).score(PAIRS)).max() < 1e-5
    assert ((scores > 0) & (scores < 1)).all()
    there, back = (plain.predict([(r[i], r[1 - i]) for r in dev]) for i in (0, 1))
    assert 100 * spearman(there + back, gold_scores(dev)) == pytest.approx(max(seen[1:]), abs=0.01)
    assert report.dev_best == max(seen[1:])
    assert report.steps == 12  # 32 pairs and 16 negatives in both orders, by 8


@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_nothing_but_the_model_is_left(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    request.getfixturevalue(kind)(Script(1, 2, 3))
    assert [path.name for path in tmp_path.iterdir()] == [kind]
    suffixes = {path.suffix for path in (tmp_path / kind).rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".txt", ".md"}


def test_the_report_holds_the_curve_and_the_losses(bi: Callable[..., TrainReport]) -> None:
    told: list[tuple[int, int]] = []
    report = bi(Script(30, 50, 40), progress=lambda done, total, note="": told.append((done, total)))
    assert (report.rows, report.steps, report.dev_before, report.dev_best, report.best_step) == (32, 4, 30, 50, 2)
    assert report.curve == [{"step": 2, "dev": 50}, {"step": 4, "dev": 40}]
    assert [loss["step"] for loss in report.losses] == [1, 2, 3, 4]
    assert all(math.isfinite(loss["loss"]) for loss in report.losses)
    assert told == [(n, 4) for n in range(1, 5)]
    json.dumps(report.as_dict(), allow_nan=False)


def test_texts_that_are_cut_are_counted_with_their_prompt(
    bi: Callable[..., TrainReport], cross: Callable[..., TrainReport], rows: list[ScoredPair], tiny_bi: Path
) -> None:
    tokenizer = SentenceTransformer(str(tiny_bi), device="cpu").tokenizer
    texts = [tokenizer("질문: " + t, truncation=False)["input_ids"] for row in rows for t in row[:2]]
    pairs = [tokenizer(*row[:2], truncation=False)["input_ids"] for row in rows]
    limit = sorted(map(len, texts))[40]
    assert bi(Script(1, 2, 3), max_length=limit).truncated == sum(len(ids) > limit for ids in texts) > 0
    assert cross(Script(1, 2, 3), max_length=limit).truncated == sum(len(ids) > limit for ids in pairs) > 0


# -- the best weights


@pytest.mark.parametrize(("scores", "best"), [((10, 50, 40), 1), ((10, 40, 50), 2), ((90, 50, 40), 0)])
def test_the_bi_encoder_that_was_best_on_dev_is_saved(
    bi: Callable[..., TrainReport], tmp_path: Path, scores: tuple[float, ...], best: int
) -> None:
    script = Script(*scores)
    assert bi(script).best_step == 2 * best
    saved = SentenceTransformer(str(tmp_path / "bi"), device="cpu").state_dict()
    assert [same(saved, seen) for seen in script.seen] == [n == best for n in range(3)]


@pytest.mark.parametrize(("goes_on", "best"), [(False, 1), (True, 0)])
def test_a_cross_encoder_starts_from_its_own_head_or_a_new_one(
    cross: Callable[..., TrainReport], tiny_bi: Path, tiny_cross: Path, tmp_path: Path, goes_on: bool, best: int
) -> None:
    """A new head is random, so that what it scores before training is never kept."""
    script = Script(90, 50, 40)
    report = cross(script, start=tiny_cross if goes_on else tiny_bi)
    assert (report.dev_before, report.best_step) == (90, 2 * best)
    saved = CrossEncoder(str(tmp_path / "cross"), device="cpu").state_dict()
    assert [same(saved, seen) for seen in script.seen] == [n == best for n in range(3)]
    start = CrossEncoder(str(tiny_cross), device="cpu").state_dict()
    assert same(script.seen[0], start) == goes_on


def test_dev_that_cannot_be_scored_leaves_no_model(bi: Callable[..., TrainReport], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dev could not be scored"):
        bi(Script(None, None, None))
    assert not (tmp_path / "bi").exists()


# -- frozen embeddings


def test_frozen_embeddings_stay_bit_for_bit_and_all_else_moves(
    bi: Callable[..., TrainReport], tiny_bi: Path, tmp_path: Path
) -> None:
    bi(Script(1, 2, 3))
    before, after = weights(tiny_bi), weights(tmp_path / "bi")
    moved = changed(before, after)
    assert WORDS not in moved
    still = {name.rpartition("/")[2] for name in before} - moved - {WORDS}
    assert all("pooler" in name for name in still)
    assert len(moved) > 30


def test_embeddings_move_where_they_are_not_frozen(
    bi: Callable[..., TrainReport], tiny_bi: Path, tmp_path: Path
) -> None:
    bi(Script(1, 2, 3), freeze_embeddings=False)
    assert WORDS in changed(weights(tiny_bi), weights(tmp_path / "bi"))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_cross_encoder_freezes_its_embeddings_too(
    cross: Callable[..., TrainReport], tiny_bi: Path, tmp_path: Path, frozen: bool
) -> None:
    cross(Script(1, 2, 3), freeze_embeddings=frozen)
    before = load_file(tiny_bi / "model.safetensors")[WORDS]
    after = next(v for k, v in weights(tmp_path / "cross").items() if k.endswith(WORDS))
    assert torch.equal(before, after) is frozen


# -- the same again


@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_the_seed_decides_the_weights(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    train = request.getfixturevalue(kind)
    reports = []
    for out, seed in (("one", 5), ("two", 5), ("three", 6)):
        torch.manual_seed(hash(out))  # what was drawn before does not count
        np.random.seed(len(out))
        reports.append(train(Script(1, 2, 3), out=out, seed=seed).as_dict())
    one, two, three = (weights(tmp_path / out) for out in ("one", "two", "three"))
    assert same(one, two)
    assert not same(one, three)
    assert reports[0] == reports[1] != reports[2]


def test_a_new_head_is_drawn_from_the_seed(tiny_bi: Path) -> None:
    heads = [new_cross_encoder(tiny_bi, "mean", 64, "cpu", seed).state_dict() for seed in (1, 1, 2)]
    assert same(heads[0], heads[1])
    assert changed(heads[0], heads[2]) == {"2.linear.weight", "2.linear.bias"}


# -- how it is trained


def test_the_default_prompt_goes_before_every_text_in_training(
    bi: Callable[..., TrainReport], tiny_bi: Path, tmp_path: Path, rows: list[ScoredPair]
) -> None:
    bare = shutil.copytree(tiny_bi, tmp_path / "start")
    settings = bare / "config_sentence_transformers.json"
    content = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**content, "prompts": {}, "default_prompt_name": None}), encoding="utf-8")
    bi(Script(1, 2, 3), out="prompted")
    by_hand = [ScoredPair(f"질문: {row.sentence1}", f"질문: {row.sentence2}", row.score) for row in rows]
    bi(Script(1, 2, 3), out="by-hand", start=bare, rows=by_hand)
    bi(Script(1, 2, 3), out="without", start=bare)
    trained = {out: weights(tmp_path / out) for out in ("prompted", "by-hand", "without")}
    assert same(trained["prompted"], trained["by-hand"])
    assert not same(trained["prompted"], trained["without"])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_brings_the_model_nearer_to_the_scores(
    bi: Callable[..., TrainReport], rows: list[ScoredPair], objective: str
) -> None:
    def on_train(encoder: Encoder) -> float:
        return 100 * spearman(cosine_of_pairs(encoder, rows), gold_scores(rows))

    report = bi(on_train, objective=objective, epochs=6, freeze_embeddings=False)
    assert report.dev_best > report.dev_before + 10
    assert report.losses[-1]["loss"] < report.losses[0]["loss"]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_cross_encoder_learns_the_scores(
    cross: Callable[..., TrainReport], rows: list[ScoredPair], pooling: str
) -> None:
    def on_train(scorer: Scorer) -> float:
        return 100 * spearman(scorer.score([row[:2] for row in rows]), gold_scores(rows))

    report = cross(on_train, pooling=pooling, epochs=8, learning_rate=3e-3, freeze_embeddings=False)
    assert report.dev_best > 60


def test_numbers_that_are_not_finite_stop_the_training_at_the_first_step(
    bi: Callable[..., TrainReport], tiny_bi: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(tiny_bi, tmp_path / "start")
    tensors = load_file(broken / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"][0] = math.nan
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="not finite") as caught:
        bi(Script(1, 2, 3), start=broken)
    assert caught.value.where == "step 1"
    assert not (tmp_path / "bi").exists()


def test_a_transformer_without_modules_gets_mean_pooling(
    bi: Callable[..., TrainReport], tiny_bi: Path, tmp_path: Path
) -> None:
    bi(Script(1, 2, 3), start=tiny_bi.with_name("body"))
    modules = [type(module).__name__ for module in SentenceTransformer(str(tmp_path / "bi"), device="cpu")]
    assert modules == ["Transformer", "Pooling"]
    pooling = json.loads((tmp_path / "bi" / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    assert pooling.get("pooling_mode") == "mean" or pooling.get("pooling_mode_mean_tokens")
