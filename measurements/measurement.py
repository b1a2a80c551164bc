"""A measurement y = A x_0 + sigma_y n of an image, with standard normal n."""

from __future__ import annotations

from typing import Any, Self

import flax.struct
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.measurements.linear import Linear, Operator, Spectral
from score_sde.shapes import Images, Measured, PerImage, Scalar


@flax.struct.dataclass
class Measurement:
    """An operator A and the noise's standard deviation sigma_y >= 0, in the units of the model's images."""

    linear: Operator
    """The operator A; only some methods accept a nonlinear one."""
    std: Scalar | float

    @classmethod
    def of(cls, linear: Operator, std: float) -> Self:
        """Build the measurement; ConfigError if sigma_y is negative or not finite."""
        if not 0 <= std < float("inf"):
            raise ConfigError(f"sigma_y={std}: expected a standard deviation, 0 for no noise")
        return cls(linear, std)

    def draw(self, x: Images, noise: Measured) -> Measured:
        """Measure images x (b, *shape), with standard normal noise of the shape of y."""
        return self.linear(x) + self.std * noise

    def residual(self, y: Measured, x: Images) -> Measured:
        """The residual y - A x."""
        return y - self.linear(x)

    def distance(self, y: Measured, x: Images) -> PerImage:
        """Root mean square of the residual (b,), in units of sigma_y (of 1 if sigma_y is 0)."""
        r = self.residual(y, x).reshape(len(y), -1)
        return jnp.sqrt(jnp.mean(jnp.square(r), axis=1)) / jnp.where(self.std > 0, self.std, 1.0)

    def log_likelihood(self, y: Measured, x: Images) -> PerImage:
        """ln p(y | x_0 = x) (b,) in nats, for sigma_y > 0."""
        r = self.residual(y, x).reshape(len(y), -1)
        variance = jnp.square(self.std)
        squares = jnp.sum(jnp.square(r), axis=1)
        return -0.5 * (squares / variance + r.shape[1] * jnp.log(2.0 * jnp.pi * variance))


def linear(measurement: Measurement, purpose: str) -> Any:
    """The operator A of a measurement, which must be linear.

    Raises:
      ConfigError: it is not linear.
    """
    if not isinstance(measurement.linear, Linear):
        raise ConfigError(
            f"{purpose} needs a linear measurement, which {type(measurement.linear).__name__} is not; use DPS, TDS, or DAPS with Langevin "
            "steps"
        )
    return measurement.linear


def spectral(measurement: Measurement, purpose: str) -> Any:
    """The operator A of a measurement, which must have known singular values.

    Raises:
      ConfigError: they are not known.
    """
    found = linear(measurement, purpose)
    if not isinstance(found, Spectral):
        raise ConfigError(
            f"{purpose} needs the singular values of A, which {type(found).__name__} does not provide; for few pixels use its matrix "
            "instead, Matrix.of(linear.matrix(), linear.shape)"
        )
    return found
