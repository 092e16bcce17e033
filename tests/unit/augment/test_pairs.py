"""Candidate pairs: nearest neighbours and random ones, never a pair twice, known, or of a sentence with itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from munjang.augment.pairs import Candidate, mine, random_pairs, semantic_pairs, unique_candidates
from munjang.data.rows import pair_key
from munjang.errors import DataError


class Corpus(NamedTuple):
    sentences: list[str]
    vectors: np.ndarray


def corpus(count: int, seed: int, size: int = 8) -> Corpus:
    """Sentences without repetitions and vectors of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return Corpus([f"문장 {n}" for n in range(count)], vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@st.composite
def planted(draw: st.DrawFn) -> Corpus:
    """Distinct sentences some of which count as the same, among vectors on few directions, so that many are tied."""
    names = draw(st.lists(st.integers(0, 12), min_size=2, max_size=24))
    spellings = draw(st.lists(st.sampled_from(["a {}", "A {}", "a  {}", " a {}"]), min_size=24, max_size=24))
    sentences = dict.fromkeys(s.format(n) for s, n in zip(spellings, names, strict=False))
    directions = draw(st.lists(st.integers(0, 3), min_size=len(sentences), max_size=len(sentences)))
    return Corpus(list(sentences), np.eye(4, dtype=np.float32)[directions])


def keys(candidates: list[Candidate]) -> list[tuple[str, str]]:
    return [pair_key(c.sentence1, c.sentence2) for c in candidates]


def strings(candidates: list[Candidate]) -> list[tuple[str, ...]]:
    return [tuple(sorted((c.sentence1, c.sentence2))) for c in candidates]


# -- similar pairs


@given(planted(), st.integers(1, 8))
def test_neighbours_are_those_of_a_sort_without_the_sentence_itself(texts: Corpus, neighbours: int) -> None:
    scores = texts.vectors @ texts.vectors.T
    best: dict[tuple[str, ...], int] = {}
    for i, name in enumerate(texts.sentences):
        others = sorted((j for j in range(len(scores)) if j != i), key=lambda j: (-scores[i, j], j))
        for rank, j in enumerate(others[:neighbours], 1):
            pair = tuple(sorted((name, texts.sentences[j])))
            best[pair] = min(rank, best.get(pair, rank))
    found = semantic_pairs(*texts, neighbours)
    assert sorted(strings(found)) == sorted(best)
    assert {c.strategy for c in found} <= {"semantic"}
    position = {name: i for i, name in enumerate(texts.sentences)}
    for candidate in found:
        assert best[strings([candidate])[0]] <= candidate.rank <= neighbours
        assert candidate.cosine == scores[position[candidate.sentence1], position[candidate.sentence2]]


@example(Corpus(["가", "나", "다", "라"], np.eye(4, dtype=np.float32)[[0, 0, 0, 1]]), 2)
@given(planted(), st.integers(1, 8))
def test_the_nearest_of_every_sentence_come_first(texts: Corpus, neighbours: int) -> None:
    ranks = [c.rank for c in semantic_pairs(*texts, neighbours)]
    assert ranks == sorted(ranks)


def test_every_sentence_has_all_its_partners() -> None:
    texts = corpus(60, 1)
    found = semantic_pairs(*texts, 4)
    partners = {name: 0 for name in texts.sentences}
    for candidate in found:
        partners[candidate.sentence1] += 1
        partners[candidate.sentence2] += 1
    assert min(partners.values()) >= 4
    assert 60 * 4 / 2 <= len(found) <= 60 * 4


def test_more_neighbours_than_sentences_are_all_pairs() -> None:
    assert len(semantic_pairs(*corpus(7, 2), 100)) == 21
    assert semantic_pairs(*corpus(1, 2), 3) == []


# -- random pairs


@given(count=st.integers(0, 80), n=st.integers(0, 12), seed=st.integers(0, 2**32 - 1))
def test_random_pairs_are_distinct_and_as_many_as_asked_for(count: int, n: int, seed: int) -> None:
    texts = corpus(n, 3)
    found = random_pairs(*texts, count, seed)
    assert len(found) == min(count, n * (n - 1) // 2)
    assert len(set(strings(found))) == len(found)
    assert all(c.sentence1 != c.sentence2 for c in found)
    assert found == random_pairs(*texts, count, seed)
    position = {name: i for i, name in enumerate(texts.sentences)}
    for candidate in found:
        own = texts.vectors[position[candidate.sentence1]] @ texts.vectors[position[candidate.sentence2]]
        assert (candidate.strategy, candidate.rank) == ("random", 0)
        assert candidate.cosine == pytest.approx(float(own), abs=1e-6)


def test_random_pairs_differ_by_seed_and_reach_every_pair_about_as_often() -> None:
    texts = corpus(6, 4)
    assert random_pairs(*texts, 5, 1) != random_pairs(*texts, 5, 2)
    counts: dict[tuple[str, ...], int] = {}
    for seed in range(900):
        for pair in strings(random_pairs(*texts, 3, seed)):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 15
    assert 120 < min(counts.values()) <= max(counts.values()) < 240  # 180 each, with a deviation of 12


# -- what is left out


def candidate(one: str, other: str, strategy: str = "semantic") -> Candidate:
    return Candidate(one, other, strategy, 1, 0.5)


def test_the_first_of_equal_pairs_stays() -> None:
    first, turned, known = candidate("가", "나"), candidate("나 ", "가", "random"), candidate("다", "라")
    same, last = candidate("ABC", "abc"), candidate("가", "다")
    assert unique_candidates([first, turned, known, same, first, last], {pair_key("라", "다")}) == [first, last]


def test_the_known_pairs_are_not_added_to() -> None:
    known = {pair_key("가", "나")}
    unique_candidates([candidate("다", "라")], known)
    assert known == {pair_key("가", "나")}


@given(
    texts=planted(),
    neighbours=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.5, 1.0, 10.0]),
    most=st.none() | st.integers(1, 30),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_mined_pairs_are_new_distinct_and_reproducible(
    texts: Corpus, neighbours: int, share: float, most: int | None, seed: int, data: st.DataObject
) -> None:
    everything = [pair_key(a, b) for a in texts.sentences for b in texts.sentences]
    known = set(data.draw(st.lists(st.sampled_from(everything), max_size=10)))
    settings = {"neighbours": neighbours, "random_share": share, "max_pairs": most, "seed": seed}
    try:
        found = mine(*texts, known, **settings)
    except DataError:
        assert unique_candidates(semantic_pairs(*texts, neighbours), known) == []
        return
    for strategy in ("semantic", "random"):
        part = keys([c for c in found if c.strategy == strategy])
        assert known.isdisjoint(part)
        assert all(first != second for first, second in part)
    assert len(set(keys(found))) == len(found)
    assert most is None or len(found) <= most
    assert found == mine(*texts, known, **settings)


# -- counts


def test_random_pairs_come_in_proportion() -> None:
    texts = corpus(400, 5)
    similar = semantic_pairs(*texts, 3)
    found = mine(*texts, set(), neighbours=3, random_share=0.5, max_pairs=None, seed=1)
    drawn = [c for c in found if c.strategy == "random"]
    assert found[: len(similar)] == similar
    assert len(found) == len(similar) + len(drawn)
    # A few of those drawn are similar pairs as well, and come as such.
    assert 0.97 * len(similar) / 2 <= len(drawn) <= round(len(similar) / 2)
    none = mine(*texts, set(), neighbours=3, random_share=0, max_pairs=None, seed=1)
    assert none == similar


def test_a_limit_draws_from_all_pairs_and_keeps_their_order() -> None:
    texts = corpus(100, 6)
    settings = {"neighbours": 3, "random_share": 1.0}
    everything = mine(*texts, set(), **settings, max_pairs=None, seed=1)
    found = mine(*texts, set(), **settings, max_pairs=50, seed=1)
    assert len(found) == 50
    places = [everything.index(c) for c in found]
    assert places == sorted(places)
    assert {c.strategy for c in found} == {"semantic", "random"}
    assert found != mine(*texts, set(), **settings, max_pairs=50, seed=2)
    assert mine(*texts, set(), **settings, max_pairs=10**6, seed=1) == everything


@pytest.mark.parametrize("sentences", [[], ["하나"], ["Hello", "hello ", "HELLO"]])
def test_fewer_than_two_sentences_are_refused(sentences: list[str]) -> None:
    vectors = np.eye(max(len(sentences), 1), 4, dtype=np.float32)[: len(sentences)]
    with pytest.raises(DataError, match="at least two distinct"):
        mine(sentences, vectors, set(), neighbours=3, random_share=1, max_pairs=None, seed=1)


def test_nothing_left_is_an_error_and_not_an_empty_file() -> None:
    texts = corpus(3, 7)
    known = {pair_key(a, b) for a in texts.sentences for b in texts.sentences}
    with pytest.raises(DataError, match="no candidate pairs were left"):
        mine(*texts, known, neighbours=3, random_share=1, max_pairs=None, seed=1)
