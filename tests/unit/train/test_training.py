"""Trained models are ordinary folders with the weights that were best, and come out the same from the same seed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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
from munjang.models.folder import model_kind, require_safe_folder
from munjang.models.heads import new_cross_encoder
from munjang.train.best import TrainReport
from munjang.train.bi import train_bi
from munjang.train.cross import train_cross
from munjang.train.examples import TrainRows
from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES, choose_objective
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


class Script:
    """Scores dev with numbers told in advance, and keeps the weights that it was asked about."""

    def __init__(self, *scores: float | None) -> None:
        self.scores: Iterator[float | None] = iter(scores)
        self.seen: list[Weights] = []

    def __call__(self, runner: Encoder | Scorer) -> float | None:
        assert not runner.model.training
        self.seen.append({k: v.detach().clone() for k, v in runner.model.state_dict().items()})
        return next(self.scores)


class Trained(NamedTuple):
    """A training of five steps that was best at its second."""

    folder: Path
    report: TrainReport
    script: Script
    told: list[tuple[int, int]]
    limit: int


Train = Callable[..., TrainReport]


def scored(rows: list[ScoredPair], objective: str | None = None, cross: bool = False) -> list[TrainRows]:
    """Scored pairs as the one set of a training."""
    known = CROSS_OBJECTIVES if cross else BI_OBJECTIVES
    return [TrainRows("t", "scored-pairs", rows, choose_objective(known, "scored-pairs", objective, "t"))]


@pytest.fixture(scope="module")
def bi(tiny_bi: Path, make_options, rows: list[ScoredPair]) -> Train:
    """Trains a bi-encoder for five steps into a folder."""

    def train(score: Any, out: Path, start: Path = tiny_bi, seed: int = 1, **values: Any) -> TrainReport:
        given, progress = values.pop("rows", rows), values.pop("progress", lambda *_: None)
        more = {"start": start, "out": out, "seed": seed, "device": "cpu", "progress": progress}
        options = make_options(**values)
        return train_bi(options, scored(given, options.objective), score, **more)

    return train


@pytest.fixture(scope="module")
def cross(tiny_bi: Path, make_options, rows: list[ScoredPair]) -> Train:
    """Trains a cross-encoder for five steps into a folder, from the bi-encoder unless told otherwise."""

    def train(score: Any, out: Path, start: Path = tiny_bi, seed: int = 1, **values: Any) -> TrainReport:
        progress = values.pop("progress", lambda *_: None)
        options = make_options(TrainCrossOptions, **values)
        more = {"start": start, "out": out, "seed": seed, "device": "cpu", "progress": progress}
        return train_cross(options, scored(rows, cross=True), score, **more)

    return train


def trained(train: Train, folder: Path, limit: int) -> Trained:
    script, told = Script(10, 50, 40), []
    report = train(script, folder, max_length=limit, progress=lambda done, total, note="": told.append((done, total)))
    return Trained(folder, report, script, told, limit)


@pytest.fixture(scope="module")
def lengths(tiny_bi: Path, rows: list[ScoredPair]) -> dict[str, list[int]]:
    """Tokens of every text with its prompt, and of every pair."""
    tokenizer = SentenceTransformer(str(tiny_bi), device="cpu").tokenizer
    texts = [tokenizer("질문: " + t, truncation=False)["input_ids"] for row in rows for t in row[:2]]
    pairs = [tokenizer(*row[:2], truncation=False)["input_ids"] for row in rows]
    return {"bi": sorted(map(len, texts)), "cross": sorted(map(len, pairs))}


@pytest.fixture(scope="module")
def trained_bi(bi: Train, lengths: dict[str, list[int]], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(bi, tmp_path_factory.mktemp("trained") / "bi", lengths["bi"][-6])


@pytest.fixture(scope="module")
def trained_cross(cross: Train, lengths: dict[str, list[int]], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(cross, tmp_path_factory.mktemp("trained") / "cross", lengths["cross"][-6])


@pytest.fixture(params=["bi", "cross"])
def either(request: pytest.FixtureRequest) -> Trained:
    """The bi-encoder, then the cross-encoder."""
    return request.getfixturevalue(f"trained_{request.param}")


# -- what is saved


def test_a_bi_encoder_is_a_plain_folder_that_gives_the_same_vectors(trained_bi: Trained) -> None:
    folder = trained_bi.folder
    require_safe_folder(folder)
    assert model_kind(folder) == "bi-encoder"
    plain, encoder = SentenceTransformer(str(folder), device="cpu"), Encoder(folder)
    assert np.abs(plain.encode(TEXTS) - encoder.encode(TEXTS)).max() < 1e-5
    assert np.abs(plain.encode_query(TEXTS) - encoder.encode(TEXTS, use="query")).max() < 1e-5
    assert plain.prompts == {"query": "질문: ", "document": "글: "}
    assert plain.default_prompt_name == "query"
    assert plain.max_seq_length == trained_bi.limit


def test_a_cross_encoder_is_a_plain_folder_that_gives_the_same_scores(trained_cross: Trained) -> None:
    folder = trained_cross.folder
    require_safe_folder(folder)
    assert model_kind(folder) == "cross-encoder"
    plain = CrossEncoder(str(folder), device="cpu")
    scores = plain.predict(PAIRS)
    assert np.abs(scores - Scorer(folder, symmetric=False).score(PAIRS)).max() < 1e-5
    assert ((scores > 0) & (scores < 1)).all()
    assert plain.max_seq_length == trained_cross.limit


def test_the_weights_that_were_best_on_dev_are_saved(either: Trained) -> None:
    load = SentenceTransformer if either.folder.name == "bi" else CrossEncoder
    saved = load(str(either.folder), device="cpu").state_dict()
    assert [same(saved, seen) for seen in either.script.seen] == [False, True, False]


def test_nothing_but_the_model_is_left(either: Trained) -> None:
    assert list(either.folder.parent.iterdir()) == [either.folder]
    suffixes = {path.suffix for path in either.folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".txt", ".md"}


def test_the_report_holds_the_curve_and_the_losses(either: Trained) -> None:
    report = either.report
    assert (report.rows, report.steps, report.dev_before, report.dev_best, report.best_step) == (32, 5, 10, 50, 2)
    assert report.curve == [{"step": 2, "dev": 50}, {"step": 5, "dev": 40}]
    assert [loss["step"] for loss in report.losses] == [1, 2, 3, 4, 5]
    assert all(math.isfinite(loss["loss"]) for loss in report.losses)
    assert either.told == [(n, 5) for n in range(1, 6)]
    json.dumps(report.as_dict(), allow_nan=False)


def test_texts_that_are_cut_are_counted_with_their_prompt(either: Trained, lengths: dict[str, list[int]]) -> None:
    assert either.report.truncated == sum(n > either.limit for n in lengths[either.folder.name]) > 0


def test_dev_is_scored_as_the_saved_model_scores_it(cross: Train, tmp_path: Path, dev: list[ScoredPair]) -> None:
    seen: list[float] = []

    def score(scorer: Scorer) -> float:
        seen.append(100 * spearman(scorer.score([row[:2] for row in dev]), gold_scores(dev)))
        return seen[-1]

    report = cross(score, tmp_path / "cross", orders="both", negatives=0.5)
    assert 12 <= report.steps <= 15  # 32 pairs and 16 negatives in both orders, by 8 of average length
    assert (report.dev_before, report.dev_best) == (seen[0], max(seen[1:]))
    plain = CrossEncoder(str(tmp_path / "cross"), device="cpu")
    there, back = (plain.predict([(r[i], r[1 - i]) for r in dev]) for i in (0, 1))
    assert 100 * spearman(there + back, gold_scores(dev)) == pytest.approx(report.dev_best, abs=0.05)


# -- where nothing was better


@pytest.mark.parametrize(("scores", "best"), [((10, 40, 50), 2), ((90, 50, 40), 0)])
def test_a_bi_encoder_may_be_best_at_its_end_or_its_start(
    bi: Train, tiny_bi: Path, tmp_path: Path, scores: tuple[float, ...], best: int
) -> None:
    script = Script(*scores)
    assert bi(script, tmp_path / "bi").best_step == [0, 2, 5][best]
    saved = SentenceTransformer(str(tmp_path / "bi"), device="cpu").state_dict()
    assert [same(saved, seen) for seen in script.seen] == [n == best for n in range(3)]
    assert same(weights(tmp_path / "bi"), weights(tiny_bi)) is (best == 0)


@pytest.mark.parametrize(("goes_on", "best"), [(False, 1), (True, 0)])
def test_a_cross_encoder_starts_from_its_own_head_or_a_new_one(
    cross: Train, tiny_bi: Path, tiny_cross: Path, tmp_path: Path, goes_on: bool, best: int
) -> None:
    """A new head is random, so that what it scores before training is never kept."""
    script = Script(90, 50, 40)
    report = cross(script, tmp_path / "cross", start=tiny_cross if goes_on else tiny_bi)
    assert (report.dev_before, report.best_step) == (90, [0, 2, 5][best])
    saved = CrossEncoder(str(tmp_path / "cross"), device="cpu").state_dict()
    assert [same(saved, seen) for seen in script.seen] == [n == best for n in range(3)]
    assert same(script.seen[0], CrossEncoder(str(tiny_cross), device="cpu").state_dict()) == goes_on


# -- embeddings


def test_frozen_embeddings_stay_bit_for_bit_and_all_else_moves(either: Trained, tiny_bi: Path) -> None:
    before = load_file(tiny_bi / "model.safetensors")
    after = {k.rpartition("/")[2]: v for k, v in weights(either.folder).items()}
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert WORDS in still
    assert all(name == WORDS or "pooler" in name for name in still)
    assert len(before) - len(still) > 30


@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_the_rows_of_the_pieces_that_occur_are_trained_and_the_others_stay(
    kind: str, request: pytest.FixtureRequest, tiny_bi: Path, tmp_path: Path, rows: list[ScoredPair]
) -> None:
    train = request.getfixturevalue(kind)
    for words in ("used", "all"):
        train(Script(10, 40, 50), tmp_path / words, word_embeddings=words, weight_decay=0.0)
    before = load_file(tiny_bi / "model.safetensors")[WORDS]
    used, all_rows = (weights(tmp_path / words) for words in ("used", "all"))
    name = next(name for name in used if name.endswith(WORDS))
    tokenizer = SentenceTransformer(str(tiny_bi), device="cpu").tokenizer
    texts = [("질문: " if kind == "bi" else "") + text for row in rows for text in row[:2]]
    ids = sorted({i for text in texts for i in tokenizer(text)["input_ids"]})
    others = [i for i in range(len(before)) if i not in ids and i != tokenizer.pad_token_id]
    assert torch.equal(used[name][others], before[others])
    assert not torch.equal(used[name][ids], before[ids])
    # Without decay a step on all rows is the same step.
    assert used.keys() == all_rows.keys()
    assert all(torch.allclose(used[key], all_rows[key], atol=1e-6) for key in used)
    load = SentenceTransformer if kind == "bi" else CrossEncoder
    load(str(tmp_path / "used"), device="cpu")


# -- the same again


@pytest.mark.parametrize("kind", ["bi", "cross"])
def test_the_seed_decides_the_weights(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    train, first = request.getfixturevalue(kind), request.getfixturevalue(f"trained_{kind}")
    torch.manual_seed(99)  # what was drawn before does not count
    np.random.seed(99)
    again = train(Script(10, 50, 40), tmp_path / "again", max_length=first.limit)
    assert same(weights(tmp_path / "again"), weights(first.folder))
    assert again == first.report
    other = train(Script(10, 50, 40), tmp_path / "other", max_length=first.limit, seed=2)
    assert not same(weights(tmp_path / "other"), weights(first.folder))
    assert other.losses != first.report.losses


def test_a_new_head_is_drawn_from_the_seed(tiny_bi: Path) -> None:
    heads = [new_cross_encoder(tiny_bi, "mean", 64, "cpu", seed).state_dict() for seed in (1, 1, 2)]
    assert same(heads[0], heads[1])
    assert {n for n in heads[0] if not torch.equal(heads[0][n], heads[2][n])} == {"2.linear.weight", "2.linear.bias"}


# -- how it is trained


def test_the_default_prompt_goes_before_every_text_in_training(
    bi: Train, trained_bi: Trained, tiny_bi: Path, tmp_path: Path, rows: list[ScoredPair]
) -> None:
    bare = shutil.copytree(tiny_bi, tmp_path / "start")
    settings = bare / "config_sentence_transformers.json"
    content = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**content, "prompts": {}, "default_prompt_name": None}), encoding="utf-8")
    by_hand = [ScoredPair(f"질문: {row.sentence1}", f"질문: {row.sentence2}", row.score) for row in rows]
    more = {"start": bare, "max_length": trained_bi.limit}
    report = bi(Script(10, 50, 40), tmp_path / "by-hand", rows=by_hand, **more)
    assert same(weights(tmp_path / "by-hand"), weights(trained_bi.folder))
    assert report == trained_bi.report
    bi(Script(10, 50, 40), tmp_path / "without", **more)
    assert not same(weights(tmp_path / "without"), weights(trained_bi.folder))


@pytest.mark.parametrize("objective", ["cosent", "cosine", "angle"])
def test_every_objective_of_scored_pairs_brings_the_model_nearer_to_the_scores(
    bi: Train, tiny_bi: Path, tmp_path: Path, rows: list[ScoredPair], objective: str
) -> None:
    def on_train(encoder: Encoder) -> float:
        return 100 * spearman(cosine_of_pairs(encoder, rows), gold_scores(rows))

    more = {"objective": objective, "epochs": 4, "learning_rate": 5e-3, "word_embeddings": "used"}
    report = bi(on_train, tmp_path / "bi", **more)
    assert report.dev_best > report.dev_before + 10
    assert report.losses[-1]["loss"] < report.losses[0]["loss"]
    before, after = (load_file(folder / "model.safetensors")[WORDS] for folder in (tiny_bi, tmp_path / "bi"))
    assert not torch.equal(before, after)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_cross_encoder_learns_the_scores(
    cross: Train, tiny_bi: Path, tmp_path: Path, rows: list[ScoredPair], pooling: str
) -> None:
    def on_train(scorer: Scorer) -> float:
        return 100 * spearman(scorer.score([row[:2] for row in rows]), gold_scores(rows))

    more = {"pooling": pooling, "epochs": 8, "learning_rate": 5e-3, "word_embeddings": "used"}
    report = cross(on_train, tmp_path / "cross", **more)
    assert report.dev_best > report.dev_before + 20
    assert CrossEncoder(str(tmp_path / "cross"), device="cpu")[1].pooling_mode == pooling
    before = load_file(tiny_bi / "model.safetensors")[WORDS]
    after = next(v for k, v in weights(tmp_path / "cross").items() if k.endswith(WORDS))
    assert not torch.equal(before, after)


def test_numbers_that_are_not_finite_stop_the_training_at_the_first_step(
    bi: Train, tiny_bi: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(tiny_bi, tmp_path / "start")
    tensors = load_file(broken / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"][0] = math.nan
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="not finite") as caught:
        bi(Script(1, 2, 3), tmp_path / "bi", start=broken)
    assert caught.value.where == "step 1 of 5"
    assert not (tmp_path / "bi").exists()


def test_a_transformer_without_modules_gets_mean_pooling(bi: Train, tiny_bi: Path, tmp_path: Path) -> None:
    bi(Script(1, 2, 3), tmp_path / "bi", start=tiny_bi.with_name("body"))
    modules = list(SentenceTransformer(str(tmp_path / "bi"), device="cpu"))
    assert [type(module).__name__ for module in modules] == ["Transformer", "Pooling"]
    assert modules[1].pooling_mode == "mean"


def test_a_length_that_the_model_does_not_read_is_said_where_it_was_asked_for(
    bi: Train, cross: Train, tmp_path: Path
) -> None:
    for number, train in enumerate((bi, cross)):
        report = train(Script(1, 2, 3), tmp_path / f"long-{number}", max_length=500)
        assert "max_length is 500, but the model reads 96 tokens at most" in report.warnings
        report = train(Script(1, 2, 3), tmp_path / f"short-{number}", max_length=64)
        assert not any("max_length" in line for line in report.warnings)


def test_a_pooling_without_effect_is_said_during_the_run(cross: Train, tiny_cross: Path, tmp_path: Path) -> None:
    report = cross(Script(1, 2, 3), tmp_path / "cross", start=tiny_cross, pooling="cls")
    assert any("pooling = 'cls' has no effect" in line for line in report.warnings)
    report = cross(Script(1, 2, 3), tmp_path / "other", start=tiny_cross)
    assert not any("pooling" in line for line in report.warnings)
