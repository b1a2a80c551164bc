"""Variants of a configuration: `configs/FILE.py:NAME` picks one of a table of functions that change few fields."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

Change = Callable[[ConfigDict], None]


def apply_variant(
    config: ConfigDict, name: str, variants: Mapping[str, tuple[Change, ...]]
) -> None:
    """Make the changes of the variant `name`, in order.

    Raises:
      ValueError: no such variant, with the names there are.
    """
    if name not in variants:
        raise ValueError(f"unknown variant {name!r}; choose one of {', '.join(variants)}")
    for change in variants[name]:
        change(config)
