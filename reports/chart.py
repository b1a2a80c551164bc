"""Charts as SVG in the colours of the page; a wider screen puts more of them in a row, with letters of the same size."""

from __future__ import annotations

import math
from collections.abc import Mapping

from score_sde.reports.elements import text
from score_sde.reports.reading import Points

WIDTH, HEIGHT = 380, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 10, 26
# Per curve; longer ones keep both ends, and the minimum and maximum of each of MOST_POINTS / 2 - 1 parts between them.
MOST_POINTS = 400
LOG_RANGE = 4  # ratio of largest to smallest value above which a scale is logarithmic


def thinned(points: Points) -> Points:
    """Thin out a curve to at most MOST_POINTS points, preserving its ends and peaks."""
    if len(points) <= MOST_POINTS:
        return points
    first, *inner, last = points
    parts = MOST_POINTS // 2 - 1
    kept = [first]
    for i in range(parts):
        part = inner[i * len(inner) // parts : (i + 1) * len(inner) // parts]
        least, greatest = min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])
        kept.extend(sorted({least, greatest}))
    return [*kept, last]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Equally spaced round numbers between `low` and `high`, about `most` of them."""
    span = high - low
    if not span / most > 0:  # underflow of the smallest numbers
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / most))
    distance = next(m * unit for m in (1, 2, 5, 10) if span / (m * unit) <= most)
    first, last = math.ceil(low / distance - 1e-9), math.floor(high / distance + 1e-9)
    return [i * distance for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between `low` and `high`, with more of their multiples the narrower the range is."""
    span = math.log10(high) - math.log10(low)
    factors = (
        (1.0,) if span > 3 else (1.0, 2.0, 5.0) if span > 1 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    )
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [f * 10.0**d for d in decades[:: max(1, round(span / 5))] for f in factors]
    return [tick for tick in found if low * 0.999 <= tick <= high * 1.001]


def short(value: float) -> str:
    """Format a number for an axis or a legend: 1,300, 1.3M, 0.132, 2e-05."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.2g}"
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= least:
            return f"{value / unit:.4g}{letter}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


class Scale:
    """A map from values to positions along an axis."""

    def __init__(self, values: list[float], first: float, last: float, log: bool = False):
        self.low, self.high = min(values), max(values)
        self.log = log
        if self.low == self.high:
            margin = abs(self.low) * 0.1 or 1.0
            self.low, self.high = self.low - margin, self.high + margin
        self.first, self.last = first, last

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.first + (value - low) / (high - low) * (self.last - self.first)

    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


def chart(
    title: str, curves: Mapping[str, Points], what: str = "", may_be_log: bool = False
) -> str:
    """A figure with a line for each curve, named in the legend; "" if all curves are empty.

    Args:
      what: text next to the title.
      may_be_log: whether to use a logarithmic scale if all values are positive and span a wide range.
    """
    curves = {name: thinned(points) for name, points in curves.items() if points}
    if not curves:
        return ""
    steps = [step for points in curves.values() for step, _ in points]
    values = [value for points in curves.values() for _, value in points]
    log = may_be_log and min(values) > 0 and max(values) > LOG_RANGE * min(values)
    x = Scale(steps, LEFT, WIDTH - RIGHT)
    y = Scale(values, HEIGHT - BOTTOM, TOP, log)
    drawn = [*horizontal(y), *vertical(x), *lines(curves, x, y)]
    legend = "".join(
        f'<li><i class="c{i % 4}"></i>{text(name)} <b>{short(points[-1][1])}</b></li>'
        for i, (name, points) in enumerate(curves.items())
    )
    beside = ", ".join(filter(None, (text(what), "log scale" if log else "")))
    return (
        f"<figure><figcaption>{text(title)} <small>{beside}</small></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)} by step">{"".join(drawn)}</svg>'
        f'<ul class="legend">{legend}</ul></figure>'
    )


def horizontal(y: Scale) -> list[str]:
    """Grid lines at the ticks of the y axis, with their labels."""
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        for tick, at in ((tick, y(tick)) for tick in y.ticks())
    ]


def vertical(x: Scale) -> list[str]:
    """Labels at the ticks of the x axis."""
    y = HEIGHT - 8
    return [
        f'<text class="axis" x="{LEFT - 22}" y="{y}">step</text>',
        *(
            f'<text x="{at:.1f}" y="{y}" text-anchor="middle">{short(tick)}</text>'
            for tick, at in ((tick, x(tick)) for tick in ticks(x.low, x.high, 4))
        ),
    ]


def lines(curves: Mapping[str, Points], x: Scale, y: Scale) -> list[str]:
    """The curves as SVG elements."""
    drawn = []
    for i, points in enumerate(curves.values()):
        places = [f"{x(step):.1f},{y(value):.1f}" for step, value in points]
        drawn.append(f'<polyline class="c{i % 4}" points="{" ".join(places)}"/>')
        if len(points) <= 12:  # few measurements, as from evaluations: mark each point
            drawn += [
                f'<circle class="c{i % 4}" cx="{place.split(",")[0]}" cy="{place.split(",")[1]}" r="2.6">'
                f"<title>step {short(step)}: {short(value)}</title></circle>"
                for place, (step, value) in zip(places, points, strict=True)
            ]
    return drawn
