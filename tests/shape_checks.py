"""Enforcement of types and shapes in signatures during tests, by jaxtyping's import hook, set in conftest.py."""

from collections.abc import Callable
from typing import Any, Self, get_args

from beartype import BeartypeConf, FrozenDict, beartype

CHECKED = (
    "guidance", "likelihood", "measurements", "models", "samplers", "sde_lib", "spaces",
    "training.draws", "training.losses", "training.times", "training.weightings",
)  # fmt: skip

# An int is a float. `Self` beartype knows only where it decorates the class, and jaxtyping decorates methods.
CONF = BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({Self: Any}))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that refuses what is not of its types, but for protocols, of which mypy is the judge."""
    if function.__name__ == "__init__":  # JAX makes pytrees anew of what are no arrays
        return function
    for name, hint in function.__annotations__.items():
        if any(getattr(part, "_is_protocol", False) for part in (hint, *get_args(hint))):
            function.__annotations__[name] = Any
    return beartype(conf=CONF)(function)
