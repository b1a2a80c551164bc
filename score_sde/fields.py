"""Every field of a configuration as a table that is read in no time: defaults, meanings and names to choose from.

The sections of configs/default.py state the fields, and importing those imports JAX. Help, completion and what is guessed of a mistyped field
cannot wait for that, so they read fields.json, which

  python -m score_sde.fields

writes anew from the sections. A test holds it to them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("fields.json")


class Field(NamedTuple):
    """What help and completion know of a field of the configuration."""

    default: str
    """As it is written on the command line."""
    what: str
    """Its meaning, with its unit."""
    choices: tuple[str, ...] = ()
    """The names that it takes, where they are few and known."""


@functools.cache
def known_fields() -> dict[str, Field]:
    """Every field by its dotted name, in the order of the sections."""
    table = json.loads(FILE.read_text())
    return {
        name: Field(row["default"], row["what"], tuple(row["choices"]))
        for name, row in table.items()
    }


def of_sections() -> dict[str, Field]:
    """The same, from the sections themselves."""
    # With them JAX.
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
    """A line for each field, so that two branches that add one each can be merged."""
    lines = [f"{json.dumps(name)}: {json.dumps(row._asdict())}" for name, row in table.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(as_text(of_sections()))
