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


def check_numbers(
    config: Any, positive: Iterable[str] = (), not_negative: Iterable[str] = ()
) -> None:
    """Refuse fields, by dotted name, that are out of their range."""
    for field in positive:
        if not value_of(config, field) > 0:
            raise ConfigError(f"{field}={value_of(config, field)}: expected a positive number")
    for field in not_negative:
        if not value_of(config, field) >= 0:
            raise ConfigError(f"{field}={value_of(config, field)}: expected 0 or more")


def value_of(config: Any, field: str) -> Any:
    for name in field.split("."):
        config = config[name]
    return config
