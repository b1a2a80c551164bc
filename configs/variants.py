"""Variants of a configuration: `configs/FILE.py:NAME` picks one of a table of what it changes."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from score_sde.errors import ConfigError
from score_sde.nearest import did_you_mean

Change = Mapping[str, Any]
"""Dotted fields with their values."""


def changed(config: ConfigDict, *changes: Change) -> ConfigDict:
    """The config itself, with these changes in order."""
    for change in changes:
        config.update_from_flattened_dict(change)
    return config


def variant(name: str, variants: Mapping[str, tuple[Change, ...]]) -> tuple[Change, ...]:
    """The changes of this name.

    Raises:
      ConfigError: no such variant, with the names there are.
    """
    if name not in variants:
        guess = did_you_mean(name, variants)
        raise ConfigError(f"unknown variant {name!r}; choose one of {', '.join(variants)}{guess}")
    return variants[name]
