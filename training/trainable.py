"""Which parameters are trained (training.trainable); the others, and their averages, stay bitwise the same."""

from __future__ import annotations

import re
from typing import Any

import jax

from score_sde.errors import ConfigError
from score_sde.training.named_shapes import shapes

SHOWN = 8  # number of names in an error message


def trainable(pattern: str, params: Any) -> Any:
    """Return a tree with True for each parameter whose name, such as "Dense_0.kernel", contains a match of the pattern.

    Raises:
      ConfigError: the pattern is not a valid regular expression, or matches no name.
    """
    names = list(shapes(params))
    some = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    expected = f"expected a regular expression found in some of the {len(names)} names {some}"
    try:
        chosen = [re.search(pattern, name) is not None for name in names]
    except re.error as error:
        raise ConfigError(f"training.trainable={pattern!r}: {error}; {expected}") from error
    if not any(chosen):
        raise ConfigError(f"training.trainable={pattern!r} matches no parameter; {expected}")
    return jax.tree.unflatten(jax.tree.structure(params), chosen)


def where(chosen: Any, moved: Any, kept: Any) -> Any:
    """Select leaves from two trees: from `moved` where `chosen` is True, otherwise from `kept`."""
    return jax.tree.map(lambda on, new, old: new if on else old, chosen, moved, kept)
