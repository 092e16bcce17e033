"""Mistakes inside a set of translations."""

from __future__ import annotations

from collections import Counter

from munjang.data.lint.findings import Finding, counted
from munjang.data.lint.texts import scripts_of
from munjang.data.rows import ParallelPair
from munjang.text import match_key, printable

#: Share of pairs with their sides in the two main scripts from which on the scripts say which side is which.
_CLEAR = 0.6
_ENOUGH = 20


def swapped_sides(rows: list[ParallelPair]) -> list[ParallelPair]:
    """Pairs whose sides stand the other way round than most; empty where two scripts do not tell the sides apart."""
    mains = [(_main(row.source), _main(row.target)) for row in rows]
    known = Counter(sides for sides in mains if None not in sides and sides[0] != sides[1])
    if len(rows) < _ENOUGH or not known:
        return []
    (one, other), count = known.most_common(1)[0]
    if count < _CLEAR * len(rows):
        return []
    return [row for row, sides in zip(rows, mains, strict=True) if sides == (other, one)]


def lint_parallel(name: str, rows: list[ParallelPair]) -> list[Finding]:
    """Translations that are the original again, and pairs whose sides were swapped."""
    findings = []
    same = [row for row in rows if match_key(row.source) == match_key(row.target)]
    if same:
        message = f"{counted(len(same), 'pair has', 'pairs have', len(rows))} the same text on both sides"
        remedy = "remove what was never translated, or check that both columns are there"
        mostly = len(same) > 0.5 * len(rows) and len(rows) >= _ENOUGH
        findings.append(
            Finding(
                "error" if mostly else "warning", "untranslated", name, message, printable(same[0].source, 80), remedy
            )
        )
    swapped = swapped_sides(rows)
    if swapped:
        message = f"{counted(len(swapped), 'pair has', 'pairs have', len(rows))} the languages of its two sides swapped"
        example = f"{printable(swapped[0].source, 60)} / {printable(swapped[0].target, 60)}"
        findings.append(Finding("error", "swapped-sides", name, message, example, "turn these pairs round"))
    return findings


def _main(text: str) -> str | None:
    """The script of most letters of a text."""
    scripts = scripts_of(text)
    return scripts.most_common(1)[0][0] if scripts else None
