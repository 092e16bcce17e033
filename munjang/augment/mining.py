"""Candidate pairs of a corpus: the strategies, each with its share, without what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from munjang.augment.candidates import Candidates, Mined, code_of, joined, known_codes, unique_candidates
from munjang.augment.options import SEARCHING
from munjang.augment.strategies import bm25_pairs, kde_pairs, random_pairs, semantic_pairs
from munjang.errors import DataError
from munjang.progress import Progress, silent
from munjang.text import match_key


@dataclass(frozen=True)
class Corpus:
    """What strategies look at; what none of those at work needs may be missing."""

    sentences: Sequence[str]
    """Distinct by `munjang.text.match_key`."""
    vectors: np.ndarray | None = None
    """float32 (n, d), rows of length 1."""
    score: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """Positions of first and second sentences -> scores on 0..1, for `kde`."""
    gold: np.ndarray | None = None
    """Gold scores on 0..1, for `kde`."""


def mine(
    corpus: Corpus,
    known: Iterable[tuple[str, str]],
    strategies: Mapping[str, float],
    *,
    neighbours: int,
    pool: int = 10,
    max_pairs: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Mined:
    """Pairs by each strategy, none of them known, none twice.

    A pair that two strategies find belongs to the first of them in the order semantic, bm25, kde, random. Where a
    strategy finds fewer than its share, there are fewer; nothing is made up for by another.

    Args:
        corpus: sentences and what the strategies need besides.
        known: keys of the pairs to leave out; see `munjang.data.rows.pair_key`.
        strategies, neighbours, pool, max_pairs: see `munjang.augment.options.MineOptions`.
        seed: of all draws.
        progress: told of the searches.

    Raises:
        DataError: fewer than two distinct sentences; gold whose scores are all equal, for `kde`; nothing is left.
    """
    n = len(corpus.sentences)
    if len({match_key(text) for text in corpus.sentences}) < 2:
        raise DataError("mining pairs needs at least two distinct sentences", got=f"{n}")
    taken = known_codes(corpus.sentences, known)
    quota = _quotas(strategies, max_pairs)
    parts: dict[str, Candidates] = {}
    for number, name in enumerate(name for name in ("semantic", "bm25", "kde", "random") if name in strategies):
        if name in SEARCHING:
            found = _search(corpus, name, neighbours, progress)
            found = _drawn(unique_candidates(found, n, taken), quota.get(name), seed + number)
        else:
            count = quota.get(name, _by_share(strategies, name, parts, n * neighbours // 2))
            found = _draw(corpus, name, count, pool, seed + number, taken)
        parts[name] = found
        taken = np.union1d(taken, code_of(found.first, found.second, n))
    mined = joined(parts)
    if not len(mined.pairs):
        raise DataError("no candidate pairs were left", hint="give more raw sentences, or exclude less")
    return mined


def _search(corpus: Corpus, name: str, neighbours: int, progress: Progress) -> Candidates:
    if name == "bm25":
        return bm25_pairs(corpus.sentences, neighbours, progress)
    assert corpus.vectors is not None
    return semantic_pairs(corpus.vectors, neighbours, progress)


def _draw(corpus: Corpus, name: str, count: int, pool: int, seed: int, taken: np.ndarray) -> Candidates:
    if name == "random":
        return random_pairs(len(corpus.sentences), count, seed, taken)
    assert corpus.vectors is not None
    assert corpus.score is not None
    assert corpus.gold is not None
    require_spread(corpus.gold, "kde")
    return kde_pairs(corpus.vectors, count, corpus.gold, corpus.score, pool=pool, seed=seed, taken=taken)


def require_spread(gold: np.ndarray, what: str) -> None:
    """Refuse gold from which no spread of scores can be taken.

    Raises:
        DataError: fewer than two pairs, or all scores are equal.
    """
    if len(gold) < 2 or float(np.ptp(gold)) == 0.0:
        raise DataError(
            f"{what} follows the spread of gold scores, and these have none",
            expected="gold pairs with different scores",
            got=f"{len(gold)} pairs" + (f", all with a score of {gold[0]:g} on 0..1" if len(gold) > 1 else ""),
            hint="give more gold pairs, or choose another strategy",
        )


def _quotas(strategies: Mapping[str, float], max_pairs: int | None) -> dict[str, int]:
    """Pairs of each strategy where their number is given; the rest of the rounding goes to the largest remainders."""
    if max_pairs is None:
        return {}
    whole = sum(strategies.values())
    exact = {name: max_pairs * share / whole for name, share in strategies.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_rest = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_rest[: max_pairs - sum(counts.values())]:
        counts[name] += 1
    return counts


def _by_share(strategies: Mapping[str, float], name: str, parts: Mapping[str, Candidates], alone: int) -> int:
    """Pairs to draw beside what the searches found; `alone` where there was no search."""
    searched = [len(parts[other]) / strategies[other] for other in SEARCHING if other in parts]
    if searched:
        return round(max(searched) * strategies[name])
    return max(1, round(alone * strategies[name] / sum(strategies.values())))


def _drawn(found: Candidates, count: int | None, seed: int) -> Candidates:
    """At most `count` of them, drawn so that all ranks keep their part."""
    if count is None or len(found) <= count:
        return found
    return found.take(np.sort(np.random.default_rng(seed).choice(len(found), count, replace=False)))
