"""The parts of a measurement together (dequantization, ODE, bound, decoder), on data with known costs."""

import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.data.splits import ImagesInMemory
from score_sde.guidance.classifier_free import ClassifierFree
from score_sde.guidance.combinations import Extrapolated
from score_sde.keys import MeasurementKeys, image_keys
from score_sde.likelihood import per_image
from score_sde.likelihood.bound import Bound
from score_sde.likelihood.log_density import LogDensity
from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import VP, expand
from tests.likelihood.test_bits_per_dim import SIDE, D, config_for, measure, split_of

ELL = 0.25
ENTROPY = 0.5 * math.log2(2 * math.pi * math.e * ELL)  # bits of a dimension of N(0, ELL)


def white(sde=VP()):  # noqa: B008
    return GaussianScore(jnp.zeros(D), jnp.full(D, ELL), jnp.eye(D), sde)


def gaussian_data(n):
    x = math.sqrt(ELL) * np.random.default_rng(3).normal(size=(n, SIDE, SIDE, 1))
    return ImagesInMemory(x.astype(np.float32))


def real_config(**likelihood):
    config = config_for(0, batch_size=200)
    config.data.centered = False
    config.likelihood.update(rtol=1e-4, atol=1e-4, **likelihood)
    return config


@pytest.mark.slow
def test_the_bound_of_the_exact_score_is_the_likelihood():
    """Both distributions are exact up to the prior (5e-6 nats): the mean gap is zero within five standard errors."""
    measured = measure(real_config(bound_draws=32), VP(), white(), gaussian_data(400))
    # A probe is exact for a diagonal Jacobian, so the error of the gap is the bound's.
    assert abs(measured.gap.mean()) < 5 * measured.bound.own_error + 1e-4
    assert 0 < measured.bound.own_error < 0.02
    assert abs(measured.ode.mean - ENTROPY) < 5 * measured.ode.standard_error
    np.testing.assert_array_equal(measured.bound.nfe, 32)


@pytest.mark.parametrize("eps", [pytest.param(1e-3, marks=pytest.mark.slow), 0.2])
def test_with_the_decoder_the_cost_is_that_of_the_data(eps):
    """The cross entropy of N(0, l) under its own model is ln(1 + r)/2 - r/(2 (1 + r)) nats above its entropy, with
    r = sigma^2/(alpha^2 l) at eps: 1e-7 bits at .001, .32 at .2. Within five standard errors."""
    config = real_config(eps=eps, decoder="gaussian", bound_draws=16)
    measured = measure(config, VP(), white(), gaussian_data(400))
    integral = 0.1 * eps + 19.9 / 2 * eps**2
    r = math.expm1(integral) / ELL
    exact = ENTROPY + 0.5 * (math.log(1 + r) - r / (1 + r)) / math.log(2)
    # .255 / 20 of the images, and what 16 draws add
    for part, limit in ((measured.ode, 0.014), (measured.bound, 0.025)):
        assert abs(part.mean - exact) < 5 * part.standard_error
        assert part.standard_error < limit


@pytest.mark.slow
def test_evaluations_are_of_the_network():
    """Guidance between equal distributions: the same values, with twice the evaluations."""
    config, data = real_config(bound_draws=2), gaussian_data(4)
    once, twice = (
        measure(config, VP(), model, data)
        for model in (white(), ClassifierFree(white(), Extrapolated(1.0)))
    )
    for part, guided in ((once.ode, twice.ode), (once.bound, twice.bound)):
        np.testing.assert_allclose(guided.per_image, part.per_image, rtol=1e-5)
        np.testing.assert_array_equal(guided.nfe, 2 * part.nfe)


