"""Quoting what a file or a stranger says: short, and with nothing in it that a terminal would obey."""

from __future__ import annotations

import reprlib
from typing import Any

LONGEST = 1000  # characters of a message


def quoted(value: Any) -> str:
    """A value in some tens of characters, however deep it is nested and however large it would be written out."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxlong, short.maxother = 2, 80, 80, 80
    return short.repr(value)


def printable(text: str, longest: int = LONGEST) -> str:
    """A text with its control characters escaped but for line ends, cut after so many characters."""
    rest = f"... and {len(text) - longest} characters more" if len(text) > longest else ""
    kept = text[:longest]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() or c == "\n" else escaped(c) for c in kept)
    return kept + rest


def escaped(character: str) -> str:
    """A character that cannot be printed, as an escape."""
    return character.encode("unicode_escape").decode()
