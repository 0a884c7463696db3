"""The curve of a training while it goes on, as SVG: sharp on any screen, in the colours of any theme."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

HEIGHT = 148
"""CSS pixels of the picture."""

Place = Callable[[float], float]
"""Takes a value to a coordinate of the picture."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 24


def curve_svg(
    points: Sequence[tuple[float, float]],
    lines: Sequence[tuple[str, float, str]],
    *,
    width: int,
    ends: str,
    says: str,
    percent: bool = True,
) -> str:
    """Return a picture of values over the parts of a training.

    Args:
        points: Pairs of a part of the training in [0, 1] and a value, in that order.
        lines: Values to compare with: a name, the value, and the class of its line.
        width: CSS pixels.
        ends: What stands at the right end of the axis, such as ``"40 s"``.
        says: What a screen-reader says.
        percent: Whether values are fractions, shown as percentages.

    Example:
        >>> "polyline" in curve_svg([(0, 0.5), (1, 0.9)], [], width=300, ends="20 epochs", says="rises")
        True
    """
    low, high = _range([value for _, value in points] + [value for _, value, _ in lines], percent)

    def x(part: float) -> float:
        return round(_LEFT + part * (width - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    parts = [_grid(low, high, x, y, percent)]
    if points:
        path = " ".join(f"{x(part)},{y(value)}" for part, value in points)
        last = points[-1]
        parts.append(f'<polyline class="ps-curve-line" points="{path}"/>')
        parts += [f'<circle class="ps-curve-dot" cx="{x(p)}" cy="{y(v)}" r="2"/>' for p, v in points]
        parts.append(f'<circle class="ps-curve-last" cx="{x(last[0])}" cy="{y(last[1])}" r="4"/>')
    parts.append(_names(lines, x, y))
    ticks = f'<text x="{x(0)}" y="{HEIGHT - 6}">0</text>'
    ticks += f'<text x="{x(1)}" y="{HEIGHT - 6}" text-anchor="end">{escape(ends)}</text>'
    return (
        f'<svg class="ps-curve" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="{escape(says)}">{"".join(parts)}{ticks}</svg>'
    )


def _range(values: Sequence[float], percent: bool) -> tuple[float, float]:
    """Return a range with all values in it, in round numbers."""
    if not values:
        return (0.0, 1.0)
    low, high = min(values), max(values)
    if percent:
        step = 0.05 if low > 0.9 else 0.1
        return max(0.0, math.floor(low / step - 0.2) * step), 1.0
    return min(0.0, low), (high * 1.08 or 1.0)


def _grid(low: float, high: float, x: Place, y: Place, percent: bool) -> str:
    drawn = []
    for number in range(3):
        value = low + number / 2 * (high - low)
        text = f"{100 * value:.0f} %" if percent else f"{value:.3g}"
        drawn.append(
            f'<line class="ps-curve-grid" x1="{x(0)}" x2="{x(1)}" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text x="{x(0) - 6}" y="{y(value) + 4}" text-anchor="end">{text}</text>'
        )
    return "".join(drawn)


def _names(lines: Sequence[tuple[str, float, str]], x: Place, y: Place) -> str:
    """Return the lines to compare with; the first is named at its right end, the others at their left."""
    drawn = []
    for number, (name, value, kind) in enumerate(lines):
        at, anchor = (x(1), "end") if number == 0 else (x(0) + 4, "start")
        drawn.append(
            f'<line class="ps-curve-{kind}" x1="{x(0)}" x2="{x(1)}" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text class="ps-curve-name" x="{at}" y="{_beside(y(value))}" text-anchor="{anchor}">'
            f"{escape(name)}</text>"
        )
    return "".join(drawn)


def _beside(y: float) -> float:
    """Return where the name of a line stands: below one at the top, else above it."""
    return y + 14 if y < _TOP + 30 else y - 6
