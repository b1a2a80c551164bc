"""Step-size control of adaptive Runge-Kutta methods: the rules of SciPy's `solve_ivp`, for diffrax.

Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I (1993), Sec. II.4. The published likelihoods and ODE
samples were computed with SciPy, so the same rules give the same number of evaluations. diffrax's own controller differs in
two points: there an accepted step never makes the next one shorter, and a step may grow immediately after a rejection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from score_sde.shapes import Array, Scalar

Field = Callable[..., Any]
"""(t, y, args) -> dy/dt."""

SAFETY = 0.9  # fraction of the length at which a step's error would equal the tolerance
MIN_FACTOR, MAX_FACTOR = 0.2, 10.0  # bounds on the ratio of one step to the previous one
MIN_ULPS = 10.0  # shortest step, in ulps of the time: below it, times no longer differ


def shortest_step(t: Scalar) -> Scalar:
    """The length below which a step from t is lost in rounding."""
    return MIN_ULPS * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(t), jnp.finfo(t.dtype).tiny)


def norm(y: Any) -> Scalar:
    """Root mean square over all entries of a state, which may be a pytree of arrays."""
    leaves = jax.tree.leaves(y)
    squares = sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)
    return jnp.sqrt(squares / sum(leaf.size for leaf in leaves))


def first_step(
    field: Field, y: Any, t0: Scalar, t1: Scalar, args: Any, order: Any, rtol: float, atol: float
) -> tuple[Scalar, Any]:
    """Signed length of the first step from t0 towards t1, and dy/dt at t0 (loc. cit., "starting step size").

    An explicit Euler step of length h0, which changes y by about a hundredth, estimates the second derivative; the first
    step is as long as the larger of the two derivatives allows for an error estimate of this order.

    Cost: two evaluations, of which the first is also the first stage of the first step.
    """
    interval = t1 - t0
    sign, length = jnp.sign(interval), jnp.abs(interval)
    scale = jax.tree.map(lambda y: atol + rtol * jnp.abs(y), y)

    def size(v: Any) -> Scalar:
        return norm(jax.tree.map(jnp.divide, v, scale))

    def euler_step(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], Any]:
        h, slope = carry
        moved = jax.tree.map(lambda y, f: y + (sign * h).astype(y.dtype) * f, y, slope)
        slope = field(t0 + sign * h, moved, args)
        d0, d1 = size(y), size(slope)
        h0 = jnp.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1)
        h0 = jnp.clip(h0.astype(interval.dtype), shortest_step(t0), length)
        return (h0, slope), (h0, slope)

    # A loop of two iterations, so that the vector field is compiled once.
    start = (jnp.zeros_like(length), jax.tree.map(jnp.zeros_like, y))
    _, (steps, slopes) = jax.lax.scan(euler_step, start, None, length=2)
    h0, slope = steps[0], jax.tree.map(lambda f: f[0], slopes)
    d1 = size(slope)
    d2 = size(jax.tree.map(lambda f: f[1] - f[0], slopes)) / h0
    steepest = jnp.maximum(d1, d2)
    h1 = jnp.where(
        steepest <= 1e-15, jnp.maximum(1e-6, 1e-3 * h0), (0.01 / steepest) ** (1 / order)
    )
    h = jnp.minimum(jnp.minimum(100 * h0, h1.astype(h0.dtype)), length)
    return sign * jax.lax.stop_gradient(jnp.maximum(h, shortest_step(t0))), slope


class HairerController(diffrax.PIDController):
    """Accept a step whose error is below the tolerance; the next one is SAFETY error^(-1/order) times as long.

    The error is the root mean square over the whole state of error / (atol + rtol |y|), with the larger |y| of the two ends.
    The step after a rejected one does not grow. The controller's state records whether the last attempt was rejected.
    """

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, *_: Any) -> Any:
        return t0 + dt0, jnp.asarray(False)

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1: Any, args: Any, y_error: Any, *order_and_state: Any
    ) -> Any:
        error_order, rejected = order_and_state

        def relative(error: Array, start: Array, end: Array) -> Array:
            largest = jnp.maximum(jnp.abs(start), jnp.abs(end))
            return error / (self.atol + self.rtol * largest)

        error = norm(jax.lax.stop_gradient(jax.tree.map(relative, y_error, y0, y1)))
        keep = error < 1
        longest = jnp.where(keep & rejected, 1.0, MAX_FACTOR)
        factor = jnp.clip(SAFETY * error ** (-1 / error_order), MIN_FACTOR, longest)
        # Where the vector field is not finite, no error estimate says by how much to shorten the step.
        factor = jnp.where(jnp.isfinite(error), factor, MIN_FACTOR)
        dt, shortest = factor.astype(t0.dtype) * (t1 - t0), shortest_step(t1)
        stuck = ~keep & (dt < shortest)
        result = diffrax.RESULTS.where(
            stuck, diffrax.RESULTS.dt_min_reached, diffrax.RESULTS.successful
        )
        start = jnp.where(keep, t1, t0)
        return keep, start, start + jnp.maximum(dt, shortest), False, ~keep, result
