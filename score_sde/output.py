"""Output whose reader may have gone, as that of `| head -1`."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO


def show(text: str) -> None:
    """Print, if anybody reads."""
    try:
        print(text, flush=True)
    except OSError:
        discard_output()


def discard_output() -> None:
    """Send what is still to be printed nowhere, so that Python does not fail to print it again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class IfRead:
    """A stream for what is not needed, such as a bar: where nobody reads any more, writing to it does nothing."""

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
    """As lines what a bar would write over itself, for a file or a pipe."""

    said = ""

    def write(self, text: str) -> int:
        # A bar that ends is written once more, with the time to the end.
        what = text.strip().partition("[")[0]
        if what and what != self.said:
            super().write(text.strip() + "\n")
            self.flush()
            self.said = what
        return len(text)
