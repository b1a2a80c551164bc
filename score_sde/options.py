"""Options that are chosen by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from score_sde.errors import ConfigError


def choose(field: str, value: Any, table: Iterable[Any]) -> Any:
    """What the table has under this name; of names without a table, the name itself.

    Raises:
      ConfigError: there is no such name, with those that there are.
    """
    if value not in table:
        raise ConfigError(f"{field}={value!r} is unknown; choose one of {', '.join(table)}")
    return table[value] if isinstance(table, Mapping) else value
