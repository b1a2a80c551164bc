"""The errors as a picture: a panel for each measure, error against evaluations on logarithmic scales."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.records import BUDGETS, Record, by_sampler, curve, ranking

TITLES = {
    "flow": ("Exact flow of a mixture", "RMS distance from the flow"),
    "law": ("Exact law of a mixture, stochastic samplers", "Kolmogorov-Smirnov distance"),
    "digits_flow": ("Trained network: distance from its flow", "RMS distance in pixels of [-1, 1]"),
    "digits_law": ("Trained network: distance from real digits", "Frechet distance in pixel space"),
}
KNOWN = ("euler", "heun", "dopri5 adaptive", "euler_maruyama", "reverse_diffusion + langevin")
BEST_AT = 20  # evaluations
COLOURS = ("#b5523b", "#2f6f8f", "#6b8e3d")  # of so many of the best there
KNOWN_COLOUR, OTHERS_COLOUR = "#444444", "#d4d4d4"


def draw_picture(records: list[Record], floors: dict[str, float], path: Path) -> None:
    """Write the picture to a PNG file."""
    from matplotlib.figure import Figure

    measures = [name for name in TITLES if by_sampler(records, name)]
    rows, columns = math.ceil(len(measures) / 2), min(len(measures), 2)
    figure = Figure(figsize=(6.6 * columns, 4.4 * rows), layout="constrained")
    for index, measure in enumerate(measures):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw_panel(axes, by_sampler(records, measure), floors.get(measure))
        title, what = TITLES[measure]
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.set_ylabel(what)
        axes.set_xlabel("network evaluations (NFE)")
    figure.savefig(path, dpi=130)


def draw_panel(axes: Any, samplers: dict[str, list[Record]], floor: float | None) -> None:
    """The best few in colour, well-known ones in dark grey, all others in pale grey; names at the ends of their lines."""
    best = [record.sampler for record in ranking(samplers, BEST_AT)[: len(COLOURS)]]
    colours = dict(zip(best, COLOURS, strict=False))
    labels = []
    for name, records in samplers.items():
        points = curve(records)
        if not points:
            continue
        x, y = [p.nfe for p in points], [p.error for p in points]
        known = name in KNOWN
        colour = colours.get(name, KNOWN_COLOUR if known else OTHERS_COLOUR)
        shown = name in colours or known
        style = "--" if known and name not in colours else "-"
        axes.plot(
            x,
            y,
            style,
            color=colour,
            marker="o" if shown else None,
            markersize=3.5,
            linewidth=1.8 if shown else 1.0,
            zorder=3 if shown else 1,
        )
        if shown:
            labels.append((x[-1], y[-1], name, colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_xlim()
    axes.set_xticks(BUDGETS, [str(n) for n in BUDGETS])
    axes.minorticks_off()
    label_decades(axes)
    axes.set_xlim(low, 2.6 * high)
    if floor:
        axes.axhline(floor, color="#888888", linewidth=0.9, linestyle=":")
        axes.annotate(
            "cannot be told from exact",
            (low, floor),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color="#888888",
        )
    write_labels(axes, labels)
    axes.grid(True, which="major", color="#eeeeee")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def label_decades(axes: Any) -> None:
    """Also 2 and 5 of each power of ten, where there are few powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = axes.get_ylim()
    if high / low < 300:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def write_labels(axes: Any, labels: list[tuple[float, float, str, str]]) -> None:
    """Names at the ends of lines, moved apart vertically where they would overlap."""
    bottom, top = (math.log(limit) for limit in axes.get_ylim())
    gap = 0.045 * (top - bottom)
    last = -math.inf
    for x, y, name, colour in sorted(labels, key=lambda label: label[1]):
        last = max(math.log(y), last + gap)
        axes.annotate(
            name,
            (x, y),
            xytext=(1.06 * x, math.exp(last)),
            textcoords="data",
            fontsize=8.5,
            color=colour,
            va="center",
        )
