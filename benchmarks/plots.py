"""A line over time as SVG, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil

__all__ = ["line_plot"]

_WIDTH, _HEIGHT = 800, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 45
_LINES = 4  # across, each with its value


def line_plot(
    title: str, x_unit: str, y_unit: str, points: Sequence[tuple[float, float]]
) -> str:
    """Draw points in order of x; y begins at 0, so that flat looks flat.

    Args:
        title: above it.
        x_unit: of what is across.
        y_unit: of what is up.
        points: one or more.
    """
    last = max(1e-9, points[-1][0])
    most = _round_up(max(y for _, y in points))
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + wide * x / last, _TOP + high * (1 - y / most)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for number in range(_LINES + 1):
        value = most * number / _LINES
        x, y = place(0, value)
        parts.append(
            f'<path d="M{x:.1f} {y:.1f}h{wide}" stroke="#ddd"/>'
            f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
        x, y = place(last * number / _LINES, 0)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">'
            f"{last * number / _LINES:.4g}</text>"
        )
    parts += [
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">'
        f"{escape(x_unit)}</text>",
        f'<text x="{_LEFT - 8}" y="{_TOP - 8}" text-anchor="end">'
        f"{escape(y_unit)}</text>",
        f'<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _round_up(value: float) -> float:
    """To 1, 2 or 5 and zeros, so that quarters of it read well."""
    unit = 1.0
    while unit * 10 <= value:
        unit *= 10
    return unit * 2 * max(1, ceil(value / unit / 2))
