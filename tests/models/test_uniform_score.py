"""The score of uniform data: density by quadrature, tails, float32 accuracy, and known likelihood."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from numpy.testing import assert_allclose

from score_sde.data.scaling import bits_per_dim_offset
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.exact import UniformScore
from score_sde.models.normal_interval import log_mass, log_mass_slope
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import VE, VP, SubVP

PROCESSES = [VP(), pytest.param(SubVP(), marks=pytest.mark.slow), VE()]
INTERVALS = [(-1.0, 1.0), (0.0, 1.0)]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)  # sigma is 1 % of the interval or more


def model(sde, interval, dtype=jnp.float64):
    return UniformScore(*(jnp.asarray(end, dtype) for end in interval), sde)


def points(sde, interval, t):
    """From the middle to 40 sigma beyond each edge, (n, 1), with the edges and the middle among them."""
    alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
    low, high = (alpha * end for end in interval)
    inside = np.linspace(low, high, 11)
    near = sigma * np.array([-6.0, -2.0, -0.3, 0.0, 0.3, 2.0, 6.0, 40.0])
    return np.concatenate([inside, low - near, high + near])[:, None]


def points_at(sde, interval, times):
    """The points of each time, with the time of each: (n, 1) and (n,)."""
    found = [points(sde, interval, jnp.asarray(time)) for time in times]
    return np.concatenate(found), np.repeat(times, [len(x) for x in found])


@pytest.mark.parametrize("interval", INTERVALS, ids=str)
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_density_is_the_blurred_interval(x64, sde, interval):
    """ln of the integral of N(x; alpha x_0, sigma^2) over x_0, by Gauss-Legendre quadrature in log space."""
    x, t = points_at(sde, interval, [0.1, 1.0])
    alpha, sigma = (np.asarray(of(jnp.asarray(t)))[:, None] for of in (sde.alpha, sde.sigma))
    low, high = interval
    x0 = low + 0.5 * (high - low) * (NODES + 1)
    kernels = -0.5 * ((x - alpha * x0) / sigma) ** 2 - np.log(sigma * math.sqrt(2 * math.pi))
    expected = scipy.special.logsumexp(kernels, b=0.5 * WEIGHTS, axis=1)
    got = jax.jit(lambda x: model(sde, interval).log_density(x, jnp.asarray(t)))(x)
    assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_float32(sde):
    """The score and its derivative, which the divergence needs, are accurate to four digits at every time.

    If the interval is narrow relative to sigma (alpha/sigma = .007 at VP's end) they are ratios of small differences. At
    small times, rounding of x near an edge is a fraction of sigma.
    """
    with jax.enable_x64(True):
        x, t = points_at(sde, (-1.0, 1.0), np.float32([1e-3, 0.3, 1.0]))
        alpha, sigma = (np.asarray(of(jnp.asarray(t, float))) for of in (sde.alpha, sde.sigma))
        near = np.abs(x[:, 0]) < alpha + 7 * sigma
    x, t, sigma = x[near].astype(np.float32), t[near], sigma[near, None]

    def score_and_slope(dtype):
        exact, times = model(sde, (-1.0, 1.0), dtype), jnp.asarray(t, dtype)
        at = jnp.asarray(x, dtype)
        return jax.jit(lambda x: jax.jvp(lambda x: exact(x, times), (x,), (jnp.ones_like(x),)))(at)

    low = score_and_slope(jnp.float32)
    with jax.enable_x64(True):
        high = [np.asarray(a) for a in score_and_slope(jnp.float64)]
    assert low[0].dtype == jnp.float32
    # Times sigma and sigma^2 both are of order 1 near an edge; alpha and x there are rounded by 6e-8 each.
    rounding = 2 * 6e-8 / sigma
    assert np.all(np.abs(low[0] - high[0]) * sigma < 1e-4 + rounding)
    assert np.all(np.abs(low[1] - high[1]) * sigma**2 < 1e-4 + rounding)


@pytest.mark.parametrize("half", [0.05, 0.4, 3.0, 1000.0])
def test_no_gap_in_float32(half):
    """ln mass and its two derivatives against float64, far into the tails; JAX's erfcx is 0 at some points there."""

    def derivatives(distance, dtype):
        c, h = jnp.asarray(distance + half, dtype), jnp.full(len(distance), half, dtype)
        slope, curvature = jax.jvp(lambda c: log_mass_slope(c, h), (c,), (jnp.ones_like(c),))
        return log_mass(c, h), slope, curvature

    distance = np.linspace(-5.0, 45.0, 501)
    low = [np.asarray(a) for a in derivatives(np.float32(distance), jnp.float32)]
    with jax.enable_x64(True):
        # Near an edge a thousand widths away c itself is rounded by 6e-5.
        rounded = np.float64(np.float32(np.float32(distance) + half)) - half
        high = [np.asarray(a) for a in derivatives(rounded, jnp.float64)]
    scale = 1.0 + np.abs(distance)
    for got, expected, power in zip(low, high, (2, 1, 0), strict=True):
        assert np.all(np.abs(got - expected) <= 2e-4 * scale**power)


def test_far_away_in_float32():
    """Where the density underflows in float32, its logarithm and score are those of the tail of the nearer edge."""
    x, t = jnp.asarray([[50.0], [-50.0]]), jnp.full(2, 0.01)
    exact = model(VP(), (-1.0, 1.0), jnp.float32)
    sigma, alpha = float(VP().sigma(t)[0]), float(VP().alpha(t)[0])
    distance = (50.0 - alpha) / sigma
    assert_allclose(exact(x, t), np.array([[-distance], [distance]]) / sigma, rtol=1e-4)
    # ln Q(p) = -p^2/2 - ln(p sqrt(2 pi)) to order 1/p^2, and the width of the interval is 2 alpha.
    tail = -0.5 * distance**2 - math.log(distance * math.sqrt(2 * math.pi) * 2 * alpha)
    assert_allclose(exact.log_density(x, t), [tail, tail], rtol=1e-5)


@pytest.mark.parametrize(
    ("eps", "expected"), [pytest.param(1e-5, 8.00069, marks=pytest.mark.slow), (1e-3, 8.00720)]
)
def test_likelihood_of_dequantized_noise(x64, eps, expected):
    """Bits/dim of uniform data on [-1, 1]: 8 plus the effect of noise across the edges, to five decimals.

    The mean over the interval uses Gauss-Legendre quadrature, separately for the last ten sigma before the edge.
    """
    sde = VP()
    sigma = float(sde.sigma(jnp.asarray(eps)))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    y = 0.5 * (nodes + 1)
    inner = 1 - 10 * sigma
    x = np.concatenate([1 - 10 * sigma * y, inner * y])[:, None]
    weights = 0.5 * np.concatenate([10 * sigma * weights, inner * weights])
    score, keys = model(sde, (-1.0, 1.0)), jax.random.split(jax.random.key(0), len(x))
    solver = AdaptiveSolver("dopri8", 1e-6, 1e-6)
    result = jax.jit(lambda x: log_density(score, sde, x, ExactTrace(), keys, eps, solver))(x)
    assert np.all(result.success)
    bits = -weights @ np.asarray(result.nats) / math.log(2) + bits_per_dim_offset(256, True)
    assert bits == pytest.approx(expected, abs=6e-6)
