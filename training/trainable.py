"""Which parameters an update moves, training.trainable; the others keep their bits, and so does their average."""

from __future__ import annotations

import re
from typing import Any

import jax

from score_sde.errors import ConfigError
from score_sde.training.named_shapes import shapes

SHOWN = 8  # names in an error


def trainable(pattern: str, params: Any) -> Any:
    """True for each parameter in whose name, such as "Dense_0.kernel", the regular expression is found.

    Raises:
      ConfigError: it is none, or is found in no name.
    """
    names = list(shapes(params))
    some = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    expected = f"expected a regular expression found in some of the {len(names)} names {some}"
    try:
        chosen = [re.search(pattern, name) is not None for name in names]
    except re.error as error:
        raise ConfigError(f"training.trainable={pattern!r}: {error}; {expected}") from error
    if not any(chosen):
        raise ConfigError(f"training.trainable={pattern!r} names no parameter; {expected}")
    return jax.tree.unflatten(jax.tree.structure(params), chosen)


def where(chosen: Any, moved: Any, kept: Any) -> Any:
    """Of two trees, the leaves of the first where `chosen` is True."""
    return jax.tree.map(lambda on, new, old: new if on else old, chosen, moved, kept)
