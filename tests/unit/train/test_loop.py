"""What both trainings share: rows that may be used, orders, random negatives, the best weights, and the guards."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from munjang.data.rows import ScoredPair, pair_key, sentences_of
from munjang.errors import DataError
from munjang.progress import silent
from munjang.train import cross
from munjang.train.cross import in_orders, random_negatives
from munjang.train.loop import KeepBest, TrainReport, freeze_word_embeddings, trainer_arguments, without_leaks
from munjang.train.options import TrainBiOptions


def pairs(count: int) -> list[ScoredPair]:
    return [ScoredPair(f"왼쪽 {n}", f"오른쪽 {n}", n / max(count, 1)) for n in range(count)]


# -- leakage


def test_rows_of_which_a_sentence_is_held_out_are_left_out() -> None:
    rows = pairs(6)
    test = [ScoredPair("오른쪽  1 ", "새", 0.5), ScoredPair("새로운", "왼쪽 4", 0.5)]
    assert without_leaks(rows, [[ScoredPair("무관", "상관없음", 0)], test]) == [rows[0], rows[2], rows[3], rows[5]]
    assert without_leaks(rows, []) == without_leaks(rows, [[]]) == rows


def test_spellings_of_one_sentence_are_one() -> None:
    rows = [ScoredPair("Hello  World", "나", 0.5), ScoredPair("각", "다", 0.5), *pairs(1)]
    held_out = [ScoredPair("hello world", "x", 0), ScoredPair("y", "\u1100\u1161\u11a8", 0)]
    assert without_leaks(rows, [held_out]) == pairs(1)


def test_nothing_may_be_left() -> None:
    assert without_leaks(pairs(3), [pairs(3)]) == []


# -- orders


def test_pairs_in_both_orders_follow_each_other() -> None:
    rows = pairs(2)
    assert in_orders(rows, "both", 1) == [
        rows[0],
        ScoredPair("오른쪽 0", "왼쪽 0", 0.0),
        rows[1],
        ScoredPair("오른쪽 1", "왼쪽 1", 0.5),
    ]
    assert in_orders(rows, "given", 1) == rows


def test_random_orders_turn_about_half_and_keep_the_rows() -> None:
    rows = pairs(400)
    found = in_orders(rows, "random", 5)
    assert [(pair_key(*row[:2]), row.score) for row in found] == [(pair_key(*row[:2]), row.score) for row in rows]
    turned = sum(one != other for one, other in zip(rows, found, strict=True))
    assert 150 < turned < 250
    assert found == in_orders(rows, "random", 5) != in_orders(rows, "random", 6)


# -- random negatives


class Patience(random.Random):
    """Draws as usual, but not for ever."""

    left = 3_000

    def choice(self, seq):
        self.left -= 1
        assert self.left, "drawing without an end"
        return super().choice(seq)


@example(sentences=["A", "b", "a", "B"], share=10.0, seed=1)
@given(
    sentences=st.lists(st.sampled_from(["가", "나", "다", "Ab", "aB", "라 ", "라"]), min_size=4, max_size=16),
    share=st.sampled_from([0.0, 0.5, 1.0, 10.0]),
    seed=st.integers(0, 9),
)
def test_random_negatives_are_new_pairs_with_score_0(sentences: list[str], share: float, seed: int) -> None:
    rows = [ScoredPair(a, b, 0.9) for a, b in zip(sentences[::2], sentences[1::2], strict=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross, "random", SimpleNamespace(Random=Patience))
        found = random_negatives(rows, share, seed)
        assert found == random_negatives(rows, share, seed)
    known = {pair_key(*row[:2]) for row in rows}
    keys = [pair_key(*row[:2]) for row in found]
    assert known.isdisjoint(keys)
    assert len(set(keys)) == len(keys) <= round(len(rows) * share)
    assert all(first != second for first, second in keys)
    assert set(sentences_of(found)) <= set(sentences_of(rows))
    assert all(row.score == 0 for row in found)


def test_two_spellings_of_one_sentence_are_no_pair() -> None:
    rows = [*pairs(3), ScoredPair("Hello", "가", 0.5), ScoredPair("hello", "나", 0.5), ScoredPair("HELLO ", "다", 0.5)]
    for seed in range(20):
        assert all(len(set(pair_key(*row[:2]))) == 2 for row in random_negatives(rows, 2, seed))


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 10), (1.0, 40), (10.0, 400)])
def test_as_many_negatives_as_asked_for(share: float, count: int) -> None:
    rows = pairs(40)
    found = random_negatives(rows, share, 3)
    assert len(found) == count
    assert count == 0 or found != random_negatives(rows, share, 4)


def test_no_more_negatives_than_there_are_pairs() -> None:
    rows = pairs(2)  # four sentences make six pairs, two of them known
    assert len({pair_key(*row[:2]) for row in random_negatives(rows, 10, 1)}) == 4


# -- the best weights


class Trained:
    """A model of two numbers, one of them frozen, under a callback, with dev scores that are told in advance."""

    def __init__(
        self,
        scores: list[float | None],
        *,
        evaluations: int = 4,
        steps: int = 8,
        start: bool = True,
        ema: float = 0.0,
    ) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.model.bias.requires_grad_(False)
        self.scores = iter(scores)
        self.report = TrainReport(rows=1, excluded=0)
        self.seen: list[tuple[int, int, str]] = []
        self.set(0)
        self.keep = KeepBest(
            self.model,
            lambda: next(self.scores),
            self.report,
            evaluations=evaluations,
            progress=lambda done, total, note="": self.seen.append((done, total, note)),
            start=start,
            ema=ema,
        )
        self.steps = steps
        self.state = SimpleNamespace(max_steps=steps, global_step=0)

    def set(self, value: float) -> None:
        with torch.no_grad():
            self.model.weight.fill_(value)
            self.model.bias.fill_(100 + value)

    def run(self) -> Trained:
        """Each step sets the weight to its number."""
        self.keep.on_train_begin(None, self.state, None)
        for step in range(1, self.steps + 1):
            self.state.global_step = step
            self.set(step)
            self.keep.on_step_end(None, self.state, None)
        return self

    @property
    def weight(self) -> float:
        return self.model.weight.item()


@pytest.mark.parametrize(
    ("scores", "best", "step"),
    [
        ([10, 20, 40, 30, 35], 40, 4),
        ([10, 20, 30, 40, 50], 50, 8),
        ([90, 20, 40, 30, 35], 90, 0),
        ([10, 40, 40, 40, 40], 40, 2),
        ([None, -5, None, None, -9], -5, 2),
        ([None, None, None, 7, None], 7, 6),
    ],
)
def test_the_weights_that_were_best_on_dev_come_back(scores: list[float | None], best: float, step: int) -> None:
    trained = Trained(scores).run()
    assert trained.weight == 8
    trained.keep.restore()
    assert trained.weight == step
    assert trained.model.bias.item() == 108  # not trained, so neither kept nor restored
    assert (trained.report.dev_before, trained.report.dev_best, trained.report.best_step) == (scores[0], best, step)
    assert trained.report.steps == 8


def test_a_head_of_random_numbers_is_never_the_best() -> None:
    trained = Trained([90, 20, 40, 30, 35], start=False).run()
    trained.keep.restore()
    assert trained.weight == 4
    assert (trained.report.dev_before, trained.report.dev_best) == (90, 40)


def test_an_average_of_the_weights_is_what_dev_scores_and_what_comes_back() -> None:
    trained = Trained([0, 1, 2, 3, 4], ema=0.5)
    scored: list[float] = []
    trained.keep.score = lambda: scored.append(trained.weight) or len(scored)
    trained.run()
    # Each step halves the way to its number, from the first one on.
    averages = [1.0]
    for step in range(2, 9):
        averages.append((averages[-1] + step) / 2)
    assert scored == [averages[step - 1] for step in (2, 4, 6, 8)]
    assert trained.weight == 8  # the training itself goes on from its own weights
    trained.keep.restore()
    assert trained.weight == averages[-1]


def test_a_slow_average_begins_as_the_plain_mean() -> None:
    trained = Trained([0, 1], ema=0.999, evaluations=1, steps=5).run()
    trained.keep.restore()
    assert trained.weight == pytest.approx(3)


def test_later_steps_do_not_change_what_is_kept() -> None:
    trained = Trained([90, 20, 40, 30, 35])
    trained.set(77)
    trained.keep.restore()
    assert trained.weight == 0


@pytest.mark.parametrize(
    ("steps", "evaluations", "at"),
    [(8, 4, [2, 4, 6, 8]), (10, 4, [2, 5, 8, 10]), (3, 1, [3]), (2, 4, [1, 2]), (1, 100, [1]), (7, 7, [*range(1, 8)])],
)
def test_dev_is_scored_evenly_and_after_the_last_step(steps: int, evaluations: int, at: list[int]) -> None:
    trained = Trained([1.0] * 120, evaluations=evaluations, steps=steps).run()
    assert [point["step"] for point in trained.report.curve] == at
    assert {point["dev"] for point in trained.report.curve} == {1.0}


def test_dev_that_can_never_be_scored_is_an_error() -> None:
    trained = Trained([None] * 5).run()
    assert trained.report.dev_best is None
    with pytest.raises(DataError, match="dev could not be scored") as caught:
        trained.keep.restore()
    assert "dev set" in caught.value.hint


def test_a_report_is_json_even_where_dev_was_undefined_once() -> None:
    report = Trained([None, 5, None, 6, None]).run().report
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert [point["dev"] for point in told["curve"]] == [5, None, 6, None]
    assert told["dev_before"] is None


def test_progress_is_told_at_every_step_with_loss_and_dev() -> None:
    trained = Trained([10, 20, 40, 30, 35])
    trained.report.losses.append({"step": 1, "loss": 0.1234})
    trained.run()
    assert [(done, total) for done, total, _ in trained.seen] == [(n, 8) for n in range(1, 9)]
    assert trained.seen[0][2] == "loss 0.123  dev 10.00"
    assert trained.seen[-1][2] == "loss 0.123  dev 40.00"


# -- guards


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step(loss: float) -> None:
    trained = Trained([1] * 9)
    trained.state.global_step = 17
    trained.keep.on_log(None, trained.state, None, {"loss": 0.5})
    with pytest.raises(DataError, match="not finite") as caught:
        trained.keep.on_log(None, trained.state, None, {"loss": loss})
    assert caught.value.where == "step 17"
    assert "learning_rate" in caught.value.hint
    assert trained.report.losses == [{"step": 17, "loss": 0.5}]


@pytest.mark.parametrize("logs", [None, {}, {"learning_rate": 0.1}, {"train_loss": math.nan}])
def test_other_logs_are_no_losses(logs: dict[str, float] | None) -> None:
    trained = Trained([1] * 9)
    trained.keep.on_log(None, trained.state, None, logs)
    assert trained.report.losses == []


def test_only_the_word_embeddings_are_frozen(tiny_bi) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    freeze_word_embeddings(model)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert len(frozen) == 1
    assert frozen[0].endswith(".embeddings.word_embeddings.weight")


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "logging"), [(10, 4, 1, 1), (3200, 32, 1, 2), (3200, 32, 2.0, 5), (1, 4, 0.1, 1)]
)
def test_losses_are_logged_about_40_times(
    rows: int, batch: int, epochs: float, logging: int, tmp_path, make_options: Callable[..., TrainBiOptions]
) -> None:
    arguments = trainer_arguments(make_options(batch_size=batch, epochs=epochs), tmp_path / "model", 5, "cpu", rows)
    assert arguments["logging_steps"] == logging
    assert arguments["seed"] == arguments["data_seed"] == 5
    assert arguments["use_cpu"]
    assert not arguments["bf16"]
    assert arguments["save_strategy"] == "no"
    assert arguments["report_to"] == "none"


def test_silence_is_a_progress() -> None:
    assert silent(1, 2, "note") is None
