"""Picture of cost growth: one log-log panel per curve, with a line of exponent 1."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

LINE, GUIDE = "#2f6f8f", "#bbbbbb"


def draw_picture(curves: list[list[Any]], path: Path) -> None:
    """Write a PNG file; a curve is a list of points with axis, measure, at, value and unit."""
    from matplotlib.figure import Figure

    columns = min(len(curves), 4)
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(3.6 * columns, 3.1 * rows), layout="constrained")
    for index, curve in enumerate(curves):
        draw_curve(figure.add_subplot(rows, columns, index + 1), curve)
    figure.savefig(path, dpi=120)


def draw_curve(axes: Any, curve: list[Any]) -> None:
    """Draw the curve, and unless it counts evaluations, the straight line from 0 through its last point."""
    points = [point for point in curve if point.at > 0]
    x, y = [point.at for point in points], [point.value for point in points]
    if "evaluations" not in curve[0].unit:
        axes.loglog(x, [y[-1] * at / x[-1] for at in x], "--", color=GUIDE, label="exponent 1")
        axes.legend(frameon=False, fontsize=8)
    axes.loglog(x, y, "o-", color=LINE)
    axes.set_title(curve[0].measure, fontsize=10)
    axes.set_xlabel(curve[0].axis)
    axes.set_ylabel(curve[0].unit)
    axes.set_xticks(x, [f"{at:g}" for at in x], rotation=45)
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
