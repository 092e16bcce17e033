"""What reading a file showed: its encoding, rows that were rejected, texts that the door for text changed."""

from __future__ import annotations

from collections import Counter

from munjang.data.lint.findings import Finding, counted
from munjang.data.rows import ReadReport, Reject
from munjang.text import printable

_PLAIN = ("utf-8-sig", "utf-8", "parquet", "")
_EMPTY = ("the text is blank", "the text is missing", "the line is empty")
_OUTSIDE = "the score is outside the declared scale"


def lint_reading(name: str, report: ReadReport, declared: str = "stop") -> list[Finding]:
    """Findings from the report on reading a set with its malformed rows left out.

    Args:
        name: of the set.
        report: of a reading under which rejects are skipped.
        declared: what malformed rows do where the set is used: `stop`, or `skip`.
    """
    findings = []
    if report.encoding not in _PLAIN:
        message = f"the file is no UTF-8: the whole of it was read as {report.encoding}"
        remedy = "if the texts look right, nothing is wrong; UTF-8 needs no guessing"
        findings.append(Finding("note", "encoding", name, message, remedy=remedy))
    return [*findings, *_rejects(name, report, declared == "stop"), *_changes(name, report)]


def unreadable(name: str, error: str, remedy: str) -> Finding:
    """A set that cannot be read at all."""
    return Finding("error", "unreadable", name, error, remedy=remedy)


def _rejects(name: str, report: ReadReport, stops: bool) -> list[Finding]:
    outside = [reject for reject in report.rejects if reject.reason.startswith(_OUTSIDE)]
    empty = [reject for reject in report.rejects if reject.reason in _EMPTY]
    known = (_OUTSIDE, *_EMPTY)
    others = [reject for reject in report.rejects if not reject.reason.startswith(known)]
    effect = "reading stops at the first" if stops else "will be left out"
    remedy = 'mend the rows, or have them left out and counted: rejects = "skip"' if stops else "mend the rows"
    findings = []
    if outside:
        message = (
            f"{counted(len(outside), 'scores is', 'scores are', report.read)} {_OUTSIDE.removeprefix('the score is ')}"
            f"{outside[0].reason.removeprefix(_OUTSIDE)}; {_reach(outside)}"
        )
        declare = "declare the scale of the file, such as scale = [0, 5], or mend the rows"
        findings.append(Finding("error", "scale", name, message, outside[0].sentence(), declare))
    if empty:
        message = f"{counted(len(empty), 'rows has', 'rows have', report.read)} an empty text and {effect}"
        findings.append(
            Finding("error" if stops else "warning", "empty-texts", name, message, empty[0].sentence(), remedy)
        )
    if others:
        reasons = Counter(reject.reason for reject in others).most_common(3)
        why = "; ".join(f"{reason} ({count:,})" for reason, count in reasons)
        message = f"{counted(len(others), 'rows is', 'rows are', report.read)} malformed and {effect}: {why}"
        findings.append(
            Finding("error" if stops else "warning", "rejected-rows", name, message, others[0].sentence(), remedy)
        )
    return findings


def _reach(outside: list[Reject]) -> str:
    values = [float(reject.excerpt) for reject in outside]
    low, high = min(values), max(values)
    return f"they reach from {low:g} to {high:g}" if low < high else f"such as {low:g}"


def _changes(name: str, report: ReadReport) -> list[Finding]:
    findings = []
    composed = report.changes.get("nfc", 0)
    if composed:
        message = (
            f"{counted(composed, 'text was', 'texts were')} composed to NFC, such as Hangul that macOS wrote in parts"
        )
        example = printable(report.examples.get("nfc", ""), 80)
        remedy = "none needed here; other programs take the two spellings for two texts"
        findings.append(Finding("note", "decomposed-text", name, message, example, remedy))
    hidden = {kind: report.changes[kind] for kind in ("filler", "control", "surrogate") if report.changes.get(kind)}
    if hidden:
        what = ", ".join(f"{kind} in {count:,}" for kind, count in hidden.items())
        message = f"characters that nobody sees were taken out of texts: {what}"
        example = report.examples.get(next(iter(hidden)), "").encode("unicode_escape").decode("ascii")[:200]
        remedy = "none needed here; other programs take texts with and without them for two texts"
        findings.append(Finding("note", "invisible-characters", name, message, example, remedy))
    return findings
