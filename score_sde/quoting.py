"""Quoting of untrusted text: shortened, and without terminal control characters."""

from __future__ import annotations

import reprlib
from typing import Any

LONGEST = 1000  # characters of a message


def quoted(value: Any) -> str:
    """The repr of a value, shortened to some tens of characters however large or deeply nested it is."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxlong, short.maxother = 2, 80, 80, 80
    return short.repr(value)


def printable(text: str, longest: int = LONGEST) -> str:
    """Escape control characters except line ends, and truncate to `longest` characters."""
    rest = f"... and {len(text) - longest} characters more" if len(text) > longest else ""
    kept = text[:longest]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() or c == "\n" else escaped(c) for c in kept)
    return kept + rest


def escaped(character: str) -> str:
    """The escape sequence of an unprintable character."""
    return character.encode("unicode_escape").decode()
