"""float32 keeps the accuracy of the closed forms, down to t = 1e-5 and between adjacent times.

The reference is the same method in float64 at the same (float32) times. A naive 1 - exp(-B) would be off by a few
percent at t = 1e-5, and sigma_t^2 - a^2 sigma_s^2 by 1e-4 ... 1e-3 between adjacent times of a fine grid.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("x64")

EPS32 = np.finfo(np.float32).eps
TIMES = np.geomspace(1e-5, 1.0, 400).astype(np.float32)  # of the end of time

# exp(a) turns the rounding of a, eps/2 |a| and as much again for its last product, into a relative error. The
# largest exponents: B(1) = 10.05 and 2 ln(sigma_max/sigma_min) = 17.03. So some 17 ulps, and a few for the rest.
ULPS = 24


def times_of(sde):
    """None after T by rounding."""
    return np.minimum(TIMES * np.float32(sde.signal_end), np.float32(sde.signal_end))


def relative_errors(fn, *args):
    """Of fn's results in float32 under jit (as the library runs it), against float64 at the same numbers."""
    lows = jax.jit(fn)(*(jnp.asarray(arg, jnp.float32) for arg in args))
    highs = fn(*(jnp.asarray(arg, jnp.float64) for arg in args))
    for low, high in zip(lows, map(np.asarray, highs), strict=True):
        assert low.dtype == jnp.float32
        error = np.abs(np.asarray(low, np.float64) - high)
        yield np.max(error / np.where(error == 0, 1.0, np.abs(high)))


def test_functions_of_time(sde):
    methods = [
        sde.alpha,
        sde.sigma,
        sde.alpha_rate,
        sde.sigma_rate,
        sde.drift_coefficient,
        sde.diffusion_squared,
        sde.diffusion,
    ]
    errors = relative_errors(lambda t: [method(t) for method in methods], times_of(sde))
    assert max(errors) < ULPS * EPS32


def test_log_snr(sde):
    low = np.asarray(jax.jit(sde.log_snr)(jnp.asarray(times_of(sde))), np.float64)
    high = np.asarray(sde.log_snr(jnp.asarray(times_of(sde), jnp.float64)))
    # It crosses zero, so the error counts absolutely: it is that of sigma^2/alpha^2, whose logarithm this is.
    assert np.max(np.abs(low - high)) < ULPS * EPS32


def test_kernel_between_neighbours(sde):
    dt = np.repeat(np.array([1e-1, 1e-3, 1e-4]), 200)
    t = np.concatenate([np.linspace(1.1 * step, 1.0, 200) for step in dt[::200]]).astype(np.float32)
    s = t - dt.astype(np.float32)
    errors = relative_errors(
        lambda s, t: [sde.alpha_between(s, t), sde.variance_between(s, t)], s, t
    )
    assert max(errors) < ULPS * EPS32


@pytest.mark.parametrize("h", [0.0, 1.0])
def test_reverse_drift(sde, h):
    """Its two terms have opposite signs for an exact score, so the error is relative to their size."""
    t = times_of(sde)
    x = np.linspace(-2.0, 2.0, 400).astype(np.float32)[:, None]
    score = -x / (1 + t[:, None])
    low = sde.reverse_drift(jnp.asarray(x), jnp.asarray(t), jnp.asarray(score), h)
    x, t, score = (jnp.asarray(a, jnp.float64) for a in (x, t, score))
    high = sde.reverse_drift(x, t, score, h)
    size = np.abs(sde.drift(x, t)) + np.abs(sde.diffusion_squared(t)[:, None] * score)
    assert low.dtype == jnp.float32
    assert np.all(np.abs(np.asarray(low, np.float64) - high) < ULPS * EPS32 * size)


def test_time_of_log_snr(sde):
    """Inverts to the time that a float32 log-SNR represents, to one ulp of T."""
    log_snr = np.asarray(sde.log_snr(jnp.asarray(times_of(sde))))
    low = np.asarray(jax.jit(sde.time_of_log_snr)(jnp.asarray(log_snr)), np.float64)
    high = np.asarray(sde.time_of_log_snr(jnp.asarray(log_snr, jnp.float64)))
    # VE's time is linear in ln sigma (|ln sigma| <= 4.7 over 8.4 for a whole unit of time): some ulps of T.
    np.testing.assert_allclose(low, high, rtol=ULPS * EPS32, atol=2 * EPS32)


def test_prior_log_density(sde):
    z = 30.0 * np.random.default_rng(0).standard_normal((3, 32, 32, 3), np.float32)
    # A sum of 3072 squares in float32 by pairs, beside a constant.
    errors = relative_errors(lambda z: [sde.prior_log_density(z)], z)
    assert max(errors) < ULPS * EPS32
