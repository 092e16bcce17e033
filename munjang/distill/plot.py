"""The figure of a plan as SVG: speed across on a log scale, dev upwards, a circle's area is the size on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from munjang.page import COLOURS

_STUDENT, _OTHER, _CHOSEN = COLOURS[:3]
_FONT = 13
#: Margins in pixels: left, right, top, bottom.
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 26, 44
_STEPS = (1, 2, 5)


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True)
class _Axis:
    """Numbers to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def trade_off(models: Sequence[Mapping[str, Any]], width: int, height: int) -> Markup:
    """The figure as an `svg` element.

    Args:
        models: of a plan's report, at least one.
        width: in pixels, as is `height`.
    """
    largest = min(width, height) / 13
    logs = [math.log10(max(one["per_second"], 1e-3)) for one in models]
    devs = [one["dev"] for one in models]
    across = _Axis(*_around(logs, 0.15), _LEFT, width - _RIGHT)
    up = _Axis(*_around(devs, 1.0), height - _BOTTOM, _TOP)
    most = max(one["bytes"] for one in models)
    circles = [
        (one, across(speed), up(one["dev"]), max(largest * math.sqrt(one["bytes"] / max(most, 1)), 3.0))
        for one, speed in zip(models, logs, strict=True)
    ]
    parts = [*_grid(across, up, width, height), _front(circles)]
    # The largest first, so that no circle hides a smaller one.
    parts += [_circle(*circle) for circle in sorted(circles, key=lambda circle: -circle[3])]
    parts += _labels(circles, _Box(_LEFT, 0, width, height - _BOTTOM))
    return Markup('<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">{2}</svg>').format(
        width, height, Markup("\n").join(parts)
    )


def _around(values: Sequence[float], least: float) -> tuple[float, float]:
    """Ends of an axis with room for circles; `least` apart at least."""
    low, high = min(values), max(values)
    room = max(0.14 * (high - low), least / 2)
    return low - room, high + room


def _speeds(low: float, high: float) -> Iterator[float]:
    """Round speeds between two exponents of ten: 1, 2 and 5, or more digits where that is not three of them."""
    for digits in (_STEPS, (1, 2, 3, 5, 7), range(1, 10), [d / 10 for d in range(10, 100)]):
        powers = range(math.floor(low), math.ceil(high) + 1)
        found = [d * 10.0**p for p in powers for d in digits if low <= math.log10(d * 10.0**p) <= high]
        if len(found) >= 3:
            break
    yield from found[:: math.ceil(len(found) / 6)]


def _round_values(low: float, high: float) -> Iterator[float]:
    """About five round numbers between two."""
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next((s * size for s in _STEPS if s * size >= rough), 10 * size)
    first = math.ceil(low / step)
    yield from (number * step for number in range(first, math.floor(high / step) + 1))


def _grid(across: _Axis, up: _Axis, width: int, height: int) -> Iterator[Markup]:
    bottom, right = height - _BOTTOM, width - _RIGHT
    for value in _round_values(up.low, up.high):
        y = up(value)
        yield _line(_LEFT, y, right, y)
        yield _text(_LEFT - 6, y + 4, f"{value:g}", "end")
    for value in _speeds(across.low, across.high):
        x = across(math.log10(value))
        yield _line(x, _TOP, x, bottom)
        yield _text(x, bottom + 17, f"{value:,.0f}" if value >= 10 else f"{value:.2g}", "middle")
    yield _text((_LEFT + right) / 2, height - 6, "문장/초 · sentences per second", "middle")
    yield _text(_LEFT - 6, 14, "dev", "end")


def _line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    place = (f"{value:.1f}" for value in (x1, y1, x2, y2))
    return Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*place)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}" font-size="{}">{}</text>').format(
        kind, x, y, anchor, _FONT, text
    )


def _front(circles: Sequence[tuple[Mapping[str, Any], float, float, float]]) -> Markup:
    """A line through the students that no other beats, from slow to fast."""
    points = sorted((x, y) for one, x, y, _ in circles if one["front"])
    return Markup('<polyline class="front" points="{}" stroke="{}"/>').format(
        " ".join(f"{x:.1f},{y:.1f}" for x, y in points), _STUDENT
    )


def _circle(one: Mapping[str, Any], x: float, y: float, radius: float) -> Markup:
    colour = _CHOSEN if one["chosen"] else _STUDENT if one["role"] == "student" else _OTHER
    said = f"{one['label']}: {one['per_second']:,.0f}/s, dev {one['dev']:.2f}, {one['bytes'] / 1e6:,.1f} MB"
    shape = '<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="{}" stroke="{}"><title>{}</title></circle>'
    return Markup(shape).format(x, y, radius, colour, colour, said)


def _labels(circles: Sequence[tuple[Mapping[str, Any], float, float, float]], inside: _Box) -> Iterator[Markup]:
    """A name beside each circle, where it meets no other name and as few circles as can be."""
    taken: list[_Box] = []
    discs = [_Box(x - r, y - r, x + r, y + r) for _, x, y, r in circles]
    for (one, x, y, radius), own in zip(circles, discs, strict=True):
        text = one["label"] if len(one["label"]) <= 24 else one["label"][:23] + "…"
        width = 0.62 * _FONT * len(text)
        others = [disc for disc in discs if disc is not own]
        place, anchor, box = min(
            _places(x, y, radius, width),
            key=lambda found: _crowd(found[2], inside, taken, others),
        )
        taken.append(box)
        yield _text(*place, text, anchor, "name chosen" if one["chosen"] else "name")


def _places(x: float, y: float, radius: float, width: float) -> Iterator[tuple[tuple[float, float], str, _Box]]:
    """Where a name may stand: right, left, above and below the circle, as (baseline, anchor, box)."""
    gap, high = radius + 4, _FONT
    beside: Callable[[float], _Box] = lambda left: _Box(left, y - high / 2 - 2, left + width, y + high / 2 + 2)  # noqa: E731
    yield (x + gap, y + 4), "start", beside(x + gap)
    yield (x - gap, y + 4), "end", beside(x - gap - width)
    for baseline in (y - gap - 2, y + gap + high - 2, y - gap - 18, y + gap + high + 14):
        yield (x, baseline), "middle", _Box(x - width / 2, baseline - high, x + width / 2, baseline + 4)


def _crowd(box: _Box, inside: _Box, taken: Sequence[_Box], others: Sequence[_Box]) -> int:
    """How badly a name stands in a box: outside of the figure, on another name, on other circles."""
    within = inside.left <= box.left and box.right <= inside.right and inside.top <= box.top <= inside.bottom - 8
    return 1000 * (not within) + 100 * sum(map(box.meets, taken)) + sum(map(box.meets, others))
