"""Picture of the errors of samplers: one log-log panel of error against evaluations for each measure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.records import BUDGETS, Record, by_sampler, curve, ranking
from score_sde.evaluation.line_names import End, write_names


class Panel(NamedTuple):
    """Title, axis label and floor label of a panel."""

    title: str
    error: str
    floor: str
    """The label of the floor, the error below which samplers cannot be distinguished."""


PANELS = {
    "flow": Panel("Exact flow of a mixture", "RMS distance from the flow", ""),
    "law": Panel(
        "Exact law of a mixture, stochastic samplers", "Kolmogorov-Smirnov distance", "true samples"
    ),
    "digits_flow": Panel(
        "Trained network: distance from its flow",
        "RMS distance in pixels of [-1, 1]",
        "the reference's own error",
    ),
    "digits_law": Panel(
        "Trained network: distance from real digits",
        "Frechet distance in pixel space",
        "real digits",
    ),
}
KNOWN = ("euler", "heun", "dopri5 adaptive", "euler_maruyama", "reverse_diffusion + langevin")
BEST_AT = 20  # evaluations
COLOURS = ("#b5523b", "#2f6f8f", "#6b8e3d")  # of the best samplers at BEST_AT
KNOWN_COLOUR, OTHERS_COLOUR = "#444444", "#d4d4d4"
WORST = 3.0  # upper limit of the error axis


def draw_picture(records: list[Record], floors: dict[str, float], path: Path) -> None:
    """Write the picture to a PNG file."""
    from matplotlib.figure import Figure

    measures = [name for name in PANELS if by_sampler(records, name)]
    rows, columns = math.ceil(len(measures) / 2), min(len(measures), 2)
    figure = Figure(figsize=(6.6 * columns, 4.4 * rows), layout="constrained")
    for index, measure in enumerate(measures):
        axes = figure.add_subplot(rows, columns, index + 1)
        if measure in floors:
            draw_floor(axes, PANELS[measure].floor, floors[measure])
        draw_lines(axes, by_sampler(records, measure), floors.get(measure, math.inf))
        finish(axes, PANELS[measure])
    figure.savefig(path, dpi=130)


def draw_lines(axes: Any, samplers: dict[str, list[Record]], floor: float) -> None:
    """Draw the best few samplers in color, well-known ones in dark gray and all others in pale gray."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    best = [record.sampler for record in ranking(samplers, BEST_AT)[: len(COLOURS)]]
    colours = dict(zip(best, COLOURS, strict=False))
    ends, errors = [], []
    for name, records in samplers.items():
        points = curve(records)
        x, y = [p.nfe for p in points], [p.error for p in points]
        if name not in colours and name not in KNOWN:
            axes.plot(x, y, color=OTHERS_COLOUR, linewidth=1.0, zorder=1)
        elif points:
            style = "-" if name in colours else "--"
            colour = colours.get(name, KNOWN_COLOUR)
            axes.plot(x, y, style, color=colour, marker="o", markersize=3.5, linewidth=1.8)
            ends.append(End(x[-1], y[-1], name, colour))
            errors += y
    if not ends:
        return
    # Errors that are far larger at few evaluations would compress the rest.
    axes.set_ylim(0.6 * min(floor, *errors), min(2.0 * max(errors), WORST))
    last = max(end.x for end in ends)
    axes.set_xlim(3.7, 2.8 * last)
    axes.set_xticks(*zip(*((n, str(n)) for n in BUDGETS if n < 1.05 * last), strict=True))
    write_names(axes, ends)


def draw_floor(axes: Any, words: str, floor: float) -> None:
    """Draw the line below which samplers cannot be distinguished, with its label."""
    axes.axhline(floor, color="#888888", linewidth=0.9, linestyle=":")
    at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(words, (0.01, floor), xytext=(0, 3), fontsize=8, color="#888888", **at)


def finish(axes: Any, panel: Panel) -> None:
    """Set title, labels, ticks and grid."""
    axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(panel.error)
    axes.set_xlabel("network evaluations (NFE)")
    axes.minorticks_off()
    label_decades(axes)
    axes.grid(True, which="major", color="#eeeeee")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def label_decades(axes: Any) -> None:
    """Add ticks at 2 and 5 times each power of ten if the axis spans only a few powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = axes.get_ylim()
    if high / low < 300:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
