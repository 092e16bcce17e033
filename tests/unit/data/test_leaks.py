"""Leakage at the size of a corpus is what two loops over all pairs would find, whatever the blocks."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.config.recipe import DataSpec
from munjang.data import leaks
from munjang.data.leaks import NEAR, SHORTEST, NearIndex, Watch, near_repetitions
from munjang.data.load import load_rows
from munjang.data.rows import sentences_of
from munjang.text import match_key

#: Few characters, so that drawn texts are alike; two that no comparison counts, and one beyond sixteen bits.
texts = st.lists(st.text("가나ab .𝟘", max_size=9), max_size=12)
thresholds = st.sampled_from([0.3, 0.5, NEAR, 1.0])


def grams(text: str) -> set[str]:
    letters = "".join(c for c in match_key(text) if c.isalnum())
    marked = f"\0{letters}\0"
    return {marked[i : i + 3] for i in range(len(letters))}


def jaccard(one: str, other: str) -> float:
    left, right = grams(one), grams(other)
    return len(left & right) / len(left | right) if left and right else 0.0


@given(texts, texts, thresholds)
def test_near_matches_are_those_of_two_loops(known: list[str], asked: list[str], threshold: float) -> None:
    found = NearIndex([match_key(t) for t in known], threshold, shortest=1).matches([match_key(t) for t in asked])
    pairs = zip(found.text.tolist(), found.known.tolist(), found.similarity.tolist(), strict=True)
    every = [(i, j, jaccard(a, k)) for i, a in enumerate(asked) for j, k in enumerate(known)]
    expected = [(i, j, np.float32(similarity)) for i, j, similarity in every if similarity >= threshold - 1e-9]
    assert sorted(pairs) == expected


@given(texts, texts, thresholds)
def test_the_overlap_is_that_of_two_loops(watched: list[str], stream: list[str], threshold: float) -> None:
    found = Watch(watched, threshold, shortest=1).compare(iter(stream))
    keys = {match_key(text) for text in watched}
    for place, text in enumerate(watched):
        same = [i for i, other in enumerate(stream) if match_key(other) == match_key(text)]
        near = [(-np.float32(jaccard(text, other)), i) for i, other in enumerate(stream)]
        near = [n for n in near if -n[0] >= threshold - 1e-9]
        best = (1.0, same[0]) if same else (-min(near)[0], min(near)[1]) if near else (0.0, -1)
        assert bool(found.exact[place]) == bool(same)
        assert (found.similarity[place], found.place[place]) == best
        assert found.found[place] == (stream[best[1]] if best[1] >= 0 else "")
    same = [text for text in stream if match_key(text) in keys]
    near = [t for t in stream if match_key(t) not in keys and any(jaccard(t, w) >= threshold - 1e-9 for w in watched)]
    assert (found.texts, found.same, found.near) == (len(stream), len(same), len(near))


@given(texts, thresholds)
def test_near_repetitions_are_those_of_two_loops(some: list[str], threshold: float) -> None:
    first = {key: i for i, key in reversed(list(enumerate(map(match_key, some))))}
    places = sorted(first.values())
    expected = []
    for place in places:
        earlier = [(-jaccard(some[place], some[i]), i) for i in places if i < place]
        near = [e for e in earlier if -e[0] >= threshold - 1e-9]
        if near:
            expected.append((place, min(near)[1], pytest.approx(-min(near)[0])))
    assert near_repetitions(some, threshold, shortest=1) == expected


@pytest.mark.parametrize(("block", "candidates"), [(1, 1), (40, 3), (200, 50)])
def test_the_size_of_blocks_changes_nothing(block: int, candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(3)
    words = ["환불", "배송", "주문", "취소", "언제", "어디서", "하나요", "되나요"]
    some = [" ".join(draw.choices(words, k=5)) for _ in range(300)]
    whole = Watch(some[:100], 0.5).compare(some[100:])
    repeated = near_repetitions(some, 0.5)
    monkeypatch.setattr(leaks, "_BLOCK", block)
    monkeypatch.setattr(leaks, "_CANDIDATES", candidates)
    parts = Watch(some[:100], 0.5).compare(some[100:])
    assert np.array_equal(parts.similarity, whole.similarity)
    assert np.array_equal(parts.place, whole.place)
    assert (parts.found, parts.same, parts.near) == (whole.found, whole.same, whole.near)
    assert near_repetitions(some, 0.5) == repeated
    assert whole.near > 20


def test_what_only_looks_different_is_nearly_the_same() -> None:
    watched = ["동성결혼 합법화에 대한 표결", "환불은 며칠이나 걸리나요?", "...", "ABC"]
    found = Watch(watched).compare(["동성 결혼 합법화에 대한 표결.", "환불은 며칠이나 걸리나요", "!!!", "abc"])
    assert found.exact.tolist() == [False, False, False, True]
    assert found.similarity.tolist() == [1.0, 1.0, 0.0, 1.0]
    assert (found.same, found.near) == (1, 2)


def test_short_texts_are_compared_exactly_only() -> None:
    long, short = "가나다라마바사아자차카타", "가나다라마바사아"
    assert len(short) < SHORTEST < len(long)
    found = Watch([long, short]).compare([f"{long}!", f"{short}!", f"{long}파"])
    assert found.similarity.tolist() == [1.0, 0.0]
    assert near_repetitions([short, f"{short}!", long, f"{long}!"]) == [(3, 2, 1.0)]


def test_without_a_threshold_only_the_same_is_found() -> None:
    found = Watch(["환불은 며칠 걸리나요?", "가"], None).compare(["환불은 며칠 걸리나요", "가", "가"])
    assert found.exact.tolist() == [False, True]
    assert (found.same, found.near) == (2, 0)


def test_every_edited_test_sentence_is_found(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    test, train = (
        sentences_of(load_rows(DataSpec(source=f"korsts:{split}"), ("scored-pairs",), real_data).rows)
        for split in ("test", "train")
    )
    test = list(dict.fromkeys(test))
    draw = random.Random(5)
    planted = {}
    for place in draw.sample([i for i, t in enumerate(test) if len(t) > 30], 200):
        at = draw.randrange(len(test[place]) - 1)
        planted[place] = test[place][:at] + "빨" + test[place][at + 1 :]
    found = Watch(test).compare([*train, *planted.values()])
    missed = [test[i] for i, text in planted.items() if found.similarity[i] < NEAR and jaccard(test[i], text) >= NEAR]
    caught = sum(found.similarity[i] >= NEAR for i in planted)
    print(f"{caught} of 200 test sentences with one letter changed were found among {found.texts:,}")
    assert missed == []
    assert caught >= 190
    assert Watch(test, None).compare(train).exact.sum() == 153
