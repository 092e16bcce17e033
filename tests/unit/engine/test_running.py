"""Batches, threads and memory: every input is computed once and lands in its place, whatever goes wrong beside it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from munjang.engine import features, running
from munjang.engine.encoder import Encoder
from munjang.engine.features import Features, count_tokens
from munjang.engine.running import NonFiniteError, run_inputs
from munjang.engine.workers import run_batches
from munjang.errors import MunjangError
from munjang.text import MAX_CHARS, readable


class Doubles:
    """A backend that doubles numbers; its inputs are as long as they are large."""

    name, outputs = "doubles", 1

    def __init__(self, threads: int = 1, budget: int = 10, room: int = 10**9) -> None:
        self.threads, self.budget, self.room = threads, budget, room
        self.sizes: list[int] = []

    def read(self, inputs, prompt=""):
        return SimpleNamespace(values=list(inputs), lengths=list(inputs), truncated=np.array([n > 7 for n in inputs]))

    def run(self, read, positions):
        self.sizes.append(len(positions))
        if sum(read.values[i] for i in positions) > self.room:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return np.array([[2.0 * read.values[i]] for i in positions], np.float32)


@given(st.lists(st.integers(1, 12), max_size=60), st.integers(1, 3), st.integers(1, 40))
def test_each_input_is_computed_once_and_lands_in_its_place(inputs: list[int], threads: int, budget: int) -> None:
    backend = Doubles(threads, budget)
    ran = run_inputs(backend, inputs)
    assert ran.outputs[:, 0].tolist() == [2.0 * n for n in inputs]
    assert ran.truncated.tolist() == [n > 7 for n in inputs]
    assert (ran.tokens, sum(backend.sizes)) == (sum(inputs), len(inputs))


def test_parts_of_a_long_list_are_the_same_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_PART", 7)
    inputs, seen = list(range(1, 40)), []
    ran = run_inputs(Doubles(), inputs, progress=lambda done, total, note="": seen.append((done, total, note)))
    assert ran.outputs[:, 0].tolist() == [2.0 * n for n in inputs]
    assert seen[-1][:2] == (39, 39)
    assert seen[-1][2].endswith("tokens/s")


def test_a_batch_that_memory_does_not_hold_is_halved() -> None:
    backend = Doubles(budget=64, room=16)
    assert run_inputs(backend, [8] * 8).outputs[:, 0].tolist() == [16.0] * 8
    assert backend.sizes[0] == 8
    assert 2 in backend.sizes


def test_an_input_that_memory_does_not_hold_is_named() -> None:
    with pytest.raises(MunjangError) as caught:
        run_inputs(Doubles(room=5), [3, 9])
    assert caught.value.got == "9 tokens"


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    class Broken(Doubles):
        def run(self, read, positions):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        run_inputs(Broken(threads=2, budget=1), [1, 2, 3])


def test_numbers_that_are_not_finite_go_no_further() -> None:
    class Overflowing(Doubles):
        def run(self, read, positions):
            return np.full((len(positions), 1), np.inf, np.float32)

    with pytest.raises(NonFiniteError):
        run_inputs(Overflowing(), [1])


def test_threads_own_batches_and_leave_torch_as_it_was() -> None:
    before, inside, names = torch.get_num_threads(), set(), set()

    def work(batch: int) -> int:
        inside.add(torch.get_num_threads())
        names.add(threading.current_thread().name)
        return batch + 1

    assert sorted(run_batches(range(50), work, 2)) == [(n, n + 1) for n in range(50)]
    assert inside == {1}
    assert threading.current_thread().name not in names
    assert torch.get_num_threads() == before


def test_an_interrupted_caller_stops_the_threads() -> None:
    done: list[int] = []
    results = run_batches(range(1000), lambda n: done.append(n) or n, 2)
    next(results)
    results.close()
    assert len(done) < 1000
    assert not any(thread.name.startswith("munjang-engine") for thread in threading.enumerate())


# -- what the model reads


TEXTS = ["환불은 언제 되나요?", "  두  칸 ", "길다 " * 300, "네"]


@pytest.mark.parametrize("prompt", ["", "질문: "])
def test_the_tokenizer_alone_reads_as_the_model_does(
    tiny_bi: Path, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    assert features._direct_is_proven(model, False, prompt)
    direct = Features(model, TEXTS, prompt)
    monkeypatch.setattr(features, "_direct_is_proven", lambda *_: False)
    plain = Features(model, TEXTS, prompt)
    for name in plain.columns:
        assert [row.tolist() for row in direct.columns[name]] == [row.tolist() for row in plain.columns[name]]
    assert direct.truncated.tolist() == plain.truncated.tolist() == [False, False, True, False]
    assert direct.extra.keys() == plain.extra.keys()
    assert {k: v for k, v in direct.extra.items() if k == "prompt_length"} == {
        k: v for k, v in plain.extra.items() if k == "prompt_length"
    }


def test_a_model_that_reads_otherwise_is_read_through_its_own_code(tiny_bi: Path) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    model[0].processing_kwargs = {"text": {"max_length": 9}}
    assert not features._direct_is_proven(model, False, "")
    assert max(Features(model, TEXTS).lengths) == 9


def test_a_text_at_the_limit_is_not_called_truncated(tiny_bi: Path) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    words = next(n for n in range(200) if count_tokens(model, ["가 " * n])[0] == model.max_seq_length)
    assert Features(model, ["가 " * words, "가 " * (words + 1)]).truncated.tolist() == [False, True]


def test_composed_and_decomposed_hangul_have_one_vector(tiny_bi: Path) -> None:
    encoder = Encoder(tiny_bi)
    both = encoder.encode(["환불", "\u1112\u116a\u11ab\u1107\u116e\u11af"])
    assert np.array_equal(both[0], both[1])
    assert encoder.counts.repaired == 1


def test_a_lone_surrogate_and_a_million_characters_are_read(tiny_bi: Path) -> None:
    encoder = Encoder(tiny_bi)
    vectors = encoder.encode(["환불\ud800", "가 " * 500_000, "a" * 1_000_000])
    assert np.isfinite(vectors).all()
    assert encoder.counts.repaired == 3
    assert encoder.counts.truncated >= 1


@given(st.text(max_size=40))
def test_readable_touches_nothing_but_form_and_surrogates(text: str) -> None:
    import unicodedata

    assert readable(text) == unicodedata.normalize("NFC", text)
    assert len(readable(text * 2000)) <= MAX_CHARS
