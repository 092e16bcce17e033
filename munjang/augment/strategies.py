"""Which pairs of sentences to label: the sampling strategies of Augmented SBERT (Thakur et al. 2021, arXiv 2010.08240).

Each strategy is a function from a corpus to `Candidates` in order of preference. None of them removes what is known: that
is done once, for all of them, in `munjang.augment.mining`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from munjang.augment.candidates import Candidates, code_of, concatenated, is_in, no_candidates, unique_candidates
from munjang.engine.topk import Neighbours
from munjang.progress import Progress, silent

#: Neighbours from which `kde_pairs` draws the similar half of its pool: near enough to be related, far enough to differ.
_NEAR = 50


def random_pairs(sentences: int, count: int, seed: int, taken: np.ndarray) -> Candidates:
    """Pairs drawn without replacement from all unordered pairs that are not taken; nearly all are unrelated.

    Args:
        sentences: how many there are.
        count: pairs wanted; fewer where there are fewer.
        seed: of the draw.
        taken: codes of pairs that must not be drawn, sorted.
    """
    count = min(count, sentences * (sentences - 1) // 2 - len(taken))
    if count <= 0:
        return no_candidates()
    draw = np.random.default_rng(seed)
    codes = np.empty(0, np.int64)
    while len(codes) < count:
        drawn = draw.integers(0, sentences, size=(2, 2 * (count - len(codes)) + 8))
        fresh = code_of(drawn[0], drawn[1], sentences)[drawn[0] != drawn[1]]
        codes = np.concatenate([codes, fresh[~is_in(fresh, taken)]])
        codes = codes[np.sort(np.unique(codes, return_index=True)[1])]
    first, second = np.divmod(codes[:count], sentences)
    return Candidates(first, second, np.zeros(count, np.int32), np.full(count, np.nan, np.float32))


def neighbour_pairs(found: Neighbours) -> Candidates:
    """Each sentence with its neighbours, as pairs by rank; one that is found from both sides stands at its better rank.

    Args:
        found: of each sentence its best others, best first; -1 where there are fewer.
    """
    sentences, width = found.positions.shape
    ranks = np.repeat(np.arange(1, width + 1, dtype=np.int32), sentences)
    own = np.tile(np.arange(sentences), width)
    other, scores = found.positions.T.ravel(), found.scores.T.ravel()
    there = (other >= 0) & (other != own)
    first, second = np.minimum(own, other)[there], np.maximum(own, other)[there]
    pairs = Candidates(first.astype(np.int64), second.astype(np.int64), ranks[there], scores[there])
    return unique_candidates(pairs, sentences, np.empty(0, np.int64))


def semantic_pairs(vectors: np.ndarray, neighbours: int, progress: Progress = silent) -> Candidates:
    """Each sentence with its most similar ones by cosine, exactly; a sentence takes no place among its own neighbours.

    Args:
        vectors: float32 (n, d), rows of length 1.
        neighbours: partners a sentence.
        progress: told of the sentences that are done.
    """
    from munjang.engine.selfjoin import self_join

    return neighbour_pairs(self_join(vectors, neighbours, progress))


def bm25_pairs(sentences: Sequence[str], neighbours: int, progress: Progress = silent) -> Candidates:
    """Each sentence with those that share its rarest words: BM25 on morphemes, in this process.

    Args:
        sentences: distinct.
        neighbours: partners a sentence; fewer where fewer share a word with it.
        progress: told of the sentences that are read.
    """
    from munjang.index.bm25 import Bm25
    from munjang.index.morphemes import Analyser

    terms = Analyser().terms(sentences, progress)
    return neighbour_pairs(Bm25(terms).top_k(terms, neighbours, exclude_self=True))


def kde_pairs(
    vectors: np.ndarray,
    count: int,
    gold: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    pool: int,
    seed: int,
    taken: np.ndarray,
) -> Candidates:
    """Pairs whose scores are spread as gold's are: drawn from a scored pool by the ratio of the two densities.

    The paper draws the pool at random. Among the pairs of a large corpus hardly any is similar, so here half of the pool is
    drawn among the 50 nearest neighbours of each sentence; the densities see to the spread in either case.

    Args:
        vectors: float32 (n, d), rows of length 1.
        count: pairs wanted.
        gold: scores to be followed, on 0..1.
        score: positions of first and second sentences -> scores on 0..1.
        pool: pairs to score for each one wanted.
        seed: of all draws.
        taken: codes of pairs that must not be drawn, sorted.
    """
    from munjang.engine.topk import top_k

    draw = np.random.default_rng(seed)
    half = -(-count * pool // 2)
    own = np.sort(draw.integers(0, len(vectors), half))
    each, back = np.unique(own, return_inverse=True)
    near = top_k(vectors[each], vectors, _NEAR + 1).positions
    other = near[back, draw.integers(0, near.shape[1], half)]
    similar = Candidates(
        np.minimum(own, other), np.maximum(own, other), np.zeros(half, np.int32), np.full(half, np.nan, np.float32)
    )
    drawn = random_pairs(len(vectors), half, seed, taken)
    both = unique_candidates(concatenated([similar, drawn]), len(vectors), taken)
    scores = np.clip(score(both.first, both.second), 0, 1)
    chosen = draw_like(scores, gold, count, seed)
    return replace(both, score=scores.astype(np.float32)).take(chosen)


def density(scores: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Density of scores at some places, by a Gaussian kernel with Silverman's bandwidth, reflected at 0 and 1.

    Without the reflection half of the mass of the scores at either end, where STS has most of them, would be lost.

    Args:
        scores: (n,) on 0..1. at: (m,) on 0..1.
    """
    spread = min(float(scores.std()), float(np.subtract(*np.quantile(scores, (0.75, 0.25)))) / 1.34 or np.inf)
    width = max(0.9 * spread * len(scores) ** -0.2, 0.01)
    grid = np.linspace(0, 1, 401)
    counts = np.histogram(scores, bins=np.linspace(-0.00125, 1.00125, 402))[0]
    mirrored = np.concatenate([-grid, grid, 2 - grid])
    weights = np.tile(counts, 3)
    kernel = np.exp(-0.5 * ((grid[:, None] - mirrored) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return np.interp(at, grid, kernel @ weights / len(scores))


def draw_like(scores: np.ndarray, gold: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of `count` scores, drawn without replacement by the ratio of gold's density to their own, in order.

    Args:
        scores: (n,) on 0..1. gold: the scores to be followed, on 0..1.
        count: how many; all where there are fewer.
        seed: of the draw.
    """
    if count >= len(scores):
        return np.arange(len(scores))
    ratio = np.maximum(density(gold, scores), 1e-9) / np.maximum(density(scores, scores), 1e-9)
    # The count smallest of exponential draws with these rates: weighted sampling without replacement (Efraimidis 2006).
    keys = np.random.default_rng(seed).exponential(size=len(scores)) / ratio
    return np.sort(np.argpartition(keys, count)[:count])


def keep_like(scores: np.ndarray, gold: np.ndarray, seed: int) -> np.ndarray:
    """Which scores stay so that their spread comes near gold's: each with probability min(1, gold's density / own).

    The acceptance rule of the paper's KDE sampling.

    Args:
        scores: (n,) on 0..1. gold: the scores to be followed, on 0..1.
        seed: of the draw.

    Returns:
        bool (n,).
    """
    ratio = density(gold, scores) / np.maximum(density(scores, scores), 1e-9)
    return np.random.default_rng(seed).random(len(scores)) < ratio
