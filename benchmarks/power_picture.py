"""Picture of power against the number of samples: a row for each set of images and features, a column for each fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fault_images import FAULTS
from benchmarks.power import Power

# Distances in blues and greens, fractions in reds and yellows, comparisons with held-out images in black; dotted: by standard errors.
STYLES = {
    "Frechet distance": ("#1f4e79", "-"),
    "Frechet limit, its error": ("#1f4e79", ":"),
    "KID": ("#2a9d8f", "-"),
    "KID, its error": ("#2a9d8f", ":"),
    "MIND": ("#7fb3d5", "-"),
    "precision": ("#c0392b", "-"),
    "density": ("#e67e22", "-"),
    "recall": ("#8e44ad", "-"),
    "coverage": ("#d4ac0d", "-"),
    "nearer than held-out": ("#222222", "-"),
    "nearer, its error": ("#222222", ":"),
    "Inception score": ("#6b8e3d", "--"),
}
ALARM, WANTED = 0.05, 0.9


def draw_picture(stored: Mapping[str, Sequence[Power]], path: Path) -> None:
    """Write a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * len(FAULTS), 2.3 * len(stored) + 0.9), layout="constrained")
    axes = figure.subplots(len(stored), len(FAULTS), sharey=True, sharex="row", squeeze=False)
    lines: dict[str, Any] = {}
    for row, (name, measured) in zip(axes, stored.items(), strict=True):
        for panel, fault in zip(row, FAULTS, strict=True):
            lines |= draw_panel(panel, [power for power in measured if power.fault == fault])
        row[0].set_ylabel(f"{name}\npower", fontsize=9)
    for panel, fault in zip(axes[0], FAULTS, strict=True):
        panel.set_title(fault, fontsize=10)
    for panel in axes[-1]:
        panel.set_xlabel("samples", fontsize=9)
    named = {name: lines[name] for name in STYLES if name in lines}
    figure.legend(
        named.values(), named.keys(), loc="outside lower center", ncols=6, fontsize=8, frameon=False
    )
    figure.savefig(path, dpi=100)


def draw_panel(axes: Any, measured: Sequence[Power]) -> dict[str, Any]:
    """Draw the lines of one fault, and return them by figure."""
    axes.set_xscale("log")
    for level in (ALARM, WANTED):
        axes.axhline(level, color="#bbbbbb", linewidth=0.8, zorder=0)
    found = {}
    for name, (colour, style) in STYLES.items():
        points = [power for power in measured if power.figure == name]
        if points:
            x, y = [power.n for power in points], [power.power for power in points]
            (found[name],) = axes.plot(x, y, style, color=colour, marker=".", linewidth=1.4)
    numbers = sorted({power.n for power in measured})
    axes.set_xticks(numbers, [str(n) for n in numbers], fontsize=7)
    axes.minorticks_off()
    axes.set_ylim(-0.03, 1.03)
    axes.spines[["top", "right"]].set_visible(False)
    return found
