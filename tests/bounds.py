"""Make pip constraints for either end of the version ranges in requirements files: `make test-oldest` and `make test-newest`.

  python -m tests.bounds oldest requirements.txt requirements-dev.txt > constraints.txt
  python -m tests.bounds newest requirements.txt

`oldest` pins every package to the first version its range allows; `newest` writes nothing, since pip installs the newest version by
default. Indirect dependencies are left to pip. Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ENDS = ("oldest", "newest")
LINE = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?P<extras>\[[^]]*\])?\s*(?P<versions>[^;]*)")


def requirements(text: str) -> Iterator[tuple[str, str]]:
    """Names and ranges of the lines that state a package, not a comment or another file."""
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line and not line.startswith("-"):
            found = LINE.fullmatch(line)
            if found is None:
                raise ValueError(f"{line!r} is no requirement: expected NAME>=VERSION,<VERSION")
            yield found["name"], found["versions"].strip()


def lower_bound(name: str, versions: str) -> str:
    """The version after >= or ==.

    Raises:
      ValueError: the range has no lower end, so that nobody can say what its oldest version is.
    """
    found = re.search(r"[>=]=\s*([^,\s]+)", versions)
    if found is None:
        raise ValueError(f"{name}{versions} has no lower bound: write {name}>=VERSION")
    return found[1]


def constraints(end: str, text: str) -> list[str]:
    """A line for each package that this end pins."""
    if end not in ENDS:
        raise ValueError(f"{end!r} is no end of a range: expected one of {', '.join(ENDS)}")
    if end == "newest":
        return []
    return [f"{name}=={lower_bound(name, versions)}" for name, versions in requirements(text)]


def main() -> None:
    end, *files = sys.argv[1:]
    for file in files:
        print("\n".join(constraints(end, Path(file).read_text())))


if __name__ == "__main__":
    main()
