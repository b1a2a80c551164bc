"""Processes beyond the published three: agreement with their papers; the other tests check the consistency of all processes."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from numpy.testing import assert_allclose
from scipy.special import expit

from score_sde.errors import ConfigError
from score_sde.sde_lib import (
    EDM,
    Cosine,
    Linear,
    NoDiscreteForm,
    ScaledLinear,
    ShiftedCosine,
    Sigmoid,
    Trigonometric,
)

pytestmark = pytest.mark.usefixtures("x64")

# openai/improved-diffusion 1bc7bbb (the rates of its chains, float64)
SCHEDULES = Path(__file__).parents[1] / "golden" / "peers" / "gd_schedules.npz"


@pytest.mark.parametrize("levels", [50, 1000])
def test_cosine_between_its_levels_has_the_published_rates(levels):
    """All levels but the last, which the chain clips to 0.999 and which lies beyond our last time."""
    with np.load(SCHEDULES) as file:
        rates = file[f"betas/cosine_{levels}"][:-1]
    t = jnp.arange(levels) / levels
    # Theirs are differences 1 - ab(t)/ab(s) of numbers near 1, the smallest 4e-5.
    assert_allclose(Cosine().variance_between(t[:-1], t[1:]), rates, rtol=1e-11)


def test_cosine_ends_where_the_published_chain_does():
    """At the last level the signal's variance is 0.001 of that at the level before."""
    with np.load(SCHEDULES) as file:
        log_signal = np.log1p(-file["betas/cosine_1000"]).sum()
    assert abs(Cosine().log_snr(jnp.asarray(Cosine.T)) - log_signal) < 0.1


def test_shifted_cosine_goes_from_one_log_snr_to_the_other():
    sde = ShiftedCosine(log_snr_max=12.0, log_snr_min=-10.0, log_snr_shift=-2.0)
    assert_allclose(sde.log_snr(jnp.asarray([0.0, 1.0])), [10.0, -12.0], rtol=1e-12)
    even = ShiftedCosine(log_snr_max=9.0, log_snr_min=-9.0, log_snr_shift=0.5)
    assert_allclose(even.log_snr(jnp.asarray(0.5)), 0.5, rtol=1e-12)
    t = jnp.asarray(0.3)
    assert_allclose(even.alpha(t) ** 2 + even.sigma(t) ** 2, 1.0, rtol=1e-14)


def test_a_shift_gives_large_images_the_noise_of_small_ones():
    """Averaging 4 x 4 pixels of a smooth 256-pixel image divides the noise by 4, which gives that of the 64-pixel image."""
    t = jnp.linspace(0.0, 1.0, 7)
    large = ShiftedCosine(log_snr_shift=2 * np.log(64 / 256))
    signal, noise = large.alpha(t), large.sigma(t) / 4
    assert_allclose(2 * np.log(signal / noise), ShiftedCosine().log_snr(t), atol=1e-12)


def test_scaled_linear_has_a_rate_whose_root_is_linear():
    sde = ScaledLinear(0.85, 12.0)
    assert_allclose(
        np.sqrt(sde.beta(jnp.asarray([0.0, 0.5, 1.0]))), np.linspace(0.85**0.5, 12.0**0.5, 3)
    )
    integral, _ = scipy.integrate.quad(lambda t: sde.beta(jnp.asarray(t)), 0.2, 0.7)
    between = sde.beta_integral_between(jnp.asarray(0.2), jnp.asarray(0.7))
    assert_allclose(between, integral, rtol=1e-13)
    with pytest.raises(NoDiscreteForm, match="ScaledLinear has no published discrete chain"):
        sde.chain(1000)


def test_trigonometric_keeps_the_variance_of_the_data():
    sde = Trigonometric(sigma_data=0.7)
    t = jnp.asarray([0.01, 0.5, 1.5])
    assert_allclose(0.7**2 * sde.alpha(t) ** 2 + sde.sigma(t) ** 2, 0.49, rtol=1e-14)
    end = jnp.asarray(Trigonometric.T)
    assert_allclose(Trigonometric().sigma(end) / Trigonometric().alpha(end), 80.0, rtol=1e-5)


def test_the_time_of_edm_is_its_noise():
    assert_allclose(EDM().sigma(jnp.asarray([0.002, 80.0])), [0.002, 80.0], rtol=0)
    assert EDM().prior_std == EDM.T == 80.0


def test_sigmoid_is_the_published_piece_of_the_logistic_curve():
    """Chen 2023, Algorithm 1, "sigmoid_schedule", in plain float64."""
    t = np.array([0.01, 0.3, 0.5, 0.9, 0.999])
    for start, end, tau in ((-3.0, 3.0, 0.9), (0.0, 3.0, 0.7), (-2.0, 4.0, 1.1)):
        at_start, at_end, here = (expit(v / tau) for v in (start, end, start + t * (end - start)))
        signal = (at_end - here) / (at_end - at_start)
        sde = Sigmoid(start, end, tau)
        assert_allclose(sde.alpha(jnp.asarray(t)) ** 2, signal, rtol=1e-11)
        assert_allclose(sde.sigma(jnp.asarray(t)) ** 2, 1 - signal, rtol=1e-11)
    assert_allclose(Sigmoid().log_snr(jnp.asarray(0.5)), 0.0, atol=1e-14)
    assert_allclose(Sigmoid().log_snr(jnp.asarray(Sigmoid.T)), -11.83, atol=5e-3)


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("sigmoid_start < sigmoid_end", (3.0, 3.0, 0.9)),
        ("expected at least 0.075", (-3.0, 3.0, 0.07)),
    ],
)
def test_sigmoids_that_are_none_are_refused(words, fields):
    with pytest.raises(ConfigError, match=words):
        Sigmoid(*fields)


def test_the_straight_path_ends_in_noise_alone():
    sde, end = Linear(), jnp.asarray(1.0)
    assert Linear.T == 1.0
    assert_allclose([sde.alpha(end), sde.sigma(end), sde.prior_std], [0.0, 1.0, 1.0], atol=0)
    # Of image and noise: z - x_0, at every time.
    x0, z, t = jnp.array([[2.0], [0.5]]), jnp.array([[-1.0], [3.0]]), jnp.array([0.0, 1.0])
    assert_allclose(sde.velocity(x0, z, t), z - x0, rtol=1e-15)


@pytest.mark.parametrize("ends", [(3.0, 3.0), (-1.0, 1.0)])
def test_log_snrs_that_do_not_fall_are_refused(ends):
    with pytest.raises(ConfigError, match="expected log_snr_min < log_snr_max"):
        ShiftedCosine(*ends)
