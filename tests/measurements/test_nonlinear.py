"""Nonlinear measurements: NumPy's transforms, derivatives by hand, and the methods that support them, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.guidance.exact_posterior import exact_posterior
from score_sde.guidance.likelihood_score import dps, mmps, pigdm, tmpd
from score_sde.guidance.proximal import ddnm, diffpir
from score_sde.measurements.measurement import Measurement
from score_sde.measurements.nonlinear import Function, Magnitudes, Rounded
from score_sde.models.exact import GaussianScore
from score_sde.samplers.ddrm import restoring
from score_sde.samplers.decoupled import splitting
from score_sde.samplers.given_gaussian import Langevin
from score_sde.samplers.imputation import imputing
from score_sde.samplers.twisted import twisting
from score_sde.sde_lib import VP
from tests.samplers.closed_forms import closed_form

RNG = np.random.default_rng(0)
STD = 0.5
BENT = Function(lambda x: jnp.sin(x[:1]) + x[1:], (2,))


def slope(x):
    """BENT's derivative (1, 2) at one image."""
    return np.array([[np.cos(x[0]), 1.0]])


def test_magnitudes(x64):
    """As by NumPy for the padded image; the image rotated by 180 degrees and its negative have the same values."""
    x = RNG.standard_normal((1, 3, 4, 2))
    measure = jax.jit(Magnitudes.of((3, 4, 2)).__call__)
    got = measure(x)
    framed = np.pad(x, [(0, 0), (0, 3), (0, 4), (0, 0)])
    assert_allclose(got, np.abs(np.fft.fft2(framed, axes=(1, 2))) / np.sqrt(48), atol=1e-14)
    for same in (-x, x[:, ::-1, ::-1]):
        assert_allclose(measure(same), got, atol=1e-14)
    assert np.abs(measure(x[:, ::-1]) - got).max() > 0.1
    assert Magnitudes.of((5,), 3).measured_shape == (15,)


def test_rounding_is_led_as_if_there_were_none(x64):
    rounded = Rounded.of((3,), 0.5)
    x, v = jnp.array([[0.24, 0.26, -1.3]]), jnp.array([[1.0, -2.0, 3.0]])
    assert_allclose(jax.jit(rounded.__call__)(x), [[0.0, 0.5, -1.5]], atol=1e-15)
    assert_allclose(jax.jit(rounded.pullback)(x, v), v, atol=1e-15)


def test_dps_through_what_is_not_linear(x64):
    """s + J^T A'(x_hat)^T (y - A(x_hat)) / sigma_y^2 for Gaussian data, by matrices."""
    mean, covariance = np.array([0.3, -0.2]), np.array([[1.0, 0.8], [0.8, 1.0]])
    model = GaussianScore.create(jnp.asarray(mean), jnp.asarray(covariance), VP())
    x, t, y = np.array([0.7, -1.1]), 0.3, np.array([0.4])
    score = dps(model, Measurement.of(BENT, STD), VP()).given({"measured": jnp.asarray(y[None])})
    got = jax.jit(lambda score: score(jnp.asarray(x[None]), jnp.full(1, t)))(score)[0]
    at = closed_form(VP(), t)
    inverse = np.linalg.inv(at.alpha**2 * covariance + at.sigma**2 * np.eye(2))
    jacobian = at.alpha * covariance @ inverse
    x_hat = mean + jacobian @ (x - at.alpha * mean)
    off = y - (np.sin(x_hat[0]) + x_hat[1])
    expected = -inverse @ (x - at.alpha * mean) + jacobian.T @ slope(x_hat).T @ off / STD**2
    assert_allclose(got, expected, rtol=1e-10)


def test_langevin_steps_through_what_is_not_linear(x64):
    """Two Langevin steps computed by hand."""
    mean, variance, y = np.array([0.7, -1.1]), 0.6, np.array([0.4])
    z = RNG.standard_normal((2, 2))
    h = 0.3 / (1 / variance + 1 / STD**2)
    x = mean
    for noise in z:
        off = y - (np.sin(x[0]) + x[1])
        x = x + h * ((mean - x) / variance + slope(x).T @ off / STD**2) + np.sqrt(2 * h) * noise
    steps = jnp.asarray(z)[:, None]
    got = jax.jit(Langevin(2, 0.3).draw, static_argnums=4)(
        Measurement.of(BENT, STD),
        jnp.asarray(y[None]),
        jnp.asarray(mean[None]),
        jnp.asarray(variance),
        lambda j: steps[j],
    )
    assert_allclose(got[0], x, rtol=1e-12)


def test_who_needs_a_linear_one():
    model, bent, exact = None, Measurement.of(BENT, STD), Measurement.of(BENT, 0.0)
    gaussian = GaussianScore.create(jnp.zeros(2), jnp.eye(2), VP())
    for build, score, measurement in (
        (tmpd, model, bent), (mmps, model, bent), (pigdm, model, bent), (diffpir, model, bent), (ddnm, model, exact),
        (restoring, model, bent), (imputing, model, exact), (splitting, model, bent), (exact_posterior, gaussian, bent),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="needs a linear measurement, which Function is not"):
            build(score, measurement, VP())
    twisting(model, bent, VP())
    splitting(model, bent, VP(), Langevin())


def test_what_is_none():
    for build, words in (
        (lambda: Magnitudes.of((3,), 0), "oversampling=0"),
        (lambda: Rounded.of((3,), 0.0), "multiples of 0.0"),
    ):
        with pytest.raises(ConfigError, match=words):
            build()
