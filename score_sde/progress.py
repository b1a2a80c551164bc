"""The progress bar of everything that takes long: rate and time left, on stderr."""

from __future__ import annotations

import sys

import jax
from tqdm import tqdm


class Bar(tqdm):
    """A bar whose fractional updates may add up to a hair more than its total."""

    def update(self, n: float | None = 1) -> bool | None:
        return super().update(min(n, self.total - self.n))


def progress_bar(total: float, what: str, unit: str, show: bool = True) -> Bar:
    """A bar for `total` units of work, advanced by `update(n)` with n possibly fractional.

    Off a terminal it prints a line every ten seconds at most, and only the first host shows one.
    """
    quiet = not show or jax.process_index() > 0
    return Bar(
        total=total,
        desc=what,
        unit=unit,
        disable=quiet,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        bar_format="{desc}: {percentage:3.0f}% |{bar:30}| {n:.0f}/{total} {unit} "
        "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    )
