"""Messages on stderr: progress bars with rate and remaining time, and single lines."""

from __future__ import annotations

import contextlib
import sys

import jax
from tqdm import tqdm

from score_sde.output import IfRead, PlainLines

LINE_EVERY = 10.0  # seconds between lines if stderr is not a terminal


class Bar(tqdm):
    """A progress bar whose fractional updates may exceed the total by rounding."""

    def update(self, n: float | None = 1) -> bool | None:
        return super().update(min(n, self.total - self.n))


def say(message: str) -> None:
    """Print a line on the first host, without disturbing progress bars; a closed stderr is ignored."""
    if jax.process_index() == 0:
        with contextlib.suppress(OSError):
            tqdm.write(message, file=sys.stderr)
            sys.stderr.flush()


def progress_bar(total: float, what: str, unit: str, show: bool = True) -> Bar:
    """A progress bar for `total` units of work, advanced by `update(n)`, where n may be fractional.

    Shown on the first host only; if stderr is not a terminal, as a line at most every ten seconds.
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
