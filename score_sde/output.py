"""Output to a pipe whose reader may have exited, as in `| head -1`."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO


def show(text: str) -> None:
    """Print, and ignore a closed output."""
    try:
        print(text, flush=True)
    except OSError:
        discard_output()


def discard_output() -> None:
    """Redirect buffered output to the null device, so that Python does not fail to flush it on exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class IfRead:
    """A stream for optional output, such as a progress bar: errors of a closed output are ignored."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()


class PlainLines(IfRead):
    """A stream that turns the updates of a progress bar into separate lines, for a file or a pipe."""

    said = ""

    def write(self, text: str) -> int:
        # A finished bar is written once more with its final time, which would repeat the line.
        what = text.strip().partition("[")[0]
        if what and what != self.said:
            super().write(text.strip() + "\n")
            self.flush()
            self.said = what
        return len(text)
