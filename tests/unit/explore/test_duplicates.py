"""Duplicates: groups are those of comparing all with all."""

from __future__ import annotations

from typing import Any

import networkx
import numpy as np
import pytest

from munjang.engine.encoder import normalise
from munjang.errors import ConfigError
from munjang.explore import duplicates
from munjang.explore.duplicates import find_duplicates

TEXTS = [
    "비밀번호를 잊어버렸는데 어떻게 찾을 수 있나요?",
    "환불은 언제 되나요?",
    "비밀번호를 잊어버렸는데요 어떻게 찾을 수 있나요?",
    "돈은 언제 돌려받나요?",
    "배송이 늦어요",
]
#: 1 and 3 mean the same.
VECTORS = normalise(np.array([[1, 0, 0], [0, 1, 0.1], [1, 0.2, 0], [0, 1, 0], [0, 0, 1]], np.float32))


def test_letters_and_vectors_join_each_what_the_other_does_not() -> None:
    by_letters = find_duplicates(TEXTS, near=0.7)
    assert (by_letters.representative.tolist(), by_letters.cosine) == ([0, 1, 0, 3, 4], None)
    by_vectors = find_duplicates(TEXTS, VECTORS, threshold=0.99, near=None)
    assert by_vectors.representative.tolist() == [0, 1, 2, 1, 4]
    both = find_duplicates(TEXTS, VECTORS, threshold=0.99, near=0.7)
    assert (both.representative.tolist(), both.near, both.similar) == ([0, 1, 0, 1, 4], 1, 1)
    assert both.cosine is not None
    assert both.cosine.tolist() == pytest.approx(
        [1, 1, float(VECTORS[0] @ VECTORS[2]), float(VECTORS[1] @ VECTORS[3]), 1]
    )


def test_the_longest_may_stand_for_its_group() -> None:
    found = find_duplicates(TEXTS, VECTORS, threshold=0.99, near=0.7, keep="longest")
    assert found.representative.tolist() == [2, 3, 2, 3, 4]


@pytest.mark.parametrize("together", [1, 50, 1 << 20])
def test_groups_are_connected_components(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_TOGETHER", together)
    vectors = normalise(np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32))
    found = find_duplicates([str(i) for i in range(300)], vectors, threshold=0.95, near=None)
    graph = networkx.from_numpy_array(vectors.astype(np.float64) @ vectors.T.astype(np.float64) >= 0.95)
    expected = sorted(sorted(group) for group in networkx.connected_components(graph))
    groups: dict[int, list[int]] = {}
    for place, of in enumerate(found.representative.tolist()):
        groups.setdefault(of, []).append(place)
    assert sorted(groups.values()) == expected
    assert 1 < len(expected) < 300
    assert all(of == members[0] for of, members in groups.items())


@pytest.mark.parametrize("together", [1, 1 << 20])
def test_what_is_not_verified_joins_nothing(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_TOGETHER", together)
    seen: list[tuple[str, str]] = []

    def verify(pairs: list[tuple[str, str]]) -> np.ndarray:
        seen.extend(pairs)
        return np.array([0.9 if "비밀번호" in one else 0.1 for one, _ in pairs])

    found = find_duplicates(TEXTS, VECTORS, threshold=0.9, verify=verify)
    assert found.representative.tolist() == [0, 1, 0, 3, 4]
    assert (found.verified, found.refused) == (2, 1)
    assert seen == [(TEXTS[0], TEXTS[2]), (TEXTS[1], TEXTS[3])]


def test_equal_vectors_are_one_group_and_one_text_is_itself() -> None:
    same = np.repeat(VECTORS[:1], 500, axis=0)
    assert set(find_duplicates([f"문장 {i}" for i in range(500)], same, near=None).representative.tolist()) == {0}
    assert find_duplicates(["하나"], VECTORS[:1]).representative.tolist() == [0]
    assert find_duplicates([], np.zeros((0, 3), np.float32)).representative.tolist() == []


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"threshold": 1.1}, {"near": float("nan")}, {"keep": "best"}])
def test_what_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no such"):
        find_duplicates(TEXTS, VECTORS, **wrong)
