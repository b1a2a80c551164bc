"""Bits/dim of sets of images: offset, every image once, devices, repeats."""

import copy
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from score_sde.configs.default import get_config
from score_sde.data.splits import ImagesInMemory
from score_sde.errors import UserError
from score_sde.likelihood.bits_per_dim import (
    BitsPerDim,
    Measured,
    build_compiled,
    check_finite,
    measure_bits_per_dim,
)
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.sde_lib import VP

SIDE = 4
D = SIDE * SIDE


def config_for(num_levels, batch_size=4, repeats=1):
    config = get_config()
    config.data.image_size = SIDE
    config.data.num_levels = num_levels
    config.likelihood.batch_size = batch_size
    config.likelihood.repeats = repeats
    config.likelihood.update(bound_draws=0, save_latents=True)
    return config


COMPILED = {}


def compiled(config, sde):
    """One program for all measurements of the same config, however many images and repeats they have."""
    config = copy.deepcopy(config)
    config.likelihood.update(num_images=0, repeats=1)
    key = (config.to_json(sort_keys=True), sde)
    if key not in COMPILED:
        COMPILED[key] = build_compiled(config, sde, config.data.image_size**2)
    return COMPILED[key]


def measure(config, sde, model, split, dequantizer=None, unfinished=None):
    dequantizer, run = dequantizer or UniformDequantizer(), compiled(config, sde)
    return measure_bits_per_dim(
        config, sde, model, dequantizer, split, 0, unfinished, show=False, compiled=run
    )


def gaussian(variance):
    return GaussianScore(jnp.zeros(D), jnp.full(D, variance), jnp.eye(D), VP())


def split_of(num_images, num_levels, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, num_levels, size=(num_images, SIDE, SIDE, 1)).astype(np.uint8)
    return ImagesInMemory(images)


@pytest.mark.parametrize("levels", [17, pytest.param(256, marks=pytest.mark.slow)])
def test_offset_for_a_density_known_everywhere(levels):
    """For a Gaussian so wide that it is flat on [-1, 1], every image costs the same known number of bits.

    -log2 N(0; 0, s^2) for each pixel, plus log2 L - 1 for the scaling of L levels to [-1, 1].
    """
    variance = 1e4
    measured = measure(config_for(levels), VP(), gaussian(variance), split_of(4, levels))
    # The prior N(0, 1) stands for N(0, alpha^2 1e4 + sigma^2) at T: the ODE's law has variance
    # c_eps / c_T, with alpha(1)^2 = 4.31857e-5.
    law = (variance + 1e-6) / (4.31857e-5 * variance + 1 - 4.31857e-5)
    expected = 0.5 * math.log2(2 * math.pi * law) + math.log2(levels) - 1
    np.testing.assert_allclose(measured.ode.bits_per_dim, expected, atol=2e-4)


@pytest.mark.slow
def test_reencoding_changes_nothing():
    """The same images on [0, 1] and on [-1, 1], with the density transformed accordingly, cost the same bits."""
    split = split_of(6, 17)
    centred, unit = config_for(17), config_for(17)
    unit.data.centered = False
    # x' = (x + 1)/2: a Gaussian of mean 0, variance v becomes one of mean 1/2, variance v/4
    wide = GaussianScore(jnp.zeros(D), jnp.full(D, 0.4), jnp.eye(D), VP())
    narrow = GaussianScore(jnp.full(D, 0.5), jnp.full(D, 0.1), jnp.eye(D), VP())
    one = measure(centred, VP(), wide, split)
    other = measure(unit, VP(), narrow, split)
    # The flow's law at eps differs by the prior's mismatch, which is not the same for the two: alpha(1) = 0.0066
    # of the mean 1/2, some 1e-3 of the exponent.
    np.testing.assert_allclose(one.ode.bits_per_dim, other.ode.bits_per_dim, atol=5e-3)


