"""What two sets share: leakage between splits, exact and near, and pairs that two sets score differently."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from munjang.data.leaks import NEAR, Watch
from munjang.data.lint.findings import Finding, counted
from munjang.data.lint.pairs import CONFLICT
from munjang.data.rows import ScoredPair, pair_key, pairs_of, sentences_of
from munjang.text import match_key, printable

_HELD_OUT = frozenset({"dev", "test", "valid", "validation", "eval"})
_TEST = frozenset({"test", "eval"})
#: Share of a held-out set's sentences that nearly stand in another from which on figures on it are in doubt.
_MANY = 0.05
_REMEDY = "name the dev and test sets under exclude (training) and held_out (mining)"


def is_held_out(name: str) -> bool:
    """True for names of splits that training must not see."""
    return not _HELD_OUT.isdisjoint(_words(name))


def is_test(name: str) -> bool:
    """True for names of splits that only measure, so that nothing may be chosen by them either."""
    return not _TEST.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    return re.findall("[a-z]+", name.replace("\\", "/").rsplit("/", 1)[-1].lower())


def leakage(sets: Mapping[str, list[Any]]) -> list[Finding]:
    """Sentences and pairs that two sets share, exactly after normalising: a warning where one is dev or test by its name,
    else a note, for a file's name need not say what it is for."""
    return _leakage(sets, combinations(sets, 2))


def known_leakage(sets: Mapping[str, list[Any]], known: Mapping[str, list[Any]]) -> list[Finding]:
    """What sets that are not held out themselves share with test sets that nobody named, exactly and nearly.

    Args:
        sets: name -> rows of what is looked at.
        known: name -> rows of test sets, under names that count as held out.
    """
    trained = {name: rows for name, rows in sets.items() if not is_held_out(name)}
    both = [(name, test) for name in trained for test in known]
    return _leakage({**trained, **known}, both) + _near(trained, known)


def _leakage(sets: Mapping[str, list[Any]], named: Iterable[tuple[str, str]]) -> list[Finding]:
    texts = {name: {match_key(t) for t in sentences_of(rows)} for name, rows in sets.items()}
    pairs = {name: {pair_key(*pair) for row in rows for pair in pairs_of(row)} for name, rows in sets.items()}
    findings = []
    for left, right in named:
        shared, shared_pairs = texts[left] & texts[right], pairs[left] & pairs[right]
        if shared:
            sentences = counted(len(shared), "sentence", "sentences")
            message = f"{sentences} and {counted(len(shared_pairs), 'whole pair', 'whole pairs')} are in both sets"
            unseen = is_held_out(left) or is_held_out(right)
            where, example = f"{left} / {right}", printable(min(shared), 80)
            findings.append(Finding("warning" if unseen else "note", "leakage", where, message, example, _REMEDY))
    return findings


def near_leakage(sets: Mapping[str, list[Any]]) -> list[Finding]:
    """Sentences of held-out sets that nearly stand in another set: training leaves out what is the same, not what nearly is."""
    held_out = {name: rows for name, rows in sets.items() if is_held_out(name)}
    return _near(sets, held_out)


def _near(sets: Mapping[str, list[Any]], held_out: Mapping[str, list[Any]]) -> list[Finding]:
    """One index over all held-out sets, past which every other set streams once."""
    texts = {name: list({match_key(t): t for t in sentences_of(rows)}.values()) for name, rows in held_out.items()}
    watch = Watch([text for some in texts.values() for text in some]) if texts and sets else None
    findings, told = [], set()
    for name, rows in sets.items() if watch is not None else ():
        seen, start = watch.compare(sentences_of(rows)), 0
        for other, some in texts.items():
            part = slice(start, start := start + len(some))
            similarity = np.where(seen.exact[part], 0, seen.similarity[part])
            if other == name or frozenset({name, other}) in told or not similarity.any():
                continue
            told.add(frozenset({name, other}))
            at = int(similarity.argmax())
            count = int((similarity > 0).sum())
            message = (
                f"{counted(count, 'further sentence', 'further sentences')} of {other} nearly "
                f"{'stands' if count == 1 else 'stand'} in {name} (at least {NEAR:.0%} of their trigrams)"
            )
            example = f"{printable(some[at], 80)} | {printable(seen.found[part][at], 80)} ({similarity[at]:.2f})"
            remedy = "look at them; training with exclude leaves out the same sentences, not similar ones"
            many, where = count >= _MANY * len(some), f"{name} / {other}"
            findings.append(Finding("warning" if many else "note", "near-leakage", where, message, example, remedy))
    return findings


def conflicting_sets(sets: Mapping[str, list[Any]]) -> list[Finding]:
    """Pairs that two sets of scored pairs hold with different scores: gold that came back as silver, or two units."""
    scores = {
        name: {pair_key(row.sentence1, row.sentence2): row.score for row in rows if isinstance(row, ScoredPair)}
        for name, rows in sets.items()
    }
    findings = []
    for left, right in combinations([name for name, of in scores.items() if of], 2):
        shared = scores[left].keys() & scores[right].keys()
        wrong = {pair for pair in shared if abs(scores[left][pair] - scores[right][pair]) > CONFLICT}
        if not wrong:
            continue
        pair = min(wrong)
        message = (
            f"{counted(len(wrong), 'pairs in both sets has', 'pairs in both sets have', len(shared))} different scores"
        )
        example = (
            f"{printable(pair[0], 60)} / {printable(pair[1], 60)}: {scores[left][pair]:.2f}, {scores[right][pair]:.2f}"
        )
        remedy = "declare the scale of both; keep gold pairs out of silver ones: name them under exclude of mine"
        where = f"{left} / {right}"
        findings.append(Finding("warning", "conflicting-sets", where, message, example, remedy))
    return findings
