"""The data half of the doctor: mistakes that training and evaluation would swallow without a word."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from munjang.data.rows import PositivePair, ScoredPair, Triplet, pair_key, pairs_of, sentences_of
from munjang.text import match_key, printable

#: Below this share of a set, identical sides look like chance; above it, like a column read twice.
_SAME_COLUMN = 0.5
_HELD_OUT = frozenset({"dev", "test", "valid", "validation", "eval"})
_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something the doctor found, with one example and what to do about it."""

    severity: str
    """`error` (the result would be wrong), `warning` (it may be), `note` (worth knowing)."""
    code: str
    where: str
    message: str
    example: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON values."""
        return asdict(self)


def lint(sets: Mapping[str, list[Any]]) -> list[Finding]:
    """Look at data sets one by one, then at what they share.

    Args:
        sets: name -> rows; names such as `x:test` or `dev.tsv` count as splits that must stay unseen.

    Returns:
        Findings, errors first.
    """
    findings = []
    for name, rows in sets.items():
        pairs = [row for row in rows if isinstance(row, ScoredPair)]
        if pairs:
            findings += lint_pairs(name, pairs)
        findings += lint_triplets(name, [row for row in rows if isinstance(row, Triplet)])
        findings += _identical_sides(name, [row for row in rows if isinstance(row, PositivePair)])
        findings += _repeated_texts(name, rows)
    findings += leakage(sets)
    return by_severity(findings)


def by_severity(findings: list[Finding]) -> list[Finding]:
    """Findings with errors first, then warnings, then notes."""
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))


def lint_pairs(name: str, rows: list[ScoredPair]) -> list[Finding]:
    """Mistakes inside one set of scored pairs."""
    findings = []
    scores = [row.score for row in rows]
    identical = [row for row in rows if match_key(row.sentence1) == match_key(row.sentence2)]
    if _mostly(identical, rows):
        findings.append(
            Finding(
                "error",
                "same-column",
                name,
                f"both sentences are the same in {len(identical):,} of {len(rows):,} pairs: one column was read twice",
                identical[0].sentence1,
                "map the columns: columns = {sentence1 = ..., sentence2 = ...}",
            )
        )
    lower = [row for row in identical if row.score < 1.0]
    if lower:
        example = f"{printable(lower[0].sentence1, 80)} (score {lower[0].score:.2f} of 1)"
        message = f"{len(lower):,} pairs are identical strings with a score below the maximum"
        findings.append(
            Finding(
                "warning",
                "identical-below-maximum",
                name,
                message,
                example,
                "give them the highest score, or remove them",
            )
        )
    if len(rows) > 1 and min(scores) == max(scores):
        message = f"all {len(rows):,} scores are equal"
        findings.append(
            Finding(
                "error", "constant-scores", name, message, f"{scores[0]:g} of 1", "check the score column and the scale"
            )
        )
    elif len(rows) >= 20 and max(scores) <= 0.25:
        message = (
            f"the highest score is {max(scores):.2f} of the declared scale: the declared scale is probably too wide"
        )
        findings.append(
            Finding("error", "scale", name, message, remedy="declare the scale of the file, such as scale = [0, 1]")
        )
    return findings + _repeated_pairs(name, rows)


def _mostly(wrong: list[Any], rows: list[Any]) -> bool:
    """True if so many rows are wrong that a column was read twice; a few are noise that training survives."""
    return len(rows) >= 10 and len(wrong) > _SAME_COLUMN * len(rows)


def lint_triplets(name: str, rows: list[Triplet]) -> list[Finding]:
    """Triplets that contradict themselves: the same text is near and far at once."""
    wrong = [row for row in rows if match_key(row.negative) in (match_key(row.anchor), match_key(row.positive))]
    if not wrong:
        return _identical_sides(name, rows)
    message = f"the negative of {len(wrong):,} of {len(rows):,} triplets is the same text as its anchor or its positive"
    example, remedy = printable(wrong[0].negative, 80), "remove them, or map the columns: columns = {negative = ...}"
    severe = _mostly(wrong, rows)
    return [
        Finding("error" if severe else "warning", "contradicting-triplets", name, message, example, remedy),
        *_identical_sides(name, rows),
    ]


def _identical_sides(name: str, rows: list[Triplet] | list[PositivePair]) -> list[Finding]:
    same = [row for row in rows if match_key(row.anchor) == match_key(row.positive)]
    if not same:
        return []
    message = f"anchor and positive are the same text in {len(same):,} of {len(rows):,} rows"
    example, remedy = printable(same[0].anchor, 80), "remove them, or map the columns: columns = {positive = ...}"
    severe = _mostly(same, rows)
    return [Finding("error" if severe else "warning", "identical-positives", name, message, example, remedy)]


def _repeated_pairs(name: str, rows: list[ScoredPair]) -> list[Finding]:
    by_pair: dict[tuple[str, str], list[ScoredPair]] = defaultdict(list)
    for row in rows:
        by_pair[pair_key(row.sentence1, row.sentence2)].append(row)
    repeated = [group for group in by_pair.values() if len(group) > 1]
    conflicting = [g for g in repeated if max(r.score for r in g) - min(r.score for r in g) > 0.1]
    findings = []
    if conflicting:
        first = conflicting[0]
        example = f"{printable(first[0].sentence1, 60)} / {printable(first[0].sentence2, 60)}: " + ", ".join(
            f"{r.score:.2f}" for r in first
        )
        message = f"{len(conflicting):,} pairs occur more than once with different scores"
        findings.append(
            Finding("warning", "conflicting-duplicates", name, message, example, "keep one score for each pair")
        )
    same = len(repeated) - len(conflicting)
    if same:
        message = f"{same:,} pairs occur more than once, with scores at most a tenth of the scale apart"
        findings.append(Finding("note", "duplicate-pairs", name, message))
    return findings


def _repeated_texts(name: str, rows: list[Any]) -> list[Finding]:
    if not rows or not (isinstance(rows[0], str) or hasattr(rows[0], "text")):
        return []
    texts = sentences_of(rows)
    keys = {match_key(text) for text in texts}
    if len(keys) == len(texts):
        return []
    message = f"{len(texts) - len(keys):,} of {len(texts):,} texts are repetitions"
    return [Finding("note", "duplicate-texts", name, message, remedy="each distinct text is used once")]


def is_held_out(name: str) -> bool:
    """True for names of splits that training must not see."""
    return not _HELD_OUT.isdisjoint(re.findall("[a-z]+", name.replace("\\", "/").rsplit("/", 1)[-1].lower()))


def leakage(sets: Mapping[str, list[Any]]) -> list[Finding]:
    """Sentences and pairs that two sets share, exactly after normalising: a warning where one is dev or test by its name,
    else a note, for a file's name need not say what it is for."""
    texts = {name: {match_key(t) for t in sentences_of(rows)} for name, rows in sets.items()}
    pairs = {name: {pair_key(*pair) for row in rows for pair in pairs_of(row)} for name, rows in sets.items()}
    findings = []
    for left, right in combinations(sets, 2):
        shared, shared_pairs = texts[left] & texts[right], pairs[left] & pairs[right]
        if shared:
            message = f"{len(shared):,} sentences and {len(shared_pairs):,} whole pairs are in both sets"
            unseen = is_held_out(left) or is_held_out(right)
            remedy = "name the dev and test sets under exclude (training) and held_out (mining)"
            where, example = f"{left} / {right}", printable(min(shared), 80)
            findings.append(Finding("warning" if unseen else "note", "leakage", where, message, example, remedy))
    return findings
