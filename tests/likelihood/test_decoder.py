"""The decoder from eps to the data: its cost in closed form, that it gives a bound, and probabilities of integers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from score_sde.data.scaling import scale, slope
from score_sde.likelihood.decoder import (
    GAUSSIAN,
    decoding_term,
    discretised,
    gaussian_nats,
    mean_decoding_term,
    noised,
)
from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.models.score import denoise
from score_sde.sde_lib import VE, VP, SubVP
from tests.likelihood.quadrature import gaussian_nodes, product

PROCESSES = [VP(), SubVP(), VE()]


def gaussian(sde, mean=0.5, variance=0.25):
    return GaussianScore(jnp.full(1, mean), jnp.full(1, variance), jnp.eye(1), sde)


def mixture(sde):
    return ProductMixtureScore(
        jnp.array([0.3, 0.7]), jnp.array([-1.0, 0.6]), jnp.array([0.04, 0.09]), sde
    )


# ---- data's density from that at eps -------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-5, 1e-2])
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_it_exceeds_the_entropy_of_gaussian_data_by_a_known_amount(x64, sde, eps):
    """1/2 (ln(1 + r) - r/(1 + r)) with r = sigma^2/(alpha^2 l), for known p_eps; all averages are exact."""
    model, t = gaussian(sde), jnp.asarray(eps)
    normal, z, weights = product(gaussian_nodes(1), gaussian_nodes(1))
    x0 = jnp.asarray(0.5 + 0.5 * normal)
    nats = decoding_term(model, sde, x0, z, eps) - model.log_density(
        noised(sde, x0, z, eps), jnp.full(len(x0), t)
    )
    r = float((sde.sigma(t) / sde.alpha(t)) ** 2) / 0.25
    expected = scipy.stats.norm(scale=0.5).entropy() + 0.5 * (np.log1p(r) - r / (1 + r))
    assert weights @ np.asarray(nats) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sde", [VP(), VE()], ids=repr)
def test_it_is_a_bound_for_every_image_and_steady(x64, sde):
    """On the mixture, against the integral of p_eps times the decoder; the variances of the two terms nearly cancel."""
    eps, model = 2e-2, mixture(sde)
    x0 = np.array([-1.2, -0.4, 0.1, 0.6, 0.9])
    nodes, weights = gaussian_nodes(1, 40)
    every_x0, z = (jnp.asarray(a)[:, None] for a in (np.repeat(x0, 40), np.tile(nodes[:, 0], 5)))

    @jax.jit
    def both(x0, z):
        density = -model.log_density(noised(sde, x0, z, eps), jnp.full(len(z), eps))
        return density, decoding_term(model, sde, x0, z, eps)

    density, term = both(every_x0, z)
    bound = np.asarray(density + term).reshape(5, 40) @ weights
    x, step = np.linspace(-3.0, 3.0, 20001, retstep=True)
    grid, times = jnp.asarray(x)[:, None], jnp.full(len(x), eps)
    mean, log_density = jax.jit(
        lambda x: (denoise(sde, model(x, times), x, times)[:, 0], model.log_density(x, times))
    )(grid)
    alpha, sigma = float(sde.alpha(times[0])), float(sde.sigma(times[0]))
    decoder = scipy.stats.norm.pdf(x0[:, None], mean, sigma / alpha)
    exact = -np.log(decoder @ np.exp(np.asarray(log_density)) * step)
    # r = sigma^2/(alpha^2 variance) is .09 or less; the gap is of order r^2, but between the modes.
    assert np.all(bound > exact)
    assert np.all(bound - exact < 0.05)
    together, alone = (np.asarray(a).reshape(5, 40) for a in (density + term, term))

    def spread(values):
        return np.sqrt(np.mean((values - (values @ weights)[:, None]) ** 2 @ weights))

    assert spread(together) < 0.4 * spread(alone)


def test_its_mean_over_draws(x64):
    """Against quadrature, within 4.9 of its standard errors over 200 images: false alarms 1e-6."""
    sde, eps, model = VE(), 1e-3, gaussian(VE(), variance=1e-3)
    x0 = jnp.full((200, 1), 0.52)
    keys = jax.random.split(jax.random.key(0), 200)
    mean = jax.jit(lambda x0, keys: mean_decoding_term(model, sde, x0, keys, eps, 8))(x0, keys)
    z, weights = gaussian_nodes(1)
    exact = weights @ np.asarray(decoding_term(model, sde, jnp.full((3, 1), 0.52), z, eps))
    assert np.all(mean.nfe == 8)
    spread = float(mean.nats.std())
    assert abs(float(mean.nats.mean()) - exact) < 4.9 * spread / np.sqrt(200)
    # The ratio's SD over 200 images of 4 pairs is 5 %.
    assert 0.75 < float(jnp.mean(mean.standard_error**2)) / spread**2 < 1.25


# ---- decoders ------------------------------------------------------------------------------------------------


def test_gaussian_decoder():
    x0, mean = np.random.default_rng(0).normal(size=(2, 3, 4))
    expected = -scipy.stats.norm(mean, 0.3).logpdf(x0).sum(axis=1)
    nats = gaussian_nats(jnp.asarray(x0, jnp.float32), jnp.asarray(mean, jnp.float32), 0.09)
    np.testing.assert_allclose(nats, expected, rtol=1e-5)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("num_levels", [2, 16, 256])
def test_integers_are_probabilities(num_levels, centered):
    """The probabilities of all levels sum to 1, and each is a difference of CDFs; in float32."""
    levels = np.arange(num_levels)
    x0 = scale(jnp.asarray(levels / (num_levels - 1), jnp.float32), centered)
    nats = jax.jit(discretised(num_levels, centered).nats)
    edges = slope(centered) * (levels[1:] - 0.5) / (num_levels - 1) - (1.0 if centered else 0.0)
    for mean, std in itertools.product((-1.1, 0.3, 0.503), (1e-4, 0.01, 0.5)):
        means = jnp.full((num_levels, 1), mean, jnp.float32)
        of_levels = np.asarray(nats(x0[:, None], means, jnp.float32(std**2)), np.float64)
        cdf = scipy.stats.norm(np.float32(mean), std).cdf
        expected = np.diff(np.concatenate([[0.0], cdf(edges), [1.0]]))
        # A mean of order 1 is rounded by 6e-8, a thousandth of the smallest std.
        np.testing.assert_allclose(np.exp(-of_levels), expected, atol=6e-8 / std + 1e-6)
        assert np.exp(-of_levels).sum() == pytest.approx(1.0, abs=1e-5 + 1e-7 / std)
        assert np.all(np.isfinite(of_levels))


@pytest.mark.parametrize("num_levels", [256, 17])
def test_noise_that_a_decoder_does_not_feel(x64, num_levels):
    """The curvature is that of -ln P, by finite differences; each of 17 levels is six standard deviations wide."""
    decoder, variance, step = discretised(num_levels, centered=True), jnp.asarray(1e-4), 1e-5
    x0 = jnp.full((3, 1), scale(3 / (num_levels - 1), True))
    nats = decoder.nats(x0, x0 + step * jnp.asarray([[-1.0], [0.0], [1.0]]), variance)
    expected = (nats[0] - 2 * nats[1] + nats[2]) / step**2 * variance
    assert float(decoder.curvature(variance)) == pytest.approx(float(expected), abs=1e-5)
    assert float(GAUSSIAN.curvature(variance)) == 1.0


def test_pixels_of_an_image_add_up():
    nats = jax.jit(discretised(8, centered=True).nats)
    x0 = scale(jnp.asarray([[0.0, 3 / 7, 1.0], [2 / 7, 2 / 7, 6 / 7]]), True)
    mean, variance = 0.8 * x0 + 0.05, jnp.asarray(0.04)
    of_pixels = nats(x0.reshape(6, 1), mean.reshape(6, 1), variance)
    np.testing.assert_allclose(
        nats(x0, mean, variance), np.sum(of_pixels.reshape(2, 3), axis=1), rtol=1e-6
    )


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="num_levels=1"):
        discretised(1, centered=True)
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(ValueError, match="draws=3"):
        mean_decoding_term(lambda x, t: -x, VP(), jnp.zeros((2, 3)), keys, 1e-3, 3)
