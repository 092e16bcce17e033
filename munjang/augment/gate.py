"""What silver labels must be before a model learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from munjang.errors import MunjangError, Option, Phrase
from munjang.evaluate.statistics import resampled_weights, spearman, whole

#: Standard deviation of silver scores below which they tell a student next to nothing; STS sets have about 0.3.
LEAST_SPREAD = 0.05
#: Share of scores within 0.02 of either end, above which a teacher says yes or no in place of how much.
MOST_EXTREME = 0.95
#: Spearman of the two orders of a pair, of two teachers, and of teacher and student: below it one of them guesses.
LEAST_AGREEMENT = 0.3


class GateError(MunjangError):
    """Labels that would make the student worse; the work before them is kept."""

    code, exit_status, http_status = "gate", 4, 422


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    """`teacher`, `spread`, `extremes`, `orders`, `members` or `agreement`."""
    value: float | None
    bound: float
    passed: bool
    said: str
    """A sentence with the figures."""


@dataclass(frozen=True)
class Gate:
    """All checks together."""

    checks: tuple[Check, ...]
    forced: bool = False
    difference: tuple[float, float, float] | None = None
    """Teachers minus student on dev in points of Spearman x 100, with its 95% interval; None without a student."""

    @property
    def passed(self) -> bool:
        """True if nothing failed."""
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """As reports carry it."""
        return {
            "passed": self.passed,
            "forced": self.forced,
            "difference": self.difference,
            "checks": [asdict(check) for check in self.checks],
        }

    def require(self, option: Option) -> None:
        """Stop where something failed and nobody said to go on.

        Args:
            option: that forces, for the advice.

        Raises:
            GateError: with the figures of everything that failed.
        """
        if self.passed or self.forced:
            return
        failed = [check for check in self.checks if not check.passed]
        advice = _ADVICE[failed[0].name]
        raise GateError(
            "silver labels from these teachers would do no good",
            got="; ".join(check.said for check in failed),
            hint=Phrase("{}, or set {} to go on all the same", advice, option),
        )


_ADVICE = {
    "teacher": "train the teacher longer, on NLI or other pairs first, with several seeds, or add the student to the "
    "teachers with a calibration",
    "spread": "mine pairs of all kinds (kde, or semantic and random together), or train the teacher longer",
    "extremes": "train the teacher on graded scores, or for fewer epochs",
    "orders": "train the cross-encoder with both orders of each pair",
    "members": "train the teachers longer, or on more gold",
    "agreement": "look at the contested pairs: teachers and student hardly agree on anything",
}


def teacher_check(
    teacher: np.ndarray, student: np.ndarray, gold: np.ndarray, seed: int = 0
) -> tuple[Check, tuple[float, float, float] | None]:
    """Whether teachers are better on dev than the student that shall learn from them.

    Args:
        teacher, student, gold: (n,) of the same dev pairs.
        seed: of the resamples.

    Returns:
        The check, and the difference of Spearman x 100 with its 95% interval, paired.
    """
    values = [whole(spearman, scores, gold) for scores in (teacher, student)]
    if None in values:
        return Check("teacher", None, 0.0, False, "Spearman on dev is undefined: its scores are all equal"), None
    drawn = np.concatenate(
        [
            spearman(teacher, gold, weights) - spearman(student, gold, weights)
            for weights in resampled_weights(len(gold), seed)
        ]
    )
    value = 100 * (values[0] - values[1])
    low, high = (float(end) for end in 100 * np.nanquantile(drawn, (0.025, 0.975)))
    said = (
        f"on dev the teachers reach {100 * values[0]:.2f} and the student {100 * values[1]:.2f} "
        f"({value:+.2f} [{low:+.2f}, {high:+.2f}])"
    )
    return Check("teacher", value, 0.0, value > 0, said), (value, low, high)


def silver_checks(
    scores: np.ndarray, orders: np.ndarray, members: Sequence[np.ndarray], student: np.ndarray | None
) -> list[Check]:
    """What can be seen of the labels themselves.

    Args:
        scores: (n,) on 0..1.
        orders: (n, 2) scores of either order, or (n, 0).
        members: of each of several teachers its scores (n,).
        student: cosines of the student on the same pairs, or None.
    """
    spread = float(scores.std())
    extreme = float(((scores <= 0.02) | (scores >= 0.98)).mean())
    checks = [
        Check(
            "spread", spread, LEAST_SPREAD, spread >= LEAST_SPREAD, f"silver scores have a deviation of {spread:.3f}"
        ),
        Check(
            "extremes",
            extreme,
            MOST_EXTREME,
            extreme <= MOST_EXTREME,
            f"{extreme:.0%} of the silver scores lie at either end of the scale",
        ),
    ]
    if orders.shape[1]:
        checks.append(_agreement("orders", orders[:, 0], orders[:, 1], "the two orders of a pair"))
    if len(members) > 1:
        rest = np.mean(members[1:], axis=0)
        checks.append(_agreement("members", members[0], rest, "the first teacher and the others"))
    if student is not None:
        checks.append(_agreement("agreement", scores, student, "teachers and student"))
    return checks


def _agreement(name: str, one: np.ndarray, other: np.ndarray, who: str) -> Check:
    value = whole(spearman, one, other)
    shown = "undefined" if value is None else f"{100 * value:.1f}"
    passed = value is not None and value >= LEAST_AGREEMENT
    return Check(name, value, LEAST_AGREEMENT, passed, f"Spearman between {who} is {shown}")
