"""Curves and dots as inline SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

WIDTH, HEIGHT = 360.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 16.0, 10.0, 34.0
MOST_POINTS = 60  # of a curve; more become means of neighbours
ROW_HEIGHT, NAME_WIDTH = 26.0, 150.0
GRID, AXIS, TEXT = "#e3e3e3", "#8a8a8a", "#444"


@dataclass(frozen=True)
class Line:
    """A curve; points: (x, y); dash: SVG's dash pattern, "" for a full line."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]
    dash: str = ""


def line_chart(
    title: str,
    lines: Sequence[Line],
    y_range: tuple[float, float] | None = None,
    reference: tuple[float, str] | None = None,
) -> str:
    """Curves over steps, as a figure; reference: a level with its name."""
    lines = [replace(line, points=thin(line.points)) for line in lines]
    points = [p for line in lines for p in line.points]
    if not points:
        return ""
    x_high = max(x for x, _ in points) or 1.0
    low, high = y_range or _span([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / x_high * (WIDTH - LEFT - RIGHT)
        clipped = min(max(y, low), high)
        return across, TOP + (high - clipped) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for y in _ticks(low, high, 4):
        _, v = place(0, y)
        parts.append(f'<path d="M{LEFT} {v:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 6, v + 4, _number(y), "end"))
    for x in _ticks(0, x_high, 4):
        h, _ = place(x, low)
        parts.append(_text(h, HEIGHT - BOTTOM + 16, _number(x), "middle"))
    parts.append(f'<path d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="{AXIS}"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 3, "training step", "middle"))
    if reference:
        _, v = place(0, reference[0])
        parts.append(
            f'<path d="M{LEFT} {v:.1f}H{WIDTH - RIGHT}" stroke="{AXIS}" stroke-width="1.5" stroke-dasharray="2 3"/>'
        )
        parts.append(_text(WIDTH - RIGHT - 2, v - 4, reference[1], "end"))
    for line in lines:
        path = " ".join(f"{h:.1f},{v:.1f}" for h, v in (place(*p) for p in line.points))
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="2"{dash}>'
            f"<title>{escape(line.name)}</title></polyline>"
        )
    return _figure(title, parts, WIDTH, HEIGHT)


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS points: means of as many neighbours as that takes."""
    size = math.ceil(len(points) / MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), max(size, 1))]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def paired_chart(title: str, rows: Sequence[tuple[str, float, float]], colors: tuple[str, str]) -> str:
    """Two values of each row as a ring and a dot on a line, as a figure. Rows: (name, first, second)."""
    if not rows:
        return ""
    low, high = _span([value for row in rows for value in row[1:]])
    bottom = TOP + ROW_HEIGHT * len(rows)

    def across(value: float) -> float:
        return NAME_WIDTH + (value - low) / (high - low) * (WIDTH - NAME_WIDTH - 16)

    parts = []
    for value in _ticks(low, high, 4):
        parts.append(f'<path d="M{across(value):.1f} {TOP}V{bottom}" stroke="{GRID}"/>')
        parts.append(_text(across(value), bottom + 16, _number(value), "middle"))
    for place, (name, first, second) in enumerate(rows):
        v = TOP + ROW_HEIGHT * (place + 0.5)
        a, b = across(first), across(second)
        parts.append(_text(NAME_WIDTH - 10, v + 4, name, "end"))
        parts.append(f'<path d="M{a:.1f} {v}H{b:.1f}" stroke="{AXIS}" stroke-width="2"/>')
        parts.append(f'<circle cx="{a:.1f}" cy="{v}" r="5" fill="#fff" stroke="{colors[0]}" stroke-width="2.5"/>')
        parts.append(f'<circle cx="{b:.1f}" cy="{v}" r="6" fill="{colors[1]}"/>')
    parts.append(_text((NAME_WIDTH + WIDTH) / 2, bottom + 32, "Dice, mean over the organs", "middle"))
    return _figure(title, parts, WIDTH, bottom + 38)


def _figure(title: str, parts: Sequence[str], width: float, height: float) -> str:
    frame = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}"'
    return f"<figure><figcaption>{escape(title)}</figcaption><svg {frame}>{''.join(parts)}</svg></figure>"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="{TEXT}">{escape(text)}</text>'


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value with a little room; zero where all values are near it."""
    low, high = min(values), max(values)
    if low > 0 and low < 0.4 * high:
        low = 0.0
    room = 0.06 * (high - low) or max(abs(high) * 0.1, 1e-6)
    return (low if low == 0 else low - room), high + room


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two values."""
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if abs(value) < 1e-12:
        return "0"
    if abs(value) >= 1e-3:
        return f"{value:.4g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"
