"""Draws of x_0 given y and a Gaussian N(mean, variance I), which DAPS and PnP-DM take at each step.

    x_0 ~ exp(-|x_0 - mean|^2 / (2 variance)) p(y | x_0),

exactly if the singular values of A are known, or by Langevin steps, which only require a likelihood of y that JAX can
differentiate.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.measurements.measurement import Measurement, spectral
from score_sde.shapes import Images, Index, Measured, Scalar

Draws = Callable[[Index], Images]
"""Slot, from 0 on -> standard normal noise shaped like the images."""


class GivenMeasurement(abc.ABC):
    """A way to draw an image around a mean, given its measurement."""

    @property
    @abc.abstractmethod
    def slots(self) -> int:
        """The number of noise slots that a draw uses."""

    @abc.abstractmethod
    def check(self, measurement: Measurement) -> None:
        """Raise ConfigError for a measurement that it does not support."""

    @abc.abstractmethod
    def draw(
        self, measurement: Measurement, y: Measured, mean: Images, variance: Scalar, noise: Draws
    ) -> Images:
        """A draw of x_0 ~ N(mean, variance I) given y."""


@dataclasses.dataclass(frozen=True)
class Exact(GivenMeasurement):
    """Exact draws: a mode with singular value s has variance v sigma_y^2 / (sigma_y^2 + v s^2), and v where y carries no information."""

    slots = 1

    def check(self, measurement: Measurement) -> None:
        spectral(measurement, "an exact draw of x_0")

    def draw(
        self, measurement: Measurement, y: Measured, mean: Images, variance: Scalar, noise: Draws
    ) -> Images:
        linear, noisy = spectral(measurement, "an exact draw of x_0"), jnp.square(measurement.std)
        moved = mean + variance * linear.regularized(measurement.residual(y, mean), noisy, variance)
        seen = variance * jnp.square(linear.singular_values[None])
        left = jnp.where(seen > 0, noisy / jnp.where(seen > 0, noisy + seen, 1.0), 1.0)
        return moved + linear.image(jnp.sqrt(variance * left) * noise(0))


@dataclasses.dataclass(frozen=True)
class Langevin(GivenMeasurement):
    """Unadjusted Langevin steps from the mean, of length rate / (1 / variance + 1 / sigma_y^2).

    They are stable for rate < 2 if the norm of A is at most 1, and their distribution approaches the exact one with many
    steps of a small rate.

    Raises:
      ConfigError: fewer than one step, or a rate that is not positive.
    """

    steps: int = 100
    rate: float = 0.1

    def __post_init__(self):
        if self.steps < 1 or not self.rate > 0:
            raise ConfigError(
                f"Langevin with steps={self.steps}, rate={self.rate}: expected 1 or more steps and a positive rate"
            )

    @property
    def slots(self) -> int:
        return self.steps

    def check(self, measurement: Measurement) -> None:
        if not measurement.std > 0:
            raise ConfigError(
                f"Langevin steps with sigma_y={measurement.std}: the gradient of the likelihood is infinite; give a positive one, "
                "or use exact draws"
            )

    def draw(
        self, measurement: Measurement, y: Measured, mean: Images, variance: Scalar, noise: Draws
    ) -> Images:
        step = self.rate / (1.0 / variance + 1.0 / jnp.square(measurement.std))

        def log_likelihood(x: Images) -> Scalar:
            return jnp.sum(measurement.log_likelihood(y, x))

        def move(j: Index, x: Images) -> Images:
            gradient = (mean - x) / variance + jax.grad(log_likelihood)(x)
            return x + step * gradient + jnp.sqrt(2.0 * step) * noise(j)

        return jax.lax.fori_loop(0, self.steps, move, mean)
