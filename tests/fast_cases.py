"""Cases of parametrized tests, of which the fast run takes a part and the slow run all."""

import itertools
from collections.abc import Callable, Iterable

import pytest


def fast_where(fast: Callable[..., bool], cases: Iterable[tuple]) -> list:
    """The cases, marked slow where `fast`, asked with the values of one, says no."""
    return [pytest.param(*case, marks=() if fast(*case) else pytest.mark.slow) for case in cases]


def product_where(fast: Callable[..., bool], *axes: Iterable) -> list:
    """The same of all combinations."""
    return fast_where(fast, itertools.product(*axes))
