"""Mistakes inside a set of labelled pairs (NLI)."""

from __future__ import annotations

from collections import Counter, defaultdict

from munjang.data.cells import NLI_LABELS
from munjang.data.lint.findings import Finding, counted, listed
from munjang.data.lint.pairs import same_column
from munjang.data.rows import LabelledPair
from munjang.text import match_key, printable

#: Share of a class below which a classifier can do without it.
_RARE = 0.10
_ENOUGH = 50
#: Premises come several times, with another hypothesis each. Fewer distinct hypotheses than this share of the distinct
#: premises mean that the two columns changed places.
_SWAPPED = 0.6


def lint_labels(name: str, rows: list[LabelledPair]) -> list[Finding]:
    """Mistakes inside one set of labelled pairs."""
    identical = [row for row in rows if match_key(row.sentence1) == match_key(row.sentence2)]
    findings = same_column(name, [row.sentence1 for row in identical], len(rows))
    wrong = [row for row in identical if row.label != "entailment"]
    if wrong:
        message = f"{counted(len(wrong), 'pair has', 'pairs are')} identical strings that are not labelled entailment"
        example = f"{printable(wrong[0].sentence1, 80)} ({wrong[0].label})"
        remedy = "label them entailment, or remove them"
        findings.append(Finding("warning", "identical-not-entailed", name, message, example, remedy))
    return findings + _balance(name, rows) + _swapped(name, rows) + _repeated(name, rows)


def _balance(name: str, rows: list[LabelledPair]) -> list[Finding]:
    counts = Counter(row.label for row in rows)
    example = ", ".join(f"{label} {counts[label]:,}" for label in NLI_LABELS)
    if len(rows) > 1 and len(counts) == 1:
        message = f"all {len(rows):,} rows have one label: there is nothing to tell apart"
        return [Finding("error", "constant-labels", name, message, example, "check the column of the labels")]
    rarest = min(NLI_LABELS, key=counts.__getitem__)
    if len(rows) < _ENOUGH or counts[rarest] >= _RARE * len(rows):
        return []
    message = f"only {counts[rarest] / len(rows):.1%} of the rows are labelled {rarest}"
    return [Finding("warning", "skewed-labels", name, message, example, f"add rows labelled {rarest}")]


def _swapped(name: str, rows: list[LabelledPair]) -> list[Finding]:
    premises, hypotheses = ({match_key(row[side]) for row in rows} for side in (0, 1))
    if len(rows) < _ENOUGH or len(hypotheses) >= _SWAPPED * len(premises):
        return []
    message = (
        f"{len(rows):,} rows have {len(premises):,} distinct premises and {len(hypotheses):,} distinct hypotheses: "
        "usually it is the premise that comes several times"
    )
    example = f"{printable(rows[0].sentence1, 60)} / {printable(rows[0].sentence2, 60)}"
    remedy = "map the columns: columns = {sentence1 = PREMISE, sentence2 = HYPOTHESIS}"
    return [Finding("warning", "swapped-columns", name, message, example, remedy)]


def _repeated(name: str, rows: list[LabelledPair]) -> list[Finding]:
    """The order counts here: a premise is no hypothesis."""
    by_pair: dict[tuple[str, str], list[LabelledPair]] = defaultdict(list)
    for row in rows:
        by_pair[match_key(row.sentence1), match_key(row.sentence2)].append(row)
    repeated = [group for group in by_pair.values() if len(group) > 1]
    conflicting = [group for group in repeated if len({row.label for row in group}) > 1]
    findings = []
    if conflicting:
        first = conflicting[0]
        labels = listed([row.label for row in first])
        example = f"{printable(first[0].sentence1, 60)} / {printable(first[0].sentence2, 60)}: {labels}"
        message = f"{counted(len(conflicting), 'pair occurs', 'pairs occur')} more than once with different labels"
        remedy = "keep one label for each pair"
        findings.append(Finding("warning", "conflicting-duplicates", name, message, example, remedy))
    if len(repeated) > len(conflicting):
        same = len(repeated) - len(conflicting)
        message = f"{counted(same, 'pair occurs', 'pairs occur')} more than once with one label"
        findings.append(Finding("note", "duplicate-pairs", name, message))
    return findings
