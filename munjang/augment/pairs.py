"""Candidate pairs for silver labels: unordered, unique, never a pair that is known, never a sentence with itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from munjang.data.rows import pair_key
from munjang.engine.topk import top_k
from munjang.errors import DataError
from munjang.text import match_key


class Candidate(NamedTuple):
    """A pair that has no score yet, and where it comes from."""

    sentence1: str
    sentence2: str
    strategy: str
    rank: int
    """Place among the neighbours of `sentence1` from 1; 0 for a random pair."""
    cosine: float


def semantic_pairs(sentences: list[str], vectors: np.ndarray, neighbours: int) -> list[Candidate]:
    """Each sentence with its most similar ones (Augmented SBERT's semantic search, Thakur et al. 2021, arXiv 2010.08240).

    A sentence never takes one of its own places: neighbours are counted without it.

    Args:
        sentences: distinct. vectors: float32 (n, d), rows of length 1.
        neighbours: partners a sentence.

    Returns:
        Candidates by rank, then by position: a cut keeps the nearest. A pair found from both sides comes once.
    """
    found = top_k(vectors, vectors, neighbours + 1)
    ranks = np.zeros(len(sentences), np.int64)
    unique: dict[tuple[int, int], Candidate] = {}
    for column in range(found.positions.shape[1]):
        for i, j in enumerate(found.positions[:, column]):
            if i == j or ranks[i] >= neighbours:
                continue
            ranks[i] += 1
            pair = (min(i, int(j)), max(i, int(j)))
            score = float(found.scores[i, column])
            unique.setdefault(pair, Candidate(sentences[i], sentences[j], "semantic", int(ranks[i]), score))
    # Where vectors repeat, a sentence does not find itself first, and a column holds ranks of two kinds.
    return sorted(unique.values(), key=lambda candidate: candidate.rank)


def random_pairs(sentences: list[str], vectors: np.ndarray, count: int, seed: int) -> list[Candidate]:
    """Pairs drawn without replacement from all unordered pairs; mostly unrelated.

    Args:
        sentences: distinct. vectors: float32 (n, d), rows of length 1.
        count: how many; fewer where there are fewer pairs.
        seed: of the draw.
    """
    n = len(sentences)
    count = min(count, n * (n - 1) // 2)
    draw = np.random.default_rng(seed)
    chosen: dict[tuple[int, int], None] = {}
    while len(chosen) < count:
        for i, j in draw.integers(0, n, size=(2 * (count - len(chosen)) + 8, 2)):
            if i != j and len(chosen) < count:
                chosen.setdefault((int(min(i, j)), int(max(i, j))))
    return [Candidate(sentences[i], sentences[j], "random", 0, float(vectors[i] @ vectors[j])) for i, j in chosen]


def unique_candidates(candidates: Iterable[Candidate], known: set[tuple[str, str]]) -> list[Candidate]:
    """Candidates without those that are known, identical strings, or repeated in either order; the first stays.

    Args:
        candidates: in order of preference.
        known: keys of pairs that must not come back; see `munjang.data.rows.pair_key`.
    """
    seen = set(known)
    kept = []
    for candidate in candidates:
        key = pair_key(candidate.sentence1, candidate.sentence2)
        if key in seen or key[0] == key[1]:
            continue
        seen.add(key)
        kept.append(candidate)
    return kept


def mine(
    sentences: list[str],
    vectors: np.ndarray,
    known: set[tuple[str, str]],
    *,
    neighbours: int,
    random_share: float,
    max_pairs: int | None,
    seed: int,
) -> list[Candidate]:
    """Similar pairs, and random ones in proportion, none of them known.

    Args:
        sentences: raw. vectors: float32 (n, d), rows of length 1, of the same sentences.
        known: keys of the pairs to leave out.
        neighbours, random_share, max_pairs: see `munjang.augment.options.MineOptions`.
        seed: of the random draws.

    Raises:
        DataError: fewer than two distinct sentences, or nothing is left.
    """
    if len({match_key(s) for s in sentences}) < 2:
        raise DataError("mining pairs needs at least two distinct sentences", got=f"{len(sentences)}")
    similar = unique_candidates(semantic_pairs(sentences, vectors, neighbours), known)
    wanted = round(len(similar) * random_share)
    drawn = random_pairs(sentences, vectors, wanted, seed)
    candidates = unique_candidates([*similar, *drawn], known)
    if max_pairs is not None and len(candidates) > max_pairs:
        picked = np.sort(np.random.default_rng(seed).choice(len(candidates), max_pairs, replace=False))
        candidates = [candidates[i] for i in picked]
    if not candidates:
        raise DataError("no candidate pairs were left", hint="give more raw sentences, or exclude less")
    return candidates