def test_every_image_counts_once_whatever_the_batch():
    """Seven images in batches of 4, of which the last is padded, or in one padded batch of 8: the same value for each image."""
    split = split_of(7, 17)
    small, large = (measure(config_for(17, b), VP(), gaussian(0.3), split) for b in (4, 8))
    assert small.ode.bits_per_dim.shape == large.ode.bits_per_dim.shape == (1, 7)
    np.testing.assert_allclose(small.ode.bits_per_dim, large.ode.bits_per_dim, atol=2e-4)
    assert len(np.unique(small.ode.bits_per_dim)) == 7
    assert small.ode.mean == pytest.approx(float(np.mean(small.ode.bits_per_dim)))
    assert small.latents.shape == (7, SIDE, SIDE, 1)


def test_standard_error_is_that_of_the_images():
    """From its definition on the recorded values; repeats are averaged within an image first."""
    split = split_of(5, 17)
    measured = measure(config_for(17, repeats=3), VP(), gaussian(0.3), split)
    assert measured.ode.bits_per_dim.shape == (3, 5)
    assert not np.array_equal(measured.ode.bits_per_dim[0], measured.ode.bits_per_dim[1])
    values = measured.ode.bits_per_dim.mean(axis=0)
    expected = np.sqrt(np.sum((values - values.mean()) ** 2) / 4 / 5)
    assert measured.ode.standard_error == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("nats", "success", "failed"),
    [([1.0, 1.0], [True, False], 1), ([np.nan, 1.0], [True, True], 1), ([np.inf, 1.0], [False, False], 2)],
)  # fmt: skip
def test_what_failed_is_counted_by_image(nats, success, failed):
    """A value that is not finite, or a finite one of a solver that says it failed."""
    values = {"ode/nats": np.array(nats), "ode/success": np.array(success)}
    with pytest.raises(UserError, match=f"^{failed} of 2 likelihoods are not finite"):
        check_finite(values, config_for(17).likelihood)


def test_equal_images_have_noise_of_their_own():
    """Four copies of one image: each is dequantized with its own noise, so no two values agree."""
    split = ImagesInMemory(np.repeat(split_of(1, 17).images, 4, axis=0))
    measured = measure(config_for(17), VP(), gaussian(0.3), split)
    assert len(np.unique(measured.ode.bits_per_dim)) == 4


@pytest.mark.slow
def test_real_valued_data_have_no_levels():
    model = ProductMixtureScore(
        jnp.array([0.3, 0.7]), jnp.array([-1.0, 0.6]), jnp.array([0.04, 0.09]), VP()
    )
    config = config_for(0)
    config.data.centered = False
    x = np.random.default_rng(0).normal(size=(4, SIDE, SIDE, 1)).astype(np.float32)
    measured = measure(config, VP(), model, ImagesInMemory(x))
    exact = -np.asarray(model.log_density(jnp.asarray(x), jnp.full(4, 1e-5))) / (D * math.log(2))
    np.testing.assert_allclose(measured.ode.bits_per_dim[0], exact, atol=2e-3)


def correlated():
    """Sixteen pixels of covariance 0.25 * 0.9^|i - j|, and the law that VP's flow makes of its prior."""
    covariance = 0.25 * 0.9 ** np.abs(np.subtract.outer(np.arange(D), np.arange(D)))
    model = GaussianScore.create(jnp.zeros(D), jnp.asarray(covariance, jnp.float32), VP())
    at_eps = covariance + 1.0010e-6 * np.eye(D)
    at_end = 4.31857e-5 * covariance + (1 - 4.31857e-5) * np.eye(D)
    return model, multivariate_normal(cov=at_eps @ np.linalg.inv(at_end))


def test_the_exact_trace_leaves_nothing_to_chance():
    """On real-valued data there is no dequantization either: every repeat gives the closed form."""
    model, law = correlated()
    config = config_for(0, repeats=2)
    config.data.centered, config.likelihood.probe = False, "exact"
    x = law.rvs(size=4, random_state=0).astype(np.float32).reshape(4, SIDE, SIDE, 1)
    measured = measure(config, VP(), model, ImagesInMemory(x))
    exact = -law.logpdf(x.reshape(4, D).astype(np.float64)) / (D * math.log(2))
    np.testing.assert_allclose(measured.ode.bits_per_dim, [exact, exact], atol=2e-5)


