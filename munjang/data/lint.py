"""The data half of the doctor: mistakes that training and evaluation would swallow without a word."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from munjang.data.rows import ScoredPair, pair_key, sentences_of
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
        sets: name -> rows; a name that ends in `test` or `dev` counts as a split that must stay unseen.

    Returns:
        Findings, errors first.
    """
    findings = []
    for name, rows in sets.items():
        pairs = [row for row in rows if isinstance(row, ScoredPair)]
        if pairs:
            findings += lint_pairs(name, pairs)
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
    if len(rows) >= 10 and len(identical) > _SAME_COLUMN * len(rows):
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
    pairs = {
        name: {pair_key(r.sentence1, r.sentence2) for r in rows if isinstance(r, ScoredPair)}
        for name, rows in sets.items()
    }
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
