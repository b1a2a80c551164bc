"""The logarithm of the standard normal's mass on an interval, accurate everywhere.

A blurred uniform density and a discretised Gaussian are such masses. With the centre of the interval at distance y >= 0
from the normal's mean, and half-width h, the near edge is at p = y - h and the far one at q = y + h:

    mass = Q(p) - Q(q),    phi(q) / phi(p) = exp(-2 y h) = r,

where Q is the upper tail and phi the density. If the mean lies inside (p < 0), the mass is the mean of two values of
erf; outside, it is phi(p) (M(p) - r M(q)) with Mills' ratio M = Q / phi, which stays near 1/p where Q and phi underflow
to 0 in float32. Widths down to 1e-3 keep four digits there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf, erfcx

from score_sde.shapes import Array, Elements

FAR = 8.0
TERMS = 20  # enough for the fraction to have float64's precision at 8


class _Edges(NamedTuple):
    inside: Array
    p: Array
    q: Array
    fall: Array
    """1 - r."""


def _edges(centre: Elements, half: Elements) -> _Edges:
    # Not abs: its derivative at 0 is 0, which would make that of the slope below 0 too.
    y = jnp.where(centre < 0, -centre, centre)
    p, q = y - half, y + half
    return _Edges(p < 0, p, q, -jnp.expm1(-2.0 * y * half))


def _mills(x: Elements) -> Elements:
    """M(x) for x >= 0; from 8 on it is 1 over Laplace's continued fraction x + 1/(x + 2/(x + ...)).

    JAX's erfcx in float32 is 0 for x/sqrt(2) from 9.19 to 9.41, where it divides by an erfc that is flushed to 0, and its
    derivative suffers from cancellation from 30 on.
    """
    far = x > FAR
    large = jnp.where(far, x, FAR)
    fraction = large
    for k in range(TERMS, 0, -1):
        fraction = large + k / fraction
    near = math.sqrt(0.5 * math.pi) * erfcx(math.sqrt(0.5) * jnp.where(far, FAR, x))
    return jnp.where(far, 1.0 / fraction, near)


def _mass_inside(edges: _Edges) -> Elements:
    p = jnp.where(edges.inside, edges.p, -1.0)  # a branch not taken must not give NaN gradients
    return 0.5 * (erf(math.sqrt(0.5) * edges.q) + erf(-math.sqrt(0.5) * p))


def _ratio_outside(edges: _Edges) -> Elements:
    """mass / phi(p)."""
    p = jnp.where(edges.inside, 1.0, edges.p)
    q = jnp.where(edges.inside, 2.0, edges.q)
    fall = jnp.where(edges.inside, 1.0, edges.fall)
    return _mills(p) - (1.0 - fall) * _mills(q)


def log_mass(centre: Elements, half: Elements) -> Elements:
    """ln P(|Z - centre| < half) in nats for a standard normal Z, elementwise; half > 0."""
    edges = _edges(centre, half)
    at_edge = -0.5 * jnp.square(edges.p) - 0.5 * math.log(2.0 * math.pi)
    outside = at_edge + jnp.log(_ratio_outside(edges))
    return jnp.where(edges.inside, jnp.log(_mass_inside(edges)), outside)


def log_mass_slope(centre: Elements, half: Elements) -> Elements:
    """d log_mass / d centre, itself differentiable."""
    edges = _edges(centre, half)
    p = jnp.where(edges.inside, edges.p, 0.0)
    density = jnp.exp(-0.5 * jnp.square(p)) / math.sqrt(2.0 * math.pi)
    steepness = edges.fall * jnp.where(
        edges.inside, density / _mass_inside(edges), 1.0 / _ratio_outside(edges)
    )
    return jnp.where(centre < 0, steepness, -steepness)