def test_every_image_and_every_repeat_has_a_probe_of_its_own():
    """Equal real-valued images differ only by their probes, and for this density any two probes differ."""
    model, _ = correlated()
    config = config_for(0, repeats=2)
    config.data.centered, config.likelihood.probe = False, "gaussian"
    x = np.full((8, SIDE, SIDE, 1), 0.3, np.float32)
    measured = measure(config, VP(), model, ImagesInMemory(x))
    assert len(np.unique(measured.ode.bits_per_dim)) == 16
    # Their spread is the known one, .844: sixteen values lie between .2 and 2 of it but for 1e-6.
    assert 0.2 < measured.ode.bits_per_dim.std() / 0.844 < 2


def test_num_images_limits_and_batch_must_fit_devices():
    config = config_for(17)
    config.likelihood.num_images = 3
    measured = measure(config, VP(), gaussian(0.3), split_of(9, 17))
    assert measured.ode.bits_per_dim.shape == (1, 3)
    with pytest.raises(UserError, match="likelihood.batch_size=6 on 4 devices"):
        measure(config_for(17, 6), VP(), gaussian(0.3), split_of(2, 17))


def test_the_interval_of_the_mean_holds():
    """200 sets of 12 images whose bits/dim are those of a Gaussian in four dimensions, chi-square and hence skewed: the 95 %
    interval covers the mean in 91 to 98 % of them. Between two values a and b it is the mean +- 12.7062 |a - b| / 2."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        values = rng.chisquare(4, size=(1, 12)) / (8 * math.log(2))
        low, high = Measured(values, np.zeros((1, 12)), np.ones((1, 12))).interval
        covered += low < 0.5 / math.log(2) < high
    assert 0.91 <= covered / 200 <= 0.98
    two = Measured(np.array([[1.0, 2.0]]), np.zeros((1, 2)), np.ones((1, 2)))
    np.testing.assert_allclose(two.interval, (1.5 - 6.3531, 1.5 + 6.3531), atol=1e-4)


def test_own_errors_add_as_those_of_independent_numbers():
    """Four images with errors 3, 4, 12 and 84: sqrt(9 + 16 + 144 + 7056) / 4 = 85 / 4."""
    errors = np.array([[3.0, 4.0, 12.0, 84.0]])
    assert Measured(errors, errors, errors).own_error == pytest.approx(85 / 4)


def test_the_own_error_of_repeats_is_that_of_their_mean():
    """In 2,000 sets of three images with noise of 1 and 3 repeats, whatever error each states: the mean of its square is
    1/9, to within 5 of its own deviations, 1/9 sqrt(2/6/2000), one in a million."""
    noise = np.random.default_rng(0).normal(size=(2000, 3, 3))
    zeros = np.zeros((3, 3))
    squares = [Measured(values, zeros, zeros).own_error ** 2 for values in noise]
    assert np.mean(squares) == pytest.approx(1 / 9, abs=5 / 9 * math.sqrt(2 / 6 / 2000))


def test_the_gap_is_between_costs_of_the_same_images():
    one = Measured(np.ones((1, 2)), np.zeros((1, 2)), np.ones((1, 2)))
    of_the_sde, of_dequantized, of_integers = (
        BitsPerDim(one, one, None, 1.0, *laws) for laws in ((), (True,), (True, True))
    )
    np.testing.assert_array_equal(of_the_sde.gap, [0, 0])
    np.testing.assert_array_equal(of_dequantized.gap, [0, 0])
    assert of_integers.gap is None
    assert "bound on the chain" in of_integers.by_name
    assert "bound on the SDE" in of_the_sde.by_name
