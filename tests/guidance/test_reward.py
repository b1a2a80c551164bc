"""Reward guidance against tilted distributions: exact for a linear reward and Gaussian data, and not otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from score_sde.errors import UserError
from score_sde.guidance.posterior import jacobian_products_of
from score_sde.guidance.reward import reward_guided
from score_sde.models.exact import GaussianScore, MixtureScore
from score_sde.models.score import evaluations_of
from score_sde.sde_lib import VE, VP, SubVP
from tests.models.class_gaussians import ClassGaussians, labels

RNG = np.random.default_rng(2)
MEANS, (A, DIRECTION) = RNG.standard_normal((2, 3)), RNG.standard_normal((2, 3))
ROOTS = RNG.standard_normal((2, 3, 3))
COVARIANCES = ROOTS @ ROOTS.transpose(0, 2, 1) + 0.1 * np.eye(3)
X, T, B = RNG.standard_normal((4, 3)), np.array([0.05, 0.3, 0.6, 0.9]), 0.7


def linear(x):
    return x @ jnp.asarray(A)


def gaussian(sde, mean=MEANS[0], covariance=COVARIANCES[0]):
    return GaussianScore.create(jnp.asarray(mean), jnp.asarray(covariance), sde)


def evaluate(score):
    return np.asarray(
        jax.jit(lambda score, x, t: score(x, t))(score, jnp.asarray(X), jnp.asarray(T))
    )


@pytest.mark.parametrize("sde", [VP(), VE(0.01, 5.0), SubVP()], ids=repr)
def test_a_linear_reward_tilts_gaussian_data(x64, sde):
    """The score of N(m + b S a, S) at all times, with its derivative, which likelihoods use."""
    given = reward_guided(gaussian(sde), linear, sde, B)
    tilted = gaussian(sde, MEANS[0] + B * COVARIANCES[0] @ A)

    def with_slope(score):
        x, t = jnp.asarray(X), jnp.asarray(T)
        return jax.jvp(lambda x: score(x, t), (x,), (jnp.broadcast_to(DIRECTION, x.shape),))

    found, expected = (jax.jit(with_slope)(score) for score in (given, tilted))
    assert_allclose(found, expected, rtol=1e-9)
    assert (jacobian_products_of(given), evaluations_of(given)) == (1, 1)


# Data N(.5, .25), b = 2; from moment equations solved elsewhere in float64. N(1, .25) at eps has the mean .9999450.
@pytest.mark.parametrize(("h", "mean"), [(0.0, 0.9966586), (1.0, 0.9999342)])
def test_law_of_the_samples(x64, h, mean):
    """The sampler is affine: 0 maps to the mean without noise, and 1 lies as far from it as without the reward."""
    model, u = gaussian(VP(), [0.5], [[0.25]]), jnp.linspace(1.0, 1e-3**0.5, 1001)

    @jax.jit
    def run(score):
        def rate(x, t):
            times = jnp.full(2, t)
            return VP().reverse_drift(x, times, score(x, times), h)

        def step(x, ends):  # Runge-Kutta of order 4
            dt, middle = ends[1] - ends[0], ends.mean()
            k1 = rate(x, ends[0])
            k2 = rate(x + dt / 2 * k1, middle)
            k3 = rate(x + dt / 2 * k2, middle)
            return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + rate(x + dt * k3, ends[1])), None

        return jax.lax.scan(step, jnp.eye(1, 2).T, jnp.stack([u[:-1] ** 2, u[1:] ** 2], 1))[0]

    one, nought = run(reward_guided(model, lambda x: x[:, 0], VP(), 2.0))
    assert abs(nought[0] - mean) < 1e-7
    assert_allclose(one - nought, -np.diff(run(model), axis=0)[0], rtol=1e-9)


def test_a_mixture_is_not_tilted(x64):
    """Tilting changes the weights by each component's mean of exp(b a x): the scores agree where one component dominates, and
    approximately where x_0 is nearly independent of x_t."""
    weights, sde = np.array([0.3, 0.7]), VP()
    model = MixtureScore.create(*map(jnp.asarray, (weights, MEANS, COVARIANCES)), sde)
    tilt = [B * A @ mean + 0.5 * B**2 * A @ s @ A for mean, s in zip(MEANS, COVARIANCES, strict=True)]  # fmt: skip
    moved = MEANS + B * COVARIANCES @ A
    new = weights * np.exp(tilt) / np.sum(weights * np.exp(tilt))
    tilted = MixtureScore.create(*map(jnp.asarray, (new, moved, COVARIANCES)), sde)
    off = np.abs(evaluate(reward_guided(model, linear, sde, B)) - evaluate(tilted)).max(axis=1)
    assert off[0] < 1e-12
    assert off.max() > 0.1
    assert off[-1] < 0.02


def test_what_it_is_made_of(x64):
    """Scale 0 is the model; its condition is passed on; a reward's arrays are arguments, so nothing is recompiled."""
    model = gaussian(VP())
    assert_array_equal(evaluate(reward_guided(model, linear, VP(), 0.0)), evaluate(model))
    classes = ClassGaussians(jnp.array([0.5, -0.2]), jnp.array([0.25, 1.0]), VP())
    told = labels(0, 1, 0, 1)
    given = reward_guided(classes, linear, VP(), B)
    both = (
        evaluate(given.given(told)),
        evaluate(reward_guided(classes.given(told), linear, VP(), B)),
    )
    assert_array_equal(*both)
    assert given.given(told).condition is told
    traced = []

    def weighted(weights, x):
        return x @ weights

    @jax.jit
    def ask(score):
        traced.append(score)
        return score(jnp.asarray(X), jnp.asarray(T))

    for weights in (A, 2.0 * A):
        reward = jax.tree_util.Partial(weighted, jnp.asarray(weights))
        asked = ask(reward_guided(model, reward, VP(), B))
    assert len(traced) == 1
    assert_allclose(asked, evaluate(reward_guided(model, linear, VP(), 2 * B)), rtol=1e-11)


def test_a_reward_that_is_no_number_is_refused():
    given = reward_guided(gaussian(VP()), lambda x: jnp.square(x), VP())
    with pytest.raises(UserError, match="the rewards"):
        given(jnp.asarray(X, jnp.float32), jnp.asarray(T, jnp.float32))
