"""Closed forms of the functions that few-step networks approximate, for data N(0, ell) in each coordinate.

The flow is linear and preserves coordinates in units of the standard deviation: from t to s it multiplies by sqrt(c_s / c_t),
c = alpha^2 ell + sigma^2.
"""

import dataclasses

import jax
import jax.numpy as jnp

from score_sde.sde_lib import expand


@dataclasses.dataclass(frozen=True)
class LinearFlow:
    """Called with a time it knows the state at another; `shift` makes it wrong."""

    sde: object
    ell: float
    eps: float = 1e-3
    shift: object = 0.0

    def variance(self, t):
        return self.sde.alpha(t) ** 2 * self.ell + self.sde.sigma(t) ** 2

    def consistency(self, x, t, dropout_keys=None):
        there = self.variance(jnp.full_like(t, self.eps))
        return expand(jnp.sqrt(there / self.variance(t)) * (1 + self.shift * (t - self.eps)), x) * x

    def average_velocity(self, x, r, t, dropout_keys=None):
        """(1 - sqrt(c_r / c_t)) x / (t - r) on the straight path, without the division of 0 by 0."""
        c_r, c_t = self.variance(r), self.variance(t)
        slope = (t + r) - self.ell * (2 - t - r)  # (c_t - c_r) / (t - r)
        return expand(slope / (c_t + jnp.sqrt(c_r * c_t)) + self.shift, x) * x

    def velocity(self, x, t):
        return self.average_velocity(x, t, t)


def fixed_point(update, size):
    """Where an update (size,) -> (size,) that is affine in the parameters vanishes: where training by it ends."""
    zero = update(jnp.zeros(size))
    # By differences: a derivative would not see what moves through a stopped gradient.
    columns = jax.vmap(update)(jnp.eye(size)) - zero[None]
    return jnp.linalg.solve(columns.T, -zero)
