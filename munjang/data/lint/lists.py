"""Mistakes inside ranked lists."""

from __future__ import annotations

from munjang.data.lint.findings import Finding
from munjang.data.rows import RankedList
from munjang.text import printable


def lint_lists(name: str, rows: list[RankedList]) -> list[Finding]:
    """Lists that order nothing, and scores that passed a sigmoid."""
    findings = []
    flat = [row for row in rows if len(set(row.scores)) == 1]
    if flat:
        message = f"all documents of {len(flat):,} of {len(rows):,} lists have one score: such a list orders nothing"
        example = f"{printable(flat[0].query, 80)}: {flat[0].scores[0]:g}"
        everywhere = len(flat) == len(rows)
        remedy = "remove them, or check the column of the scores"
        findings.append(Finding("error" if everywhere else "note", "flat-lists", name, message, example, remedy))
    if are_probabilities(rows):
        low, high = min(min(row.scores) for row in rows), max(max(row.scores) for row in rows)
        message = (
            f"all scores lie between 0 and 1 ({low:.3g} to {high:.3g}): they look like probabilities, not like logits"
        )
        remedy = "for margin-mse score the lists without a sigmoid; listnet and kl can take these"
        findings.append(Finding("note", "probability-scores", name, message, remedy=remedy))
    return findings


def are_probabilities(rows: list[RankedList]) -> bool:
    """True if all scores lie on 0..1 and are no mere judgements of 0 and 1: a teacher's sigmoid has the wrong scale for
    objectives over differences (sentence-transformers issue 3540)."""
    scores = {score for row in rows for score in row.scores}
    return all(0 <= score <= 1 for score in scores) and not scores <= {0.0, 1.0}
