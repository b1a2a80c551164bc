"""Variants of a configuration: `configs/FILE.py:NAME` selects an entry of a table of changes."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from score_sde.errors import ConfigError
from score_sde.nearest import did_you_mean

Change = Mapping[str, Any]
"""New values by dotted field."""


def changed(config: ConfigDict, *changes: Change) -> ConfigDict:
    """Apply these changes to the config in place, in order, and return it."""
    for change in changes:
        config.update_from_flattened_dict(change)
    return config


def variant(name: str, variants: Mapping[str, tuple[Change, ...]]) -> tuple[Change, ...]:
    """The changes of the variant of this name.

    Raises:
      ConfigError: no such variant; the message lists the names.
    """
    if name not in variants:
        guess = did_you_mean(name, variants)
        raise ConfigError(f"unknown variant {name!r}; choose one of {', '.join(variants)}{guess}")
    return variants[name]
