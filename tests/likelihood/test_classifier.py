"""Bayes' rule with likelihoods, for data with a known optimal classifier."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.data.splits import ImagesInMemory
from score_sde.likelihood.classifier import accuracy, classify, confusion
from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import SubVP
from tests.likelihood.test_bits_per_dim import config_for, measure

N = 2000


@functools.cache
def costs(**likelihood):
    """Of N images of one pixel, half of them N(-1, 1) and half N(1, 1), in nats under either exact score."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, N)
    x = (2 * labels - 1 + rng.normal(size=N)).astype(np.float32).reshape(N, 1, 1, 1)
    config = config_for(0, batch_size=N)
    config.data.update(centered=False, image_size=1)
    config.likelihood.update(rtol=1e-4, atol=1e-4, eps=1e-3, **likelihood)
    nats = []
    for mean in (-1.0, 1.0):
        model = GaussianScore(jnp.full(1, mean), jnp.ones(1), jnp.eye(1), SubVP())
        nats.append(measure(config, SubVP(), model, ImagesInMemory(x)).best.per_image * np.log(2))
    return x.ravel(), labels, np.stack(nats)


def test_exact_likelihoods_make_the_bayes_classifier():
    """It chooses the nearer mean, with accuracy Phi(1) = .8413, here within 4.9 binomial errors.

    The posterior is the logistic function of 2 x, up to the mismatch of the prior: the mean of the ODE's distribution is off by
    alpha(1) = .0066, and the log-odds by twice that.
    """
    x, labels, nats = costs()
    answers = classify(nats, np.array([0.5, 0.5]))
    sure = np.abs(x) > 0.02
    np.testing.assert_array_equal(answers.predicted[sure], (x > 0)[sure])
    np.testing.assert_allclose(answers.posterior[:, 1], 1 / (1 + np.exp(-2 * x)), atol=0.01)
    found = accuracy(answers.predicted, labels)
    assert abs(found.value - norm.cdf(1)) < 4.892 * found.standard_error
    counts = confusion(answers.predicted, labels, 2)
    assert counts.sum() == N
    assert np.trace(counts) == found.value * N
    assert counts[1, 0] == np.sum((labels == 1) & (answers.predicted == 0))


def test_no_mistake_in_few_images_is_not_certainty():
    """16 of 16 correct count as 18 of 20, with the error sqrt(.9 * .1 / 20)."""
    found = accuracy(np.zeros(16), np.zeros(16))
    assert found.value == 1
    np.testing.assert_allclose(found.standard_error, 0.0670820, rtol=1e-6)


def test_a_prior_moves_the_border():
    """With prior odds of 9 to 1 for the left class, the boundary is at 2 x = ln 9."""
    x, _, nats = costs()
    border = np.log(9) / 2
    predicted = classify(nats, np.array([0.9, 0.1])).predicted
    sure = np.abs(x - border) > 0.02
    np.testing.assert_array_equal(predicted[sure], (x > border)[sure])


@pytest.mark.slow
def test_bounds_on_the_same_noise_classify_as_well():
    """The diffusion classifier with exact scores: with shared noise, the difference of two bounds has a standard deviation
    below one nat at 64 draws, and the accuracy drops by a few hundredths at most."""
    _, labels, nats = costs(ode=False, bound_draws=64)
    found = accuracy(classify(nats, np.array([0.5, 0.5])).predicted, labels)
    assert 0.80 < found.value < 0.87
