"""Wrong versions of the code, one line each, and the tests that must notice: see __main__.py.

Each stands for a mistake that somebody has made in this field. `before` occurs exactly once in its file.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mutant:
    """The file with `before` replaced by `after` is wrong; `tests` are the ones to ask first."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def mutants(file: str, tests: str, *rows: tuple[str, str, str]) -> list[Mutant]:
    """Mutants (name, before, after) of one file that the same tests, separated by spaces, notice."""
    return [Mutant(name, file, before, after, tuple(tests.split())) for name, before, after in rows]
