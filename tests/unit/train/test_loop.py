"""What both trainings share: rows that may be used, orders, random negatives, the best weights, and the guards."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from munjang.data.rows import ScoredPair, pair_key, sentences_of
from munjang.errors import DataError
from munjang.progress import silent
from munjang.train import examples
from munjang.train.batches import RowSet
from munjang.train.best import BestWeights, TrainReport
from munjang.train.checkpoint import Checkpoints
from munjang.train.examples import in_orders, random_negatives, without_leaks
from munjang.train.guards import CollapseGuard
from munjang.train.loop import Loop, seed_of_step
from munjang.train.options import TrainOptions
from munjang.train.plan import make_plan
from munjang.train.task import StepLoss
from munjang.train.team import Team


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
        patch.setattr(examples, "random", SimpleNamespace(Random=Patience))
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
    """A model of two numbers, one of them frozen, whose dev scores are told in advance; each step sets its number."""

    def __init__(self, scores: list[float | None], *, at: tuple[int, ...], start: bool = True, ema: float = 0) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.model.bias.requires_grad_(False)
        told = iter(scores)
        self.scored: list[float] = []
        self.report = TrainReport(rows=1, excluded=0)
        self.best = BestWeights(self.model, lambda: self.scored.append(self.weight) or next(told), self.report, ema=ema)
        self.set(0)
        self.best.begin(keep=start)
        for step in range(1, 9):
            self.set(step)
            self.best.follow(step)
            if step in at:
                self.best.evaluate(step)

    def set(self, value: float) -> None:
        with torch.no_grad():
            self.model.weight.fill_(value)
            self.model.bias.fill_(100 + value)

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
    trained = Trained(scores, at=(2, 4, 6, 8))
    assert trained.weight == 8
    trained.best.restore()
    assert trained.weight == step
    assert trained.model.bias.item() == 108  # not trained, so neither kept nor restored
    assert (trained.report.dev_before, trained.report.dev_best, trained.report.best_step) == (scores[0], best, step)
    assert [point["step"] for point in trained.report.curve] == [2, 4, 6, 8]


def test_a_head_of_random_numbers_is_never_the_best() -> None:
    trained = Trained([90, 20, 40, 30, 35], at=(2, 4, 6, 8), start=False)
    trained.best.restore()
    assert trained.weight == 4
    assert (trained.report.dev_before, trained.report.dev_best) == (90, 40)


def test_dev_that_can_never_be_scored_is_an_error() -> None:
    trained = Trained([None] * 5, at=(2, 4, 6, 8))
    assert trained.report.dev_best is None
    with pytest.raises(DataError, match="dev could not be scored") as caught:
        trained.best.restore()
    assert "dev set" in caught.value.hint


def test_a_report_is_json_even_where_dev_was_undefined_once() -> None:
    report = Trained([None, 5, None, 6, None], at=(2, 4, 6, 8)).report
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert [point["dev"] for point in told["curve"]] == [5, None, 6, None]
    assert told["dev_before"] is None


def test_an_average_of_the_weights_is_what_dev_scores_and_what_comes_back() -> None:
    trained = Trained([0, 1, 2, 3, 4], at=(2, 4, 6, 8), ema=0.5)
    # Each step goes half of the way to its number, from the first one on.
    averages = [1.0]
    for step in range(2, 9):
        averages.append((averages[-1] + step) / 2)
    assert trained.scored == [0, *(averages[step - 1] for step in (2, 4, 6, 8))]
    assert trained.weight == 8  # the training itself goes on from its own weights
    trained.best.restore()
    assert trained.weight == averages[-1]


def test_a_slow_average_begins_as_the_plain_mean() -> None:
    trained = Trained([0, 1], at=(5,), ema=0.999)
    trained.best.restore()
    assert trained.weight == pytest.approx(3)


# -- the loop


class Line:
    """Fits y = 3x + 2 from 40 rows; a step costs nothing."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        # Dropout, so that a step draws random numbers.
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
        self.trainable = self.model
        self.whole_gradients: set[int] = set()
        self.team = Team()
        self.x = torch.linspace(-1, 1, 40).unsqueeze(1)
        self.sets = [RowSet([4] * 40, texts=1)]
        self.used_tokens: list[int] = []
        self.seen: list[list[int]] = []
        self.bad: int | None = None

    def loss(self, number: int, rows: list[int]) -> StepLoss:
        if self.model.training:
            self.seen.append(rows)
        found = self.model(self.x[rows])
        loss = ((found - (3 * self.x[rows] + 2)) ** 2).mean()
        return StepLoss(loss * math.nan if self.bad in rows else loss, 4 * len(rows), 5 * len(rows))

    def guard(self, seed: int) -> CollapseGuard:
        return CollapseGuard(lambda: self.model.eval()(self.x), lambda found: float(found.std()))

    def describe(self, number: int, row: int) -> str:
        return f"row {row}"

    def score(self) -> float:
        self.model.eval()
        with torch.no_grad():
            return -float(((self.model(self.x) - (3 * self.x + 2)) ** 2).mean())

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


