"""Labels of the lines in a plot, placed next to their ends."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

GAP = 0.055  # between two names, in heights of the axes
BESIDE = 1.15  # times the last x, where they stand


class End(NamedTuple):
    """The end of a line, and its label."""

    x: float
    y: float
    name: str
    colour: str


def write_names(axes: Any, ends: list[End]) -> None:
    """Write the labels in a column on the right, moved apart where they would overlap, each connected by a thin line.

    Args:
      axes: a matplotlib axes with its final scales and limits, and room to the right of the last end.
      ends: at least one, with x > 0.
    """
    place = axes.transScale + axes.transLimits  # to shares of width and height
    x = BESIDE * max(end.x for end in ends)
    places = {end: place.transform((x, end.y)) for end in ends}
    last = -math.inf
    for end, (column, height) in sorted(places.items(), key=lambda found: found[1][1]):
        last = max(height, last + GAP)
        axes.annotate(
            end.name,
            (end.x, end.y),
            xytext=(column, last),
            textcoords="axes fraction",
            fontsize=8.5,
            color=end.colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": end.colour, "linewidth": 0.5, "shrinkA": 0},
        )
