"""Which of several measured models are worth having, and which one is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """What a model costs and gives."""

    bytes: int
    """On disk; fewer are better."""
    per_second: float
    """Sentences; more are better."""
    dev: float
    """Score x 100; higher is better."""


def pareto_front(points: Sequence[Point]) -> list[bool]:
    """For each point, whether none of the others is as good in everything and better in something.

    Args:
        points: any number; equal ones stand on the front together.
    """
    return [not any(_beats(other, one) for other in points) for one in points]


def _beats(one: Point, other: Point) -> bool:
    pairs = ((-one.bytes, -other.bytes), (one.per_second, other.per_second), (one.dev, other.dev))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def least_dev(points: Sequence[Point], keep: float) -> float:
    """The dev score from which on a point is good enough: `keep` times the best.

    Of a best score below 0 the distance to it is the same as above 0, so that the best is always good enough.

    Args:
        points: at least one.
        keep: share, in 0..1.
    """
    best = max(point.dev for point in points)
    return best - (1 - keep) * abs(best)


def choose(points: Sequence[Point], keep: float) -> int:
    """The place of the fastest point that is good enough; of equally fast ones the smallest, then the first.

    Args:
        points: at least one.
        keep: share of the best dev score that it must reach, in 0..1.
    """
    least = least_dev(points, keep)
    fit = [i for i, point in enumerate(points) if point.dev >= least]
    return min(fit, key=lambda i: (-points[i].per_second, points[i].bytes, i))