@pytest.fixture
def loop(make_options: Callable[..., TrainOptions]) -> Callable[..., Loop]:
    """A loop over a line: 20 steps of 8 rows."""

    def make(task: Line, folder: Path | None = None, progress: Any = silent, **values: Any) -> Loop:
        # There are no word embeddings to freeze or to take rows of.
        given = {"epochs": 4, "learning_rate": 0.01, "word_embeddings": "all", "checkpoint_seconds": 0, **values}
        best = BestWeights(task.model, task.score, TrainReport(rows=40, excluded=0), ema=given.get("ema", 0.0))
        checkpoints = Checkpoints(folder, "line") if folder is not None else None
        return Loop(task, make_options(**given), best, seed=5, progress=progress, checkpoints=checkpoints)

    return make


@pytest.mark.parametrize(
    ("epochs", "evaluations", "at"),
    [(1.6, 4, [2, 4, 6, 8]), (2, 4, [2, 5, 8, 10]), (0.6, 1, [3]), (0.4, 4, [1, 2]), (0.1, 100, [1])],
)
def test_dev_is_scored_evenly_and_after_the_last_step(
    loop: Callable[..., Loop], epochs: float, evaluations: int, at: list[int]
) -> None:
    one = loop(Line(), epochs=epochs, evaluations=evaluations)
    one.run(keep_start=True)
    assert [point["step"] for point in one.report.curve] == at
    assert one.report.steps == at[-1]


def test_every_epoch_shows_every_row_and_losses_fall(loop: Callable[..., Loop]) -> None:
    task = Line()
    told: list[tuple[int, int, str]] = []
    one = loop(task, progress=lambda done, total, note="": told.append((done, total, note)))
    one.run(keep_start=True)
    for epoch in range(4):
        assert sorted(row for rows in task.seen[5 * epoch : 5 * epoch + 5] for row in rows) == list(range(40))
    assert [(done, total) for done, total, _ in told] == [(n, 20) for n in range(1, 21)]
    assert "loss" in told[-1][2]
    assert "dev" in told[-1][2]
    assert one.report.losses[-1]["loss"] < one.report.losses[0]["loss"]
    assert (one.report.tokens, one.report.padding) == (640, 0.2)
    assert one.report.dev_best > one.report.dev_before


def test_gradients_add_up_to_the_mean_over_the_batches(loop: Callable[..., Loop]) -> None:
    few, many = loop(Line(), accumulate=5), loop(Line())
    assert (few.plan.steps, many.plan.steps) == (4, 20)
    assert [b for step in range(4) for b in few.plan.of_step(step)] == many.plan.batches
    task, seen = Line(), []
    task.model, task.x = task.model.double(), task.x.double()  # some processors multiply float32 in bfloat16 parts
    task.trainable = task.model
    one = loop(task, accumulate=5)
    task.model.eval()
    batches = one.plan.of_step(0)
    torch.stack(
        [((task.model(task.x[rows]) - 3 * task.x[rows] - 2) ** 2).mean() for _, rows in batches]
    ).mean().backward()
    wanted = [p.grad.clone() for p in one.parameters]
    norm = torch.nn.utils.get_total_norm(wanted)
    one.optimizer.zero_grad()
    task.model[1].p = 0.0
    one.optimizer.step = lambda: seen.extend(p.grad.clone() for p in one.parameters)
    one._step(0)
    assert all(torch.allclose(a, b / max(float(norm), 1.0), atol=1e-5) for a, b in zip(seen, wanted, strict=True))


def test_steps_seeds_and_processes_draw_apart() -> None:
    cases = [(seed, rank, step) for seed in (0, 1, 257, 2**31) for rank in (0, 1, 7) for step in (0, 1, 256)]
    draws = []
    for case in cases:
        torch.manual_seed(seed_of_step(*case))
        draws.append(tuple(torch.rand(4).tolist()))
    assert len(set(draws)) == len(cases)
    assert seed_of_step(3, 1, 5) == seed_of_step(3, 1, 5) < 2**32


def test_a_signal_while_dev_is_scored_at_the_end_loses_nothing(loop: Callable[..., Loop], tmp_path: Path) -> None:
    task = Line()
    one = loop(task, tmp_path / "work", checkpoint_seconds=1000)
    score = one.best.score

    def stop() -> float:
        if len(task.seen) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return score()

    one.best.score = stop
    with pytest.raises(KeyboardInterrupt):
        one.run(keep_start=True)
    again = Line()
    rest = loop(again, tmp_path / "work")
    rest.run(keep_start=True)
    assert again.seen == []
    assert rest.report.steps == 20


