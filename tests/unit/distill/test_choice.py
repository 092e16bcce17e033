"""Which models are worth having: the Pareto front, and the one that is taken."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from munjang.distill.choice import Point, choose, least_dev, pareto_front

# Few values, so that points tie often.
POINTS = st.builds(
    Point, st.integers(1, 6), st.integers(1, 6).map(float), st.integers(-3, 6).map(lambda score: 10.0 * score)
)
MANY = st.lists(POINTS, min_size=1, max_size=9)
KEEP = st.floats(0.01, 1.0)


def beats(one: Point, other: Point) -> bool:
    better = (one.bytes < other.bytes, one.per_second > other.per_second, one.dev > other.dev)
    worse = (one.bytes > other.bytes, one.per_second < other.per_second, one.dev < other.dev)
    return any(better) and not any(worse)


@given(MANY)
def test_the_front_holds_exactly_what_nothing_beats(points: list[Point]) -> None:
    front = pareto_front(points)
    assert any(front)
    for point, on_it in zip(points, front, strict=True):
        assert on_it != any(beats(other, point) for other in points)
        # What is not on it is beaten by something that is.
        assert on_it or any(beats(other, point) for other, there in zip(points, front, strict=True) if there)


@given(MANY, st.randoms())
def test_the_front_does_not_depend_on_the_order(points: list[Point], draw: object) -> None:
    shuffled = list(points)
    draw.shuffle(shuffled)
    known = dict(zip(points, pareto_front(points), strict=True))
    assert [known[point] for point in shuffled] == pareto_front(shuffled)


@given(MANY, KEEP)
def test_the_fastest_that_is_good_enough_is_taken(points: list[Point], keep: float) -> None:
    taken = points[choose(points, keep)]
    least = least_dev(points, keep)
    assert taken.dev >= least
    for other in points:
        if other.dev >= least:
            assert (taken.per_second, -taken.bytes) >= (other.per_second, -other.bytes)


@given(MANY)
def test_all_of_the_best_score_asks_for_the_best(points: list[Point]) -> None:
    assert points[choose(points, 1.0)].dev == max(point.dev for point in points)


@given(MANY, KEEP)
def test_less_quality_never_buys_less_speed(points: list[Point], keep: float) -> None:
    assume(keep < 0.9)
    strict, loose = (points[choose(points, share)] for share in (keep + 0.1, keep))
    assert loose.per_second >= strict.per_second


def test_ties_are_broken_by_size_then_by_place() -> None:
    points = [Point(9, 100.0, 80.0), Point(5, 100.0, 79.0), Point(5, 100.0, 80.0), Point(1, 200.0, 70.0)]
    assert choose(points, 0.98) == 1
    assert choose(points, 1.0) == 2
    assert choose(points, 0.5) == 3


def test_the_best_is_good_enough_where_no_score_is_above_0() -> None:
    points = [Point(1, 1.0, -5.0), Point(1, 9.0, -50.0)]
    assert choose(points, 0.98) == 0
