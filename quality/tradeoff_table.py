"""Quality against network evaluations, and bits/dim, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from score_sde.quality.estimate import CONFIDENCE, Estimate, decimals, quantile
from score_sde.quality.kernel_distance import block_count

COLUMNS = {
    "frechet": "Frechet distance",
    "frechet_limit": "of infinitely many",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
PLUS_MINUS = "± is a standard error: {confidence:.0%} intervals reach {normal:.3g} of them to either side, of KID, by its {kid}."


class Row(NamedTuple):
    """A sampler with its steps, or the real images of another split."""

    name: str
    steps: str
    nfe: float | None
    """Network evaluations per image; None for real images."""
    figures: dict[str, Estimate]
    """Figures by name, those of COLUMNS or others."""

    @property
    def grid(self) -> str:
        """The time grid named in `steps`; "" if an error tolerance chooses the steps, and for real images."""
        return self.steps.partition(" on ")[2]


class Bits(NamedTuple):
    """Mean bits/dim of images, with its standard error."""

    law: str
    """Which of the two model distributions is meant, in words."""
    found: Estimate
    num_images: int
    split: str


def with_error(found: Estimate) -> str:
    """Format an estimate with two significant digits of its error."""
    digits = decimals(found.error)
    value = round(found.value, digits) + 0.0  # 0 without a sign
    return f"{value:.{digits}f} ± {found.error:.{digits}f}"


def plus_minus(fewest: int, fewest_real: int | None = None) -> str:
    """Explain what ± means, for `fewest` images in the smaller set; `fewest_real`: those in the row of real images, if there is one."""
    blocks, blocks_real = (block_count(one or fewest) for one in (fewest, fewest_real))
    kid = f"{blocks} blocks, {quantile(blocks - 1):.3g}"
    if blocks_real != blocks:
        kid += (
            f" (in the row of real images, {blocks_real} blocks, {quantile(blocks_real - 1):.3g})"
        )
    return PLUS_MINUS.format(confidence=CONFIDENCE, normal=quantile(math.inf), kid=kid)


def in_a_line(bits: Sequence[Bits]) -> str:
    """Bits/dim in one line; empty if none were measured."""
    if not bits:
        return ""
    values = ", ".join(f"{with_error(one.found)} ({one.law})" for one in bits)
    return f"Bits/dim of {bits[0].num_images} images ({bits[0].split}): {values}."


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with one line per row, and a column for every figure that some row has."""
    columns = {
        name: head for name, head in COLUMNS.items() if any(name in row.figures for row in rows)
    }
    heads = ["sampler", "steps", "evaluations", *columns.values()]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        nfe = "" if row.nfe is None else f"{row.nfe:.4g}"
        cells = [with_error(row.figures[name]) if name in row.figures else "" for name in columns]
        lines.append([row.name, row.steps, nfe, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def document(rows: Sequence[Row], bits: Sequence[Bits], about: str, notes: Sequence[str]) -> str:
    """The complete Markdown document."""
    parts = [
        "# Quality against evaluations of the network",
        about,
        in_a_line(bits),
        table(rows),
        *notes,
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
