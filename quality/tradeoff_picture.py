"""Plot of quality against network evaluations: a curve with error bars per sampler, and a band for real images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.evaluation.line_names import End, write_names
from score_sde.files import write_whole
from score_sde.quality.tradeoff_table import COLUMNS, Row

COLOURS = ("#b5523b", "#2f6f8f", "#6b8e3d", "#8a5fa8", "#b58a1e", "#3d8b80", "#a34673", "#5a5a5a")
FARTHEST = 1000.0  # upper end of the axis, in units of twice the typical error
TICKS = (1, 2, *(5 * 2**k for k in range(18)))  # network evaluations


def save_tradeoff_picture(path: Path, rows: Sequence[Row], figure: str, title: str) -> None:
    """Write the plot atomically.

    Args:
      rows: those of one or more samplers. Rows without evaluations, for real images, are drawn as a band.
      figure: name of the figure to draw; lower is better.
    """
    # Imported here because matplotlib takes a second, which other modes should not have to wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [row for row in rows if figure in row.figures]
    canvas = Figure(figsize=(8.2, 5.0), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    set_scales(axes, drawn, figure)
    ends = [
        draw_line(axes, name, curve, figure, COLOURS[k % len(COLOURS)])
        for k, (name, curve) in enumerate(curves(drawn).items())
    ]
    for row in drawn:
        if row.nfe is None:
            draw_band(axes, row, figure)
    write_names(axes, ends)
    finish(axes, figure, title)
    write_whole(path, lambda file: canvas.savefig(file, dpi=120, format="png"), durable=False)


def curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each sampler and grid, sorted by evaluations; the grid is named if a sampler has several."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.nfe is not None:
            found.setdefault((row.name, row.grid), []).append(row)
    grids = Counter(name for name, _ in found)
    return {
        f"{name} on {grid}" if grid and grids[name] > 1 else name: sorted(
            curve, key=lambda row: row.nfe or 0.0
        )
        for (name, grid), curve in found.items()
    }


def set_scales(axes: Any, rows: Sequence[Row], figure: str) -> None:
    """Set logarithmic axes; that of the figure is linear below twice the typical error.

    This makes room for 0 and for values that are negative by chance. Values above a thousand times that threshold are cut off, so
    that they do not compress the rest.
    """
    from matplotlib.ticker import FixedLocator

    found = [row.figures[figure] for row in rows]
    low = min(0.0, *(one.value - one.error for one in found))
    high = max(one.value + one.error for one in found)
    threshold = 2.0 * float(np.median([one.error for one in found]))
    axes.set_xscale("log")
    if high > 5.0 * threshold > 0.0:
        axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
        high = min(1.5 * high, FARTHEST * threshold)
        decades = [10.0**k for k in range(-12, 13) if threshold < 10.0**k < high]
        axes.yaxis.set_major_locator(FixedLocator([*(-y for y in decades), 0.0, *decades]))
        axes.yaxis.set_minor_locator(FixedLocator([]))
    axes.set_ylim(low - 0.2 * threshold, high + 0.2 * threshold)
    nfe = [row.nfe for row in rows if row.nfe is not None]
    axes.set_xlim(0.8 * min(nfe), 2.2 * max(nfe))
    axes.xaxis.set_major_locator(FixedLocator([n for n in TICKS if n <= 1.05 * max(nfe)]))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def draw_line(axes: Any, name: str, curve: Sequence[Row], figure: str, colour: str) -> End:
    """Draw one sampler's curve with its error bars, and return the position of its name."""
    x = [row.nfe or 0.0 for row in curve]
    found = [row.figures[figure] for row in curve]
    y, errors = [one.value for one in found], [one.error for one in found]
    axes.errorbar(
        x, y, errors, color=colour, marker="o", markersize=3.5, linewidth=1.6, elinewidth=0.9
    )
    return End(x[-1], min(y[-1], axes.get_ylim()[1]), name, colour)


def draw_band(axes: Any, row: Row, figure: str) -> None:
    """Draw a band of one standard error to each side of the value."""
    value, error = row.figures[figure][:2]
    axes.axhspan(value - error, value + error, color="#888888", alpha=0.15, linewidth=0)
    axes.axhline(value, color="#888888", linewidth=0.9, linestyle=":")
    at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(row.name, (0.01, value), xytext=(0, 3), fontsize=8, color="#666666", **at)


def finish(axes: Any, figure: str, title: str) -> None:
    """Set titles, tick labels and the grid."""
    from matplotlib.ticker import FuncFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    words = {"frechet_limit": "Frechet distance of infinitely many images"}
    axes.set_ylabel(words.get(figure, COLUMNS[figure]))
    axes.set_xlabel("evaluations of the network for an image")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(True, which="major", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
