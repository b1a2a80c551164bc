"""Output whose reader may have gone, as that of `| head -1`."""

from __future__ import annotations

import contextlib
import os
import sys


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
