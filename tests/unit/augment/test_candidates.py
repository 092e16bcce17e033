"""Candidate pairs as columns: each once in either order, none known, none of a sentence with itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from munjang.augment.candidates import (
    Candidates,
    code_of,
    is_in,
    joined,
    known_codes,
    no_candidates,
    unique_candidates,
)
from munjang.data.rows import pair_key

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


def columns(pairs: list[tuple[int, int]]) -> Candidates:
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return Candidates(
        both[:, 0], both[:, 1], np.arange(len(pairs), dtype=np.int32), np.linspace(1, 0, len(pairs), dtype=np.float32)
    )


@given(PAIRS, PAIRS)
def test_the_first_of_equal_pairs_stays_and_what_is_taken_goes(
    pairs: list[tuple[int, int]], taken: list[tuple[int, int]]
) -> None:
    seen, expected = {frozenset(pair) for pair in taken}, []
    for number, pair in enumerate(pairs):
        if frozenset(pair) not in seen and pair[0] != pair[1]:
            seen.add(frozenset(pair))
            expected.append(number)
    known = columns(taken)
    codes = np.unique(code_of(known.first, known.second, 7))
    assert unique_candidates(columns(pairs), 7, codes).rank.tolist() == expected


def test_known_pairs_are_found_by_what_counts_as_the_same_sentence() -> None:
    sentences = ["가 나", "다라", "ABC"]
    known = {pair_key("abc", "가  나"), pair_key("다라", "없는 문장")}
    assert known_codes(sentences, known).tolist() == [0 * 3 + 2]
    assert known_codes(sentences, set()).tolist() == []


@given(st.lists(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_membership(codes: list[int], taken: set[int]) -> None:
    found = is_in(np.array(codes, np.int64), np.array(sorted(taken), np.int64))
    assert found.tolist() == [code in taken for code in codes]


def test_strategies_stand_behind_each_other_with_their_names() -> None:
    mined = joined({"semantic": columns([(0, 1), (1, 2)]), "bm25": no_candidates(), "random": columns([(0, 2)])})
    assert mined.counts == {"semantic": 2, "bm25": 0, "random": 1}
    assert mined.pairs.first.tolist() == [0, 1, 0]
    assert [mined.names[i] for i in mined.strategy] == ["semantic", "semantic", "random"]
