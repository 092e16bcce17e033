"""Mistakes inside a set of scored pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from munjang.data.lint.findings import Finding, counted, listed
from munjang.data.rows import ScoredPair, pair_key
from munjang.text import match_key, printable

#: Below this share of a set, identical sides look like chance; above it, like a column read twice.
_SAME_COLUMN = 0.5
#: Rows from which the shape of a distribution means something.
_ENOUGH = 50
#: Share of the scores in one tenth of the scale from which on there is little to learn.
_CROWDED = 0.8
#: Share of the scores in one half of the scale below which that half is as good as empty.
_EMPTY = 0.05
#: Difference of two scores of one pair, on 0..1, from which on they contradict each other.
CONFLICT = 0.1
#: Rank correlation between what two sentences share and their score below which the score looks like a distance.
_INVERTED = -0.2


def lint_pairs(name: str, rows: list[ScoredPair]) -> list[Finding]:
    """Mistakes inside one set of scored pairs."""
    identical = [row for row in rows if match_key(row.sentence1) == match_key(row.sentence2)]
    findings = same_column(name, [row.sentence1 for row in identical], len(rows))
    lower = [row for row in identical if row.score < 1.0]
    if lower:
        example = f"{printable(lower[0].sentence1, 80)} (score {lower[0].score:.2f} of 1)"
        message = f"{counted(len(lower), 'pair has', 'pairs are')} identical strings with a score below the maximum"
        remedy = "give them the highest score, or remove them"
        findings.append(Finding("warning", "identical-below-maximum", name, message, example, remedy))
    return findings + _scores(name, [row.score for row in rows]) + _inverted(name, rows) + _repeated_pairs(name, rows)


def mostly(wrong: int, rows: int) -> bool:
    """True if so many rows are wrong that a column was read twice; a few are noise that training survives."""
    return rows >= 10 and wrong > _SAME_COLUMN * rows


def same_column(name: str, identical: Sequence[str], rows: int) -> list[Finding]:
    """Both sentences the same in most pairs.

    Args:
        name: of the set.
        identical: the sentence of each pair whose two sides are one.
        rows: of the set.
    """
    if not mostly(len(identical), rows):
        return []
    message = f"both sentences are the same in {len(identical):,} of {rows:,} pairs: one column was read twice"
    remedy = "map the columns: columns = {sentence1 = ..., sentence2 = ...}"
    return [Finding("error", "same-column", name, message, printable(identical[0], 80), remedy)]


def _scores(name: str, scores: list[float]) -> list[Finding]:
    """A wrong scale, a part of the scale that is never used, and scores that crowd in one place."""
    low, high = min(scores), max(scores)
    if len(scores) > 1 and low == high:
        message, remedy = f"all {len(scores):,} scores are equal", "check the score column and the scale"
        return [Finding("error", "constant-scores", name, message, f"{low:g} of 1", remedy)]
    if len(scores) >= 20 and high <= 0.25:
        message = f"the highest score is {high:.2f} of the declared scale: the declared scale is probably too wide"
        remedy = "declare the scale of the file, such as scale = [0, 1]"
        return [Finding("error", "scale", name, message, remedy=remedy)]
    if len(scores) < _ENOUGH:
        return []
    if low < 0.1 and high > 0.9:
        return _skew(name, scores)
    message = f"the scores use only {low:.2f} to {high:.2f} of the declared scale"
    remedy = "declare the scale on which the scores were given, such as [1, 5]; if it is this one, nothing is wrong"
    return [Finding("note", "unused-range", name, message, remedy=remedy), *_skew(name, scores)]


def _skew(name: str, scores: list[float]) -> list[Finding]:
    tenths = [0] * 10
    for score in scores:
        tenths[min(int(score * 10), 9)] += 1
    upper = sum(score >= 0.5 for score in scores) / len(scores)
    most = max(range(10), key=tenths.__getitem__)
    if tenths[most] >= _CROWDED * len(scores):
        message = f"{tenths[most] / len(scores):.0%} of the scores lie in one tenth of the scale"
    elif min(upper, 1 - upper) < _EMPTY:
        half = "upper" if upper < _EMPTY else "lower"
        message = f"only {min(upper, 1 - upper):.1%} of the scores lie in the {half} half of the scale"
    else:
        return []
    example = "scores by tenth: " + " ".join(f"{count:,}" for count in tenths)
    remedy = "add pairs of other degrees of similarity, such as random pairs for the lower half"
    return [Finding("warning", "skewed-scores", name, message, example, remedy)]


def _inverted(name: str, rows: list[ScoredPair]) -> list[Finding]:
    """Scores that fall the more two sentences share: a distance, or a scale that was turned round."""
    shared, scores = [shared_letters(*row[:2]) for row in rows], [row.score for row in rows]
    if len(rows) < _ENOUGH or len(set(shared)) == 1 or len(set(scores)) == 1:
        return []
    from scipy.stats import spearmanr

    correlation = spearmanr(shared, scores).statistic
    if correlation > _INVERTED:
        return []
    message = f"the more letters two sentences share, the lower is their score (rank correlation {correlation:.2f})"
    worst = max(rows, key=lambda row: shared_letters(*row[:2]) - row.score)
    example = f"{printable(worst.sentence1, 60)} / {printable(worst.sentence2, 60)}: {worst.score:.2f} of 1"
    remedy = "check that the score is a similarity and not a distance, and that no column was shifted"
    return [Finding("warning", "inverted-scores", name, message, example, remedy)]


def shared_letters(text1: str, text2: str) -> float:
    """Dice coefficient of the pairs of neighbouring characters of two texts, 0 to 1."""
    one, other = ({text[i : i + 2] for i in range(len(text) - 1)} for text in (text1, text2))
    return 2 * len(one & other) / max(len(one) + len(other), 1)


def _repeated_pairs(name: str, rows: list[ScoredPair]) -> list[Finding]:
    by_pair: dict[tuple[str, str], list[ScoredPair]] = defaultdict(list)
    for row in rows:
        by_pair[pair_key(row.sentence1, row.sentence2)].append(row)
    repeated = [group for group in by_pair.values() if len(group) > 1]
    conflicting = [g for g in repeated if max(r.score for r in g) - min(r.score for r in g) > CONFLICT]
    findings = []
    if conflicting:
        first = conflicting[0]
        scores = listed([f"{row.score:.2f}" for row in first])
        example = f"{printable(first[0].sentence1, 60)} / {printable(first[0].sentence2, 60)}: {scores}"
        message = f"{counted(len(conflicting), 'pair occurs', 'pairs occur')} more than once with different scores"
        remedy = "keep one score for each pair"
        findings.append(Finding("warning", "conflicting-duplicates", name, message, example, remedy))
    same = len(repeated) - len(conflicting)
    if same:
        first = next(g for g in repeated if max(r.score for r in g) - min(r.score for r in g) <= CONFLICT)
        example = f"{printable(first[0].sentence1, 60)} / {printable(first[0].sentence2, 60)}"
        message = f"{counted(same, 'pair occurs', 'pairs occur')} more than once, with scores at most a tenth of the scale apart"
        findings.append(Finding("note", "duplicate-pairs", name, message, example))
    return findings
