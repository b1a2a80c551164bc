"""Names of lines in a plot, written beside their ends."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

GAP = 0.055  # between two names, in heights of the axes
BESIDE = 1.15  # times the last x, where they stand


class End(NamedTuple):
    """Where a line ends, and what is written there."""

    x: float
    y: float
    name: str
    colour: str


def write_names(axes: Any, ends: list[End]) -> None:
    """In a column at the right, moved apart where they would overlap, each led to by a thin line.

    Args:
      axes: matplotlib's, with its scales and limits as they will stay; x beyond the last end must have room.
      ends: one at least, x above 0.
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
