# SPDX-License-Identifier: Apache-2.0
"""Line charts as inline SVG: no script, no font, nothing from elsewhere. Colours are the page's CSS variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 560
HEIGHT: Final = 220
LEFT: Final = 56
RIGHT: Final = 12
TOP: Final = 12
BOTTOM: Final = 28
TICKS: Final = 4
# Ends of an axis, and distances of its ticks, times a power of ten.
CEILINGS: Final = (1, 1.2, 1.6, 2, 2.5, 3, 4, 5, 6, 8, 10)
INTERVALS: Final = (1, 2, 5, 10)
# Points drawn at most: more cannot be told apart at this width.
MAX_POINTS: Final = 600


@dataclass(frozen=True, slots=True)
class Line:
    """One series. None breaks the line."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    unit: str
    x: Sequence[float]
    lines: Sequence[Line]
    x_unit: str = "s"
    bound: float | None = None
    """A horizontal line: what must not be crossed."""
    logarithmic: bool = False


def nice_ceiling(value: float, steps: Sequence[float] = CEILINGS) -> float:
    """The least of `steps` times a power of ten that is not below."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in steps if step * power >= value * (1 - 1e-9))


def label(value: float) -> str:
    """Short: 1.5k, 20M."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


class _Scale:
    """Values to vertical positions."""

    def __init__(self, most: float, least: float, *, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        if logarithmic:
            self.low = 10.0 ** math.floor(math.log10(max(least, 1e-3)))
            self.high = 10.0 ** math.ceil(math.log10(max(most, self.low * 10)))
            decades = round(math.log10(self.high / self.low))
            self.ticks = [self.low * 10**decade for decade in range(decades + 1)]
        else:
            self.low, self.high = 0.0, nice_ceiling(most)
            self.ticks = [self.high * tick / TICKS for tick in range(TICKS + 1)]

    def y(self, value: float) -> float:
        if self._logarithmic:
            share = math.log10(max(value, self.low) / self.low) / math.log10(self.high / self.low)
        else:
            share = value / self.high
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(1.0, max(0.0, share)))


def draw(chart: Chart) -> str:
    """A figure element with caption, picture and legend."""
    values = [value for line in chart.lines for value in line.values if value is not None]
    title = f"{escape(chart.title)}" + (f" <small>{escape(chart.unit)}</small>" if chart.unit else "")
    if not values or not chart.x:
        return f"<figure><figcaption>{title}</figcaption><p class=none>nothing was measured</p></figure>"
    positive = [value for value in values if value > 0]
    shown = [*values, *([chart.bound] if chart.bound is not None and chart.bound <= 4 * max(values) else [])]
    scale = _Scale(max(shown), min(positive, default=1.0), logarithmic=chart.logarithmic)
    first, last = chart.x[0], chart.x[-1]
    span = max(1e-9, last - first)

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - first) / span

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title, quote=True)}">']
    parts += [_grid(scale.y(tick), label(tick)) for tick in scale.ticks]
    parts += [f'<text class="x" x="{x(at):.1f}" y="{HEIGHT - 8}">{label(at)}</text>' for at in _x_ticks(first, last)]
    parts.append(f'<text class="x" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" dx="-2">{escape(chart.x_unit)}</text>')
    if chart.bound is not None and scale.low <= chart.bound <= scale.high:
        y = scale.y(chart.bound)
        parts.append(f'<line class="bound" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for index, line in enumerate(chart.lines):
        path = _path([(x(at), scale.y(value)) if value is not None else None for at, value in _thin(chart.x, line)])
        parts.append(f'<path class="line l{index}" d="{path}"/>')
    parts.append("</svg>")
    return f"<figure><figcaption>{title}</figcaption>{''.join(parts)}{_legend(chart)}</figure>"


def _legend(chart: Chart) -> str:
    names = [f'<span><i class="l{index}"></i>{escape(line.name)}</span>' for index, line in enumerate(chart.lines)]
    if chart.bound is not None:
        names.append(f'<span><i class="bound"></i>bound {label(chart.bound)}</span>')
    return f"<p class=legend>{''.join(names)}</p>" if len(names) > 1 or chart.lines[0].name else ""


def _grid(y: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="y" x="{LEFT - 6}" y="{y + 3.5:.1f}">{text}</text>'
    )


def _x_ticks(first: float, last: float) -> list[float]:
    """At round numbers, some five of them, clear of the unit at the right."""
    step = nice_ceiling((last - first) / 6 or 1.0, INTERVALS)
    begin = math.ceil(first / step)
    ticks = [step * number for number in range(begin, begin + 20)]
    return [tick for tick in ticks if tick <= last - (last - first) * 0.04]


def _thin(x: Sequence[float], line: Line) -> list[tuple[float, float | None]]:
    """Of each group of neighbours the largest: a peak stays."""
    pairs = list(zip(x, line.values, strict=True))
    group = -(-len(pairs) // MAX_POINTS)
    if group <= 1:
        return pairs
    chunks = (pairs[at : at + group] for at in range(0, len(pairs), group))
    return [max(chunk, key=lambda pair: -1.0 if pair[1] is None else pair[1]) for chunk in chunks]


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    commands, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        commands.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
        pen = "L"
    return "".join(commands)
