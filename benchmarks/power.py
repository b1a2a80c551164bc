"""The power of figures to distinguish faulty samples from honest ones, and the number of samples it takes.

A figure is any statistic of n samples. Either it is compared with its values for many sets of n honest samples, or it comes with
a standard error and a known true value for honest samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

HONEST = "honest"


class Figures(NamedTuple):
    """The figures of one set of samples."""

    compared: dict[str, float]
    """Figures to be compared with those of honest samples."""
    in_errors: dict[str, float]
    """Deviations from the true value for honest samples in standard errors: standard normal if the error is right."""


Trial = Callable[[str, int, np.random.Generator], Figures]
"""(fault, n, generator) -> the figures of n newly drawn samples with that fault, or HONEST for none."""


class Power(NamedTuple):
    """How often a figure raises an alarm."""

    figure: str
    fault: str
    n: int
    """Number of samples."""
    power: float
    """Fraction of repetitions with an alarm; for honest samples the false-alarm rate."""
    error: float


class Plan(NamedTuple):
    """Numbers of samples and of repetitions."""

    numbers: Sequence[int]
    """Numbers of samples."""
    honest: int = 199
    """Repetitions with honest samples: with 199, the limits for 5 % false alarms are the fifth figures from either end."""
    faulty: int = 100
    """Repetitions with each fault."""
    false_alarm: float = 0.05
    seed: int = 0


def limits(honest: Sequence[float], false_alarm: float) -> tuple[float, float]:
    """Limits between which a figure does not differ significantly from honest ones.

    The k-th smallest and the k-th largest of R figures, with k = false_alarm (R + 1) / 2 rounded down: another honest figure lies outside
    with probability 2 k / (R + 1) for any distribution, and less often with ties (the Monte Carlo test, Hope 1968).

    Raises:
      ValueError: too few figures, so that k = 0.
    """
    # The factor 1 + 1e-9 makes 0.05 * 200 / 2 count as 5 despite rounding.
    k = math.floor(false_alarm * (len(honest) + 1) / 2 * (1 + 1e-9))
    if k < 1:
        raise ValueError(
            f"{len(honest)} honest repetitions: a false alarm of {false_alarm:g} takes {math.ceil(2 / false_alarm) - 1}"
        )
    ordered = np.sort(honest)
    return float(ordered[k - 1]), float(ordered[-k])


def share_outside(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Fraction of values outside these limits, and its standard error."""
    share = float(np.mean([value < low or value > high for value in values]))
    return share, math.sqrt(share * (1 - share) / len(values))


def powers(
    trial: Trial, faults: Sequence[str], plan: Plan, done: Callable[[int], object]
) -> Iterator[Power]:
    """Yield the power of every figure for every fault and number of samples, and false-alarm rates of figures with a standard error.

    Args:
      done: called with the number of samples of each repetition, for a progress bar.
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
    """The number n of samples from which on the power is at least `wanted`, interpolated in log n.

    Args:
      power: power by n.

    Returns:
      The smallest measured n if the power suffices at all of them, inf if it does not suffice at the largest.
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
