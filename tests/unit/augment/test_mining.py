"""Mining as a whole: whatever the strategies find, nothing that is known comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from munjang.augment.mining import Corpus, mine
from munjang.data.rows import pair_key
from munjang.errors import DataError

STRATEGIES = ("random", "kde", "bm25", "semantic")
WORDS = ("환불", "배송", "예약", "결제", "문의")


def corpus(count: int, seed: int = 1) -> Corpus:
    """Sentences without repetitions that share words, vectors of length 1, and a teacher that reads the vectors."""
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sentences = [f"{WORDS[n % 5]} {WORDS[n // 5 % 5]} 문장 {n}" for n in range(count)]

    def score(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.clip(np.einsum("ij,ij->i", vectors[first], vectors[second]), 0, 1)

    return Corpus(sentences, vectors, score, draw.random(50))


def keys(texts: Corpus, mined: Any) -> list[tuple[str, str]]:
    both = zip(mined.pairs.first, mined.pairs.second, strict=True)
    return [pair_key(texts.sentences[i], texts.sentences[j]) for i, j in both]


@pytest.mark.parametrize("strategy", [*STRATEGIES, "all"])
def test_no_strategy_gives_a_known_a_reversed_or_an_identical_pair(strategy: str) -> None:
    texts = corpus(40)
    chosen = {name: 1.0 for name in STRATEGIES} if strategy == "all" else {strategy: 1.0}
    # What each strategy likes best is what is known.
    known = set(keys(texts, mine(texts, set(), chosen, neighbours=3, seed=1))[::2])
    found = keys(texts, mine(texts, known, chosen, neighbours=3, seed=1))
    assert known
    assert known.isdisjoint(found)
    assert len(set(found)) == len(found)
    assert all(a != b for a, b in found)


@settings(max_examples=30)
@given(
    chosen=st.dictionaries(st.sampled_from(STRATEGIES), st.sampled_from([0.5, 1.0, 3.0]), min_size=1),
    most=st.none() | st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_mined_pairs_are_distinct_bounded_and_reproducible(
    chosen: dict[str, float], most: int | None, seed: int
) -> None:
    texts = corpus(20, seed)
    known = {pair_key(texts.sentences[0], text) for text in texts.sentences}
    options = {"neighbours": 2, "max_pairs": most, "seed": seed}
    found = mine(texts, known, chosen, **options)
    assert set(found.names) == set(chosen)
    assert known.isdisjoint(keys(texts, found))
    assert len(set(keys(texts, found))) == len(found.pairs.first)
    assert most is None or len(found.pairs.first) <= most
    assert keys(texts, found) == keys(texts, mine(texts, known, chosen, **options))


def test_shares_divide_the_pairs() -> None:
    found = mine(corpus(200), set(), {"semantic": 1, "random": 1, "bm25": 2}, neighbours=3, max_pairs=101, seed=1)
    assert sum(found.counts.values()) == 101
    assert found.counts["bm25"] in (50, 51)
    assert found.counts["semantic"] in (25, 26)


def test_without_a_limit_random_pairs_come_in_proportion_to_what_was_found() -> None:
    found = mine(corpus(200), set(), {"semantic": 1, "random": 0.5}, neighbours=3, seed=1)
    assert found.counts["random"] == round(found.counts["semantic"] / 2)
    assert np.isnan(found.pairs.score[found.strategy == found.names.index("random")]).all()


def test_a_limit_keeps_all_ranks() -> None:
    found = mine(corpus(200), set(), {"semantic": 1}, neighbours=5, max_pairs=100, seed=1)
    assert set(found.pairs.rank.tolist()) == {1, 2, 3, 4, 5}


def test_a_pair_of_two_strategies_comes_once() -> None:
    texts = corpus(30)
    both = mine(texts, set(), {"semantic": 1, "bm25": 1}, neighbours=29, seed=1)
    assert both.counts == {"semantic": 30 * 29 // 2, "bm25": 0}


@pytest.mark.parametrize("sentences", [[], ["하나"], ["Hello", "hello ", "HELLO"]])
def test_fewer_than_two_sentences_are_refused(sentences: list[str]) -> None:
    with pytest.raises(DataError, match="at least two distinct"):
        mine(Corpus(sentences), set(), {"random": 1}, neighbours=3)


def test_nothing_left_is_an_error_and_not_an_empty_file() -> None:
    texts = corpus(3)
    known = {pair_key(a, b) for a in texts.sentences for b in texts.sentences}
    with pytest.raises(DataError, match="no candidate pairs were left"):
        mine(texts, known, {"semantic": 1, "random": 1}, neighbours=3)


@pytest.mark.parametrize(("gold", "said"), [([0.4], "1 pairs"), ([0.4] * 9, "all with a score of 0.4")])
def test_kde_refuses_gold_without_a_spread(gold: list[float], said: str) -> None:
    texts = corpus(30)
    with pytest.raises(DataError, match=said):
        mine(Corpus(texts.sentences, texts.vectors, texts.score, np.array(gold)), set(), {"kde": 1}, neighbours=3)
