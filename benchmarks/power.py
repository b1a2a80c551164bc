"""How often a figure tells faulty samples from honest ones, and how many samples that takes.

A figure is anything computed of n samples. Either it is compared with the same figure of as many honest samples, drawn again and again,
or it comes with an error of its own and a value that honest samples have in truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

HONEST = "honest"


class Figures(NamedTuple):
    """Of one set of samples."""

    compared: dict[str, float]
    """With those of honest samples."""
    in_errors: dict[str, float]
    """From what honest samples have in truth, over the figure's own error: standard normal if that error is right."""


Trial = Callable[[str, int, np.random.Generator], Figures]
"""The figures of n samples with a fault, HONEST for none, drawn anew with this generator."""


class Power(NamedTuple):
    """How often a figure raises the alarm."""

    figure: str
    fault: str
    n: int
    """Samples."""
    power: float
    """The share of repetitions; of honest samples the false alarms."""
    error: float


class Plan(NamedTuple):
    """How often everything is drawn."""

    numbers: Sequence[int]
    """Of samples."""
    honest: int = 199
    """Repetitions of honest samples: with 199 the limits of a false alarm of 5 % are the fifth figures from either end."""
    faulty: int = 100
    """Repetitions of each fault."""
    false_alarm: float = 0.05
    seed: int = 0


def limits(honest: Sequence[float], false_alarm: float) -> tuple[float, float]:
    """Between which a figure is not told from honest ones.

    The k-th smallest and the k-th largest of R, k = false_alarm (R + 1) / 2 rounded down: one more honest figure lies outside with
    probability 2 k / (R + 1) whatever its law, and less often where figures are equal (the Monte Carlo test, Hope 1968).

    Raises:
      ValueError: so few that k = 0.
    """
    # One part in 10^9 more: 0.05 * 200 / 2 is 5, whatever the product rounds to.
    k = math.floor(false_alarm * (len(honest) + 1) / 2 * (1 + 1e-9))
    if k < 1:
        raise ValueError(
            f"{len(honest)} honest repetitions: a false alarm of {false_alarm:g} takes {math.ceil(2 / false_alarm) - 1}"
        )
    ordered = np.sort(honest)
    return float(ordered[k - 1]), float(ordered[-k])


def share_outside(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Of values beyond these limits, and its standard error."""
    share = float(np.mean([value < low or value > high for value in values]))
    return share, math.sqrt(share * (1 - share) / len(values))


def powers(
    trial: Trial, faults: Sequence[str], plan: Plan, done: Callable[[int], object]
) -> Iterator[Power]:
    """Of every figure for every fault and number of samples; false alarms of those that have errors of their own.

    Args:
      done: is told the samples of each repetition, for a progress bar.
    """
    for n in plan.numbers:
        found = {}
        for i, fault in enumerate((HONEST, *faults)):
            times = plan.faulty if i else plan.honest
            found[fault] = [
                trial(fault, n, np.random.default_rng((plan.seed, n, i, repetition)))
                for repetition in counted(times, n, done)
            ]
        honest = found[HONEST]
        known = norm.isf(plan.false_alarm / 2)
        for name in honest[0].in_errors:
            for fault, drawn in found.items():
                values = [figures.in_errors[name] for figures in drawn]
                yield Power(name, fault, n, *share_outside(values, -known, known))
        for name in honest[0].compared:
            low, high = limits([figures.compared[name] for figures in honest], plan.false_alarm)
            for fault in faults:
                values = [figures.compared[name] for figures in found[fault]]
                yield Power(name, fault, n, *share_outside(values, low, high))


def counted(times: int, n: int, done: Callable[[int], object]) -> Iterator[int]:
    for repetition in range(times):
        yield repetition
        done(n)


def needed(power: Mapping[int, float], wanted: float) -> float:
    """The n from which on the power is as wanted, between the measured ones along the logarithm of n.

    Args:
      power: by n.

    Returns:
      The least n of all where it is enough there already, inf where it is not at the largest.
    """
    numbers = sorted(power)
    short = [i for i, n in enumerate(numbers) if power[n] < wanted]
    if not short:
        return float(numbers[0])
    if short[-1] == len(numbers) - 1:
        return math.inf
    below, above = numbers[short[-1]], numbers[short[-1] + 1]
    part = (wanted - power[below]) / (power[above] - power[below])
    return below * (above / below) ** part
