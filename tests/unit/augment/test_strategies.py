"""The sampling strategies, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.augment.candidates import Candidates, code_of
from munjang.augment.strategies import (
    bm25_pairs,
    density,
    draw_like,
    kde_pairs,
    keep_like,
    neighbour_pairs,
    random_pairs,
    semantic_pairs,
)
from munjang.engine.topk import Neighbours

NOTHING = np.empty(0, np.int64)


def unit_vectors(count: int, seed: int, size: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def as_set(pairs: Candidates) -> set[tuple[int, int]]:
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@st.composite
def on_few_directions(draw: st.DrawFn) -> np.ndarray:
    """Vectors many of which are tied."""
    return np.eye(4, dtype=np.float32)[draw(st.lists(st.integers(0, 3), min_size=2, max_size=24))]


# -- semantic


@given(on_few_directions(), st.integers(1, 8))
def test_neighbours_are_those_of_a_sort_without_the_sentence_itself(vectors: np.ndarray, neighbours: int) -> None:
    scores = vectors @ vectors.T
    best: dict[tuple[int, int], int] = {}
    for i in range(len(vectors)):
        others = sorted((j for j in range(len(vectors)) if j != i), key=lambda j: (-scores[i, j], j))
        for rank, j in enumerate(others[:neighbours], 1):
            pair = (min(i, j), max(i, j))
            best[pair] = min(rank, best.get(pair, rank))
    found = semantic_pairs(vectors, neighbours)
    ranks = dict(zip(zip(found.first.tolist(), found.second.tolist(), strict=True), found.rank.tolist(), strict=True))
    assert ranks == best
    assert found.rank.tolist() == sorted(found.rank.tolist())
    assert np.allclose(found.score, scores[found.first, found.second])


def test_every_sentence_has_all_its_partners() -> None:
    found = semantic_pairs(unit_vectors(60, 1), 4)
    partners = np.bincount(np.concatenate([found.first, found.second]), minlength=60)
    assert partners.min() >= 4
    assert 60 * 4 / 2 <= len(found.first) <= 60 * 4


def test_more_neighbours_than_sentences_are_all_pairs() -> None:
    assert len(semantic_pairs(unit_vectors(7, 2), 100).first) == 21
    assert len(semantic_pairs(unit_vectors(1, 2), 3).first) == 0


def test_places_without_a_neighbour_are_no_pairs() -> None:
    found = Neighbours(np.array([[1, -1], [0, -1], [-1, -1]]), np.array([[2.0, 0], [2, 0], [0, 0]], np.float32))
    assert as_set(neighbour_pairs(found)) == {(0, 1)}


# -- bm25


def test_words_make_neighbours_and_a_sentence_takes_no_place_of_its_own() -> None:
    sentences = [
        "환불 규정을 알려 주세요",
        "환불 규정이 궁금합니다",
        "배송은 언제 오나요",
        "배송이 늦어요",
        "안녕하세요",
    ]
    found = bm25_pairs(sentences, 1)
    assert {(0, 1), (2, 3)} <= as_set(found)
    assert (found.first < found.second).all()
    assert (found.score > 0).all()


# -- random


@given(count=st.integers(0, 80), n=st.integers(0, 12), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_random_pairs_are_distinct_new_and_as_many_as_asked_for(
    count: int, n: int, seed: int, data: st.DataObject
) -> None:
    everything = [i * n + j for i in range(n) for j in range(i + 1, n)]
    drawn = data.draw(st.sets(st.sampled_from(everything)) if everything else st.just(set()))
    taken = np.array(sorted(drawn), np.int64)
    found = random_pairs(n, count, seed, taken)
    codes = code_of(found.first, found.second, n)
    assert len(codes) == len(set(codes.tolist())) == min(count, len(everything) - len(taken))
    assert (found.first < found.second).all()
    assert set(codes.tolist()).isdisjoint(taken.tolist())
    assert codes.tolist() == code_of(*random_pairs(n, count, seed, taken).columns[:2], n).tolist()
    assert np.isnan(found.score).all()


def test_random_pairs_differ_by_seed_and_reach_every_pair_about_as_often() -> None:
    assert as_set(random_pairs(6, 5, 1, NOTHING)) != as_set(random_pairs(6, 5, 2, NOTHING))
    counts: dict[tuple[int, int], int] = {}
    for seed in range(900):
        for pair in as_set(random_pairs(6, 3, seed, NOTHING)):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 15
    assert 120 < min(counts.values()) <= max(counts.values()) < 240  # 180 each, with a deviation of 12


# -- the spread of scores


@pytest.mark.parametrize("seed", range(3))
def test_a_density_has_a_mass_of_one_also_where_scores_lie_at_the_ends(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = np.concatenate([np.zeros(200), np.ones(100), draw.random(300)])
    values = density(scores, np.linspace(0, 1, 2001))
    assert (values[:-1] + values[1:]).sum() / 4000 == pytest.approx(1, abs=0.02)


def skewed(count: int, seed: int) -> np.ndarray:
    """Scores as random pairs have them: nearly all low."""
    return np.random.default_rng(seed).beta(0.6, 6, count)


GOLD = np.random.default_rng(9).random(400)


def test_drawn_scores_are_spread_as_gold_is() -> None:
    pool = np.concatenate([skewed(4000, 1), np.random.default_rng(2).random(1000)])
    chosen = draw_like(pool, GOLD, 400, seed=3)
    assert len(chosen) == len(set(chosen.tolist())) == 400
    before, after = (np.histogram(s, 5, (0, 1))[0] / len(s) for s in (pool, pool[chosen]))
    assert before[0] > 0.6
    assert np.abs(after - 0.2).max() < 0.08
    assert chosen.tolist() == draw_like(pool, GOLD, 400, seed=3).tolist()
    assert draw_like(pool[:10], GOLD, 400, seed=3).tolist() == list(range(10))


def test_kept_scores_come_nearer_to_gold_and_rare_ones_all_stay() -> None:
    pool = np.concatenate([skewed(2000, 1), np.random.default_rng(2).random(400)])
    stays = keep_like(pool, GOLD, seed=3)
    before, after = (np.histogram(s, 5, (0, 1))[0] / len(s) for s in (pool, pool[stays]))
    assert np.abs(after - 0.2).sum() < 0.75 * np.abs(before - 0.2).sum()
    assert stays[pool > 0.7].all()


def test_kde_pairs_follow_gold_where_random_ones_are_nearly_all_unrelated() -> None:
    vectors = unit_vectors(300, 4, size=6)

    def score(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.clip(np.einsum("ij,ij->i", vectors[first], vectors[second]), 0, 1)

    taken = np.array([0 * 300 + 1, 2 * 300 + 3])
    found = kde_pairs(vectors, 200, GOLD, score, pool=20, seed=1, taken=taken)
    assert len(found.first) == 200
    assert (found.first < found.second).all()
    assert set(code_of(found.first, found.second, 300).tolist()).isdisjoint(taken.tolist())
    assert np.allclose(found.score, score(found.first, found.second), atol=1e-6)
    drawn = random_pairs(300, 200, 1, NOTHING)
    assert abs(found.score.mean() - 0.5) < 0.1
    assert score(drawn.first, drawn.second).mean() < 0.25
    again = kde_pairs(vectors, 200, GOLD, score, pool=20, seed=1, taken=taken)
    assert as_set(found) == as_set(again)
