"""Figures of quality for people: a line each, with its error; a line for each class; and what should be known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from score_sde.quality.assessment import Assessment
from score_sde.quality.frechet import Estimate

LINES = {
    "frechet": "Frechet distance",
    "frechet_limit": "  of infinitely many images",
    "kid": "KID",
    "inception_score": "Inception score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "mind": "MIND",
    "lpips": "LPIPS between two images",
    "lpips_real": "  between two real ones",
    "nearer_than_held_out": "nearer to training images than held-out ones (1/2: nothing learnt by heart)",
}
OF_CLASSES = {  # columns
    "frechet_limit": "Frechet, limit",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "coverage": "coverage",
}


def flat(figures: Mapping[str, Estimate]) -> dict[str, float]:
    """A value and an error each."""
    return {
        key: number
        for name, figure in figures.items()
        for key, number in ((name, figure.value), (f"{name}_error", figure.error))
    }


def table(title: str, figures: Mapping[str, Any], notes: Sequence[str]) -> str:
    """A line for each of the figures that are known here, which are as `flat` has them."""
    width = max(len(LINES[name]) for name in LINES if name in figures)
    lines = [
        f"{line:<{width}}  {figures[name]:>9.5g} +- {figures[f'{name}_error']:.2g}"
        for name, line in LINES.items()
        if name in figures
    ]
    return "\n".join([title, "", *lines, *(f"note: {note}" for note in notes)])


def table_of_classes(
    classes: Mapping[int, Assessment],
    counts: Mapping[int, tuple[int, int]],
    names: Sequence[str] | None,
) -> str:
    """A line for each class: how many images and real ones there are of it, and some figures."""
    called = {label: names[label] if names else str(label) for label in classes}
    width = max(5, *map(len, called.values()))
    heads = "".join(f"  {head:>18}" for head in OF_CLASSES.values())
    lines = [f"{'class':<{width}}  images    real{heads}"]
    for label, found in classes.items():
        cells = "".join(f"  {cell(found.figures[name]):>18}" for name in OF_CLASSES)
        images, real = counts[label]
        lines.append(f"{called[label]:<{width}}  {images:>6}  {real:>6}{cells}")
    notes = [
        f"note: class {called[label]}: {note}"
        for label, found in classes.items()
        for note in found.notes
    ]
    return "\n".join([*lines, *notes])


def cell(figure: Estimate) -> str:
    """A figure and its error, as the table shows them."""
    return f"{figure.value:.3g} +- {figure.error:.1g}"
