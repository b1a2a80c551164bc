"""Quality figures as text: one line per figure with its error, or one line per class, followed by notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from score_sde.quality.assessment import Assessment
from score_sde.quality.estimate import CONFIDENCE, Estimate, decimals

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
    "text_right": "what the text says",
    "text_number": "  number",
    "text_colour": "  colour",
    "text_shape": "  shape",
    "nearer_than_held_out": "nearer to training images than held-out ones (1/2: nothing learnt by heart)",
}
OF_CLASSES = {  # columns of the table of classes
    "frechet_limit": "Frechet, limit",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "coverage": "coverage",
}


def with_intervals(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    """Value, error and interval of each figure as a flat dict, for a record."""
    return flat(figures) | {
        f"{name}_interval": list(figure.interval) for name, figure in figures.items()
    }


def flat(figures: Mapping[str, Estimate]) -> dict[str, float]:
    """Value and error of each figure as a flat dict."""
    return {
        key: number
        for name, figure in figures.items()
        for key, number in ((name, figure.value), (f"{name}_error", figure.error))
    }


def table(title: str, figures: Mapping[str, Any], notes: Sequence[str]) -> str:
    """A table with one line for each figure in LINES; `figures` is a result of `with_intervals`."""
    known = {name: line for name, line in LINES.items() if name in figures}
    width = max(map(len, known.values()))
    lines = [f"{'':<{width}}        value +- error    {CONFIDENCE:.0%} interval"]
    lines += [f"{line:<{width}}  {in_columns(figures, name)}" for name, line in known.items()]
    return "\n".join([title, "", *lines, *(f"note: {note}" for note in notes)])


def in_columns(figures: Mapping[str, Any], name: str) -> str:
    """Value, standard error and interval of one figure."""
    error = figures[f"{name}_error"]
    low, high = (f"{end:.{decimals(error)}f}" for end in figures[f"{name}_interval"])
    return f"{figures[name]:>11.5g} +- {error:<7.2g}  {low} .. {high}"


def table_of_classes(
    classes: Mapping[int, Assessment],
    counts: Mapping[int, tuple[int, int]],
    names: Sequence[str] | None,
) -> str:
    """A table with one line per class: numbers of images and of real images, and some figures."""
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
    about = f"note: +- is a standard error; results.jsonl has {CONFIDENCE:.0%} intervals too"
    return "\n".join([*lines, about, *notes])


def cell(figure: Estimate) -> str:
    """A figure and its error as a cell of the table."""
    return f"{figure.value:.3g} +- {figure.error:.1g}"
