"""Mistakes inside triplets and positive pairs."""

from __future__ import annotations

from munjang.data.lint.findings import Finding
from munjang.data.lint.pairs import mostly, shared_letters
from munjang.data.rows import PositivePair, Triplet
from munjang.text import match_key, printable

_ENOUGH = 50
#: Share of triplets whose negative is nearer to the anchor by its letters than the positive, from which on the two look
#: swapped. Hard negatives share words too, but hardly in nine rows of ten.
_SWAPPED = 0.9


def lint_triplets(name: str, rows: list[Triplet]) -> list[Finding]:
    """Triplets that contradict themselves: the same text is near and far at once."""
    findings = []
    wrong = [row for row in rows if match_key(row.negative) in (match_key(row.anchor), match_key(row.positive))]
    if wrong:
        message = (
            f"the negative of {len(wrong):,} of {len(rows):,} triplets is the same text as its anchor or its positive"
        )
        example, remedy = (
            printable(wrong[0].negative, 80),
            "remove them, or map the columns: columns = {negative = ...}",
        )
        severe = mostly(len(wrong), len(rows))
        findings.append(
            Finding("error" if severe else "warning", "contradicting-triplets", name, message, example, remedy)
        )
    return [*findings, *lint_positives(name, rows), *_swapped(name, rows)]


def lint_positives(name: str, rows: list[Triplet] | list[PositivePair]) -> list[Finding]:
    """Rows whose anchor is its own positive, which teach nothing."""
    same = [row for row in rows if match_key(row.anchor) == match_key(row.positive)]
    if not same:
        return []
    message = f"anchor and positive are the same text in {len(same):,} of {len(rows):,} rows"
    example, remedy = printable(same[0].anchor, 80), "remove them, or map the columns: columns = {positive = ...}"
    severe = mostly(len(same), len(rows))
    return [Finding("error" if severe else "warning", "identical-positives", name, message, example, remedy)]


def _swapped(name: str, rows: list[Triplet]) -> list[Finding]:
    """Negatives that are nearer to the anchor than the positives nearly everywhere: the columns changed places."""
    nearer = [
        row for row in rows if shared_letters(row.anchor, row.negative) > shared_letters(row.anchor, row.positive)
    ]
    if len(rows) < _ENOUGH or len(nearer) < _SWAPPED * len(rows):
        return []
    message = f"in {len(nearer):,} of {len(rows):,} triplets the negative shares more letters with the anchor than the positive"
    example = " / ".join(printable(text, 50) for text in nearer[0])
    remedy = "if positive and negative changed places, map them: columns = {positive = ..., negative = ...}"
    return [Finding("warning", "swapped-columns", name, message, example, remedy)]
