"""The errors that Orbax and TensorStore raise for checkpoints, and their messages in one line."""

from __future__ import annotations

import re

# The exceptions that Orbax raises for missing or damaged files.
UNREADABLE = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError)


def first_line(error: BaseException) -> str:
    """Return a short form of an error's message: its first line, or the system's text if tensorstore reports a failed system call."""
    said = getattr(error, "strerror", None) or str(error)
    text = (said.strip().splitlines() or [type(error).__name__])[0]
    found = re.search(r"([^:]+) \[os_error_code=", text)
    return found.group(1).strip() if found else text[:300]
