"""All configuration fields in a table that loads quickly: defaults, meanings and allowed names.

The fields are declared in the sections of configs/default.py, but importing these imports JAX, which takes too long for help, completion
and suggestions for mistyped fields. They read fields.json instead, which

  python -m score_sde.fields

regenerates from the sections. A test compares the two.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("fields.json")


class Field(NamedTuple):
    """A field of the configuration, as known to help and completion."""

    default: str
    """The default as written on the command line."""
    what: str
    """Its meaning, with its unit."""
    choices: tuple[str, ...] = ()
    """The allowed names, if there is a fixed set of them."""


@functools.cache
def known_fields() -> dict[str, Field]:
    """All fields by dotted name, in the order of the sections."""
    table = json.loads(FILE.read_text())
    return {
        name: Field(row["default"], row["what"], tuple(row["choices"]))
        for name, row in table.items()
    }


def of_sections() -> dict[str, Field]:
    """The same table, built from the sections themselves."""
    # Importing them imports JAX.
    from score_sde.configs.default import sections
    from score_sde.field_names import TABLES

    def choices(name: str, field: Any) -> tuple[str, ...]:
        if isinstance(field.default, bool):
            return ("True", "False")
        names: Iterable[str] = getattr(field.metadata["check"], "names", ())
        return tuple(TABLES.get(name, names))

    table = {}
    for section, part in sections():
        for option, field in part.options().items():
            name = ".".join(filter(None, (section, option)))
            table[name] = Field(str(field.default), field.metadata["what"], choices(name, field))
    return table


def as_text(table: dict[str, Field]) -> str:
    """The table as JSON with one field per line, so that branches that each add a field merge cleanly."""
    lines = [f"{json.dumps(name)}: {json.dumps(row._asdict())}" for name, row in table.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(as_text(of_sections()))
