"""Parsing of lists of samplers with their steps, such as "unipc_3, heun on rho: 10 20, dopri5 adaptive: 0.01"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.samplers.entries import ENTRIES, FEW_STEPS, Run


class Steps(NamedTuple):
    """Defaults for what a list leaves open."""

    grid: str
    """Grid of the samplers that have none of their own."""
    budgets: Sequence[int]
    """Network evaluations per image."""
    tolerances: Sequence[float]
    """Tolerances of adaptive samplers, which have no budgets."""
    a_call: int
    """Network evaluations per call of the score model: two with guidance."""
    last: int
    """Calls in addition to the sampler's own, for the last denoising."""


def listed_runs(field: str, text: str, steps: Steps) -> list[Run]:
    """The runs that a field of the config lists, in its order and without duplicates.

    Entries are separated by commas. Each is a name of ENTRIES or FEW_STEPS, optionally followed by ` on GRID` for a grid
    other than that of `steps`, and by a colon and its own budgets or tolerances. For each budget a sampler takes the most
    steps that fit.

    Raises:
      ConfigError: an unknown name, invalid numbers, or a budget in which no step fits.
    """
    found: dict[tuple[str, str], Run] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        for run in runs_of(field, part, steps):
            found.setdefault((run.entry.name, repr(run.settings)), run)
    if not found:
        raise ConfigError(
            f"{field}={text!r} names no sampler; give one or more, such as 'unipc_3, heun'"
        )
    return [*found.values()]


def runs_of(field: str, part: str, steps: Steps) -> Iterator[Run]:
    """The runs of one entry of the list."""
    named, _, numbers = part.partition(":")
    name, _, grid = map(str.strip, named.partition(" on "))
    entry = choose(field, name, ENTRIES | FEW_STEPS)
    if entry.adaptive and grid:
        raise ConfigError(f"{field}: {part!r} chooses its own steps; remove the grid")
    if entry.adaptive:
        for tolerance in numbers_of(field, part, numbers, float) or steps.tolerances:
            yield entry.with_tolerance(tolerance)
        return
    own = numbers_of(field, part, numbers, int)
    last = steps.last if entry.denoises else 0
    least = (entry.first + entry.evaluations + last) * steps.a_call
    fit = [budget for budget in own or map(int, steps.budgets) if budget >= least]
    if not fit or (own and len(fit) < len(own)):
        raise ConfigError(
            f"{field}: a step of {name} takes {least} evaluations, more than the budget of {part!r}; give more, such as "
            f"'{name}: {2 * least}'"
        )
    for budget in fit:
        num_steps = entry.steps_within(int(budget) // steps.a_call - last)
        yield entry.with_steps(num_steps, grid or entry.grid or steps.grid)


def numbers_of(field: str, part: str, text: str, kind: Callable[[str], float]) -> list[float]:
    """The positive numbers after the colon, separated by spaces; an empty list for an entry without a colon."""
    if ":" not in part:
        return []
    try:
        numbers = [kind(word) for word in text.split()]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < float("inf") for number in numbers):
        what = (
            "numbers of evaluations after the colon, such as 10 20"
            if kind is int
            else "tolerances after the colon, such as 0.01"
        )
        raise ConfigError(f"{field}: {part!r}: expected {what}")
    return numbers