def test_the_decoder_adds_its_error_and_its_evaluations(monkeypatch):
    """Errors of 3 and 4 nats of independent draws are 5 together; 4 evaluations of the bound and the decoder's 8 are 12, 30 of an ODE and
    its one are 31."""

    def of(nats, error, nfe):
        return Bound(*(jnp.full(2, value) for value in (nats, error, nfe)))

    def density(model, x, keys):
        return LogDensity(jnp.zeros(2), jnp.zeros(2), x, jnp.full(2, 30), jnp.full(2, True))

    monkeypatch.setattr(per_image, "continuous_bound", lambda *_: of(7.0, 3.0, 4))
    monkeypatch.setattr(per_image, "mean_decoding_term", lambda *_: of(-2.0, 4.0, 8))
    monkeypatch.setattr(per_image, "build_log_density", lambda *_: density)
    x = jnp.zeros((2, SIDE, SIDE, 1))
    keys = image_keys(MeasurementKeys, jax.random.key(0), jnp.arange(2))
    for decoder, bound, nfe in (("none", (7, 3, 4), 30), ("gaussian", (5, 5, 12), 31)):
        config = real_config(decoder=decoder, bound_draws=4)
        arguments = white(), x, x, jnp.zeros(2), keys
        found = per_image.build_continuous_bound(config, VP())(*arguments)
        assert tuple(float(found[name][0]) for name in ("nats", "error", "nfe")) == bound
        assert int(per_image.build_ode(config, VP(), D)(*arguments)["nfe"][0]) == nfe


def test_what_the_noise_cost_is_added():
    """A dequantizer that returns the middle of every cell at a cost of 3 nats per image."""

    def middle(nats, images, keys):
        return jnp.full(images.shape, 0.5), jnp.broadcast_to(nats, images.shape[:1])

    config, split = config_for(17), split_of(4, 17)
    config.likelihood.bound_draws = 2
    dear, free = (
        measure(config, VP(), white(), split, jax.tree_util.Partial(middle, jnp.float32(nats)))
        for nats in (3.0, 0.0)
    )
    for one, other in ((dear.ode, free.ode), (dear.bound, free.bound)):
        np.testing.assert_allclose(
            one.bits_per_dim - other.bits_per_dim, 3 / (D * math.log(2)), rtol=1e-4
        )
    x = (2 * (split.images.astype(np.float64) + 0.5) / 17 - 1).reshape(4, D)
    exact = -norm.logpdf(x, 0, math.sqrt(ELL)).sum(axis=1) / (D * math.log(2)) + math.log2(17) - 1
    # The ODE's law at eps = 1e-5, where sigma^2 is 1e-6, of a prior that differs by alpha(1)^2 = 4e-5.
    np.testing.assert_allclose(free.ode.bits_per_dim[0], exact, atol=2e-4)


@flax.struct.dataclass
class GaussianChain:
    """The exact score of N(0, ELL I) on the levels of a chain."""

    chain: Any = flax.struct.field(pytree_node=False)

    def at_level(self, x, level):
        alpha, sigma = self.chain.alphas[level], self.chain.sigmas[level]
        return -x / expand(alpha**2 * ELL + sigma**2, x)


@pytest.mark.parametrize("dequantized", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_chains_bound_on_dequantized_and_on_integer_images(dequantized):
    """Levels drawn from the Gaussian on a grid of 256: the cost of an image in bits, by either decoder.

    -log2 of the density at the image, plus log2 L - 1, is the cost of a level to second order in its width; so it is
    for the discretized decoder with steps of 2/(L - 1). The chain of 1,000 steps has a discretization cost: ancestral steps of
    variance beta add a little at every level, in total below .05 bits here, and never less than 0.
    """
    config = config_for(256)
    config.training.continuous = False
    config.data.uniform_dequantization = dequantized
    config.likelihood.update(ode=False, bound_draws=400)
    x = 0.25 * np.random.default_rng(0).normal(size=(8, SIDE, SIDE, 1))
    images = np.clip(np.round((x + 1) / 2 * 255), 0, 255).astype(np.uint8)
    model = GaussianChain(VP().chain(1000))
    measured = measure(config, VP(), model, ImagesInMemory(images))
    x = (2 * images.astype(np.float64) / 255 - 1).reshape(8, D)
    cost = -norm.logpdf(x, 0, math.sqrt(ELL)).sum(axis=1) / (D * math.log(2))
    exact = cost + math.log2(256 if dequantized else 255) - 1
    excess = measured.bound.per_image - exact
    errors = measured.bound.error[0]
    assert np.all(excess > -5 * errors)
    assert np.all(excess < 0.05 + 5 * errors)
