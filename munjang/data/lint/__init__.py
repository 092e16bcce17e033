"""The data half of the doctor: mistakes that training and evaluation would swallow without a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from munjang.data.lint.findings import SEVERITIES, Finding, by_severity, count_by_severity, without_repeats
from munjang.data.lint.labels import lint_labels
from munjang.data.lint.lists import lint_lists
from munjang.data.lint.pairs import lint_pairs
from munjang.data.lint.parallel import lint_parallel, swapped_sides
from munjang.data.lint.repeats import near_duplicates, repeated_texts
from munjang.data.lint.splits import conflicting_sets, is_held_out, leakage, near_leakage
from munjang.data.lint.texts import lint_texts
from munjang.data.lint.triplets import lint_positives, lint_triplets
from munjang.data.rows import LabelledPair, ParallelPair, PositivePair, RankedList, ScoredPair, Triplet

__all__ = [
    "SEVERITIES",
    "Finding",
    "by_severity",
    "conflicting_sets",
    "count_by_severity",
    "is_held_out",
    "leakage",
    "lint",
    "lint_labels",
    "lint_lists",
    "lint_pairs",
    "lint_parallel",
    "lint_positives",
    "lint_set",
    "lint_texts",
    "lint_triplets",
    "near_leakage",
    "swapped_sides",
    "without_repeats",
]

_OF_KIND = (
    (ScoredPair, lint_pairs),
    (LabelledPair, lint_labels),
    (Triplet, lint_triplets),
    (PositivePair, lint_positives),
    (RankedList, lint_lists),
    (ParallelPair, lint_parallel),
)


def lint(sets: Mapping[str, list[Any]]) -> list[Finding]:
    """Look at data sets one by one, then at what they share.

    Args:
        sets: name -> rows; names such as `x:test` or `dev.tsv` count as splits that must stay unseen.

    Returns:
        Findings, errors first.
    """
    findings = [finding for name, rows in sets.items() for finding in lint_set(name, rows)]
    return by_severity([*findings, *leakage(sets), *near_leakage(sets), *conflicting_sets(sets)])


def lint_set(name: str, rows: list[Any]) -> list[Finding]:
    """Mistakes inside one set, whatever its rows are."""
    findings = []
    for kind, check in _OF_KIND:
        of_kind = [row for row in rows if isinstance(row, kind)]
        if of_kind:
            findings += check(name, of_kind)
    return [*findings, *repeated_texts(name, rows), *near_duplicates(name, rows), *lint_texts(name, rows)]
