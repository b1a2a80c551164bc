"""What is said on stderr: the progress bar of everything that takes long, with rate and time left, and single lines."""

from __future__ import annotations

import contextlib
import sys

import jax
from tqdm import tqdm

from score_sde.output import IfRead, PlainLines

LINE_EVERY = 10.0  # seconds, where there is no terminal


class Bar(tqdm):
    """A bar whose fractional updates may add up to a hair more than its total."""

    def update(self, n: float | None = 1) -> bool | None:
        return super().update(min(n, self.total - self.n))


def say(message: str) -> None:
    """A line, by the first host, that no bar overwrites. Where nobody reads any more the work goes on without it."""
    if jax.process_index() == 0:
        with contextlib.suppress(OSError):
            tqdm.write(message, file=sys.stderr)
            sys.stderr.flush()


def progress_bar(total: float, what: str, unit: str, show: bool = True) -> Bar:
    """A bar for `total` units of work, advanced by `update(n)` with n possibly fractional.

    Off a terminal it is a line every ten seconds at most, and only the first host shows one.
    """
    terminal = sys.stderr.isatty()
    return Bar(
        total=total,
        desc=what,
        unit=unit,
        file=IfRead(sys.stderr) if terminal else PlainLines(sys.stderr),
        disable=not show or jax.process_index() > 0,
        mininterval=0.1 if terminal else LINE_EVERY,
        bar_format="{desc}: {percentage:3.0f}% "
        + ("|{bar:30}| " if terminal else "")
        + "{n:.0f}/{total} {unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    )