def test_a_checkpoint_of_other_batches_is_refused(loop: Callable[..., Loop], tmp_path: Path) -> None:
    one = loop(Line(), tmp_path / "work")
    one._step(0)
    one._save(1)
    with pytest.raises(DataError, match="other batches"):
        loop(Line(), tmp_path / "work", batch_size=4).run(keep_start=True)


def test_the_learning_rate_rises_and_falls_in_a_line(loop: Callable[..., Loop]) -> None:
    one = loop(Line(), warmup=0.2)
    rates = [one._rate(step) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[-1] == pytest.approx(1 / 16)
    assert all(a > b for a, b in itertools.pairwise(rates[4:]))


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_rows(loop: Callable[..., Loop]) -> None:
    task = Line()
    one = loop(task)
    task.bad = one.plan.of_step(2)[0][1][-1]
    last: list[dict[str, torch.Tensor]] = []
    one.progress = lambda *_: last.append(task.weights())
    with pytest.raises(DataError, match="not finite") as caught:
        one.run(keep_start=True)
    assert caught.value.where == "step 3 of 20"
    assert caught.value.got == f"nan for 1 of 8 rows by themselves, such as row {task.bad}"
    assert "learning_rate" in caught.value.hint
    assert len(last) == 2
    assert all(torch.equal(value, last[-1][name]) for name, value in task.weights().items())


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("at", [1, 7, 10, 19, 20])
def test_a_killed_training_goes_on_and_ends_with_the_same_bits(
    loop: Callable[..., Loop], tmp_path: Path, at: int, ema: float
) -> None:
    whole = Line()
    unbroken = loop(whole, ema=ema)
    unbroken.run(keep_start=True)

    def kill(done: int, total: int, note: str = "") -> None:
        if done == at:
            raise _Killed

    with pytest.raises(_Killed):
        loop(Line(), tmp_path / "work", kill, ema=ema).run(keep_start=True)
    again = Line()
    rest = loop(again, tmp_path / "work", ema=ema)
    rest.run(keep_start=True)
    # The checkpoint of a step is committed after it was told, so the step itself is done again.
    assert again.seen == whole.seen[at - 1 :]
    assert rest.report == unbroken.report
    assert all(torch.equal(value, whole.weights()[name]) for name, value in again.weights().items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish_and_saves_it(
    loop: Callable[..., Loop], tmp_path: Path, number: signal.Signals
) -> None:
    whole = Line()
    loop(whole).run(keep_start=True)
    task = Line()
    one = loop(task, tmp_path / "work", checkpoint_seconds=1000)
    step = task.loss

    def stop(number_of_set: int, rows: list[int]) -> Any:
        if len(task.seen) == 6:
            os.kill(os.getpid(), number)
        return step(number_of_set, rows)

    task.loss = stop
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            one.run(keep_start=True)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGINT) is interrupt
    assert len(task.seen) == 7  # the step in which the signal came is finished
    again = Line()
    loop(again, tmp_path / "work").run(keep_start=True)
    assert again.seen == whole.seen[7:]
    assert all(torch.equal(value, whole.weights()[name]) for name, value in again.weights().items())


def test_a_plan_is_a_function_of_rows_options_and_seed(make_options: Callable[..., TrainOptions]) -> None:
    sets = [RowSet(list(range(4, 84)), texts=2), RowSet([9] * 50, texts=2)]
    options = make_options(epochs=2.5)
    assert make_plan(sets, options, 3) == make_plan(sets, options, 3) != make_plan(sets, options, 4)
    once = make_plan(sets, make_options(), 3).batches
    assert make_plan(sets, options, 3).batches[: len(once)] == once
    assert len(make_plan(sets, make_options(epochs=0.5), 3).batches) == math.ceil(len(once) / 2)


def test_silence_is_a_progress() -> None:
    assert silent(1, 2, "note") is None


def test_the_rows_that_did_it_are_looked_for_in_the_precision_of_the_training(loop: Callable[..., Loop]) -> None:
    task = Line()
    one = loop(task, precision="bfloat16")
    task.bad, found, loss = one.plan.of_step(0)[0][1][0], [], task.loss

    def watched(number: int, rows: list[int]) -> StepLoss:
        found.append(torch.is_autocast_enabled("cpu"))
        return loss(number, rows)

    task.loss = watched
    with pytest.raises(DataError, match="not finite"):
        one.run(keep_start=True)
    assert found == [True] * 9  # the batch, and each of its rows
