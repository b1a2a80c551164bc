"""Choices that a configuration makes by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from score_sde.errors import UserError

Value = TypeVar("Value")


def choose(field: str, value: str, table: Mapping[str, Value]) -> Value:
    """table[value], or an error that names the field and the choices."""
    if value not in table:
        raise UserError(f"{field}={value!r} is unknown; choose one of {', '.join(table)}")
    return table[value]
