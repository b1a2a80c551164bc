"""Flow matching against closed forms of its minimum, at times up to T = 1, where only noise is left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from score_sde.models.exact import GaussianScore
from score_sde.models.predictions import FlowPrediction
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import VP, Linear, Trigonometric
from score_sde.training.losses import ContinuousLoss, FlowMatching
from tests.training.test_losses import continuous_loss, expected_loss, uniform_nodes

pytestmark = pytest.mark.usefixtures("x64")
STRAIGHT, EPS = Linear(), 1e-5


def exact(ell, sde=STRAIGHT):
    return GaussianScore.create(jnp.zeros(2), ell * jnp.eye(2), sde)


def flow_loss(sde=STRAIGHT, **training):
    loss = continuous_loss(sde, **{"weighting": "flow", **training})
    assert isinstance(loss, FlowMatching)
    return loss


def given(out, sde=STRAIGHT):
    """A network that says this of every image."""
    return NetworkScore({}, lambda v, x, *_: jnp.broadcast_to(out, x.shape), FlowPrediction(sde))


def at_one_time(loss, model, ell, t):
    """The expected loss at t."""
    u = (t - EPS) / (1 - EPS)
    return expected_loss(loss, model, ell, nodes_of_u=(np.array([u]), np.ones(1)))


@pytest.mark.parametrize(
    ("ell", "reduce_mean"),
    [
        (1.0, True),
        (0.25, False),
        *(
            pytest.param(*of, marks=pytest.mark.slow)
            for of in ((1.0, False), (0.25, True), (0.04, True), (0.04, False))
        ),
    ],
)
def test_the_minimum_is_the_data_s_share(ell, reduce_mean):
    """l/c at each time, including T = 1, and (pi/2) sqrt(l) on average over [0, 1]."""
    loss = flow_loss(reduce_mean=reduce_mean)
    for t in (EPS, 0.3, 0.999, 1.0):
        c = (1 - t) ** 2 * ell + t**2
        assert at_one_time(loss, exact(ell), ell, t) == pytest.approx(ell / c, rel=1e-10)
    mean = expected_loss(loss, exact(ell), ell, nodes_of_u=uniform_nodes())
    # What lies before eps: l/c = 1 there.
    assert mean * (1 - EPS) + EPS == pytest.approx(np.pi / 2 * np.sqrt(ell), rel=1e-8)


def test_a_network_that_says_nothing():
    """1 + l, from noise and image, at every time."""
    for t in (EPS, 0.5, 1.0):
        assert at_one_time(flow_loss(), given(0.0), 0.25, t) == pytest.approx(1.25, rel=1e-12)


@pytest.mark.parametrize("sde", [VP(), Trigonometric(), STRAIGHT], ids=repr)
def test_it_is_the_denoising_loss_by_another_weight(sde):
    """(g^2 / (2 sigma))^2 times the error of the noise, for any process, score and draw."""

    def wrong(x, t):
        return jnp.tanh(x) - t[:, None]

    rng = np.random.default_rng(0)
    x0, z = jnp.asarray(rng.normal(size=(2, 5, 3)))
    t = sde.T * jnp.array([0.01, 0.2, 0.5, 0.8, 0.95])
    flow = flow_loss(sde).at(wrong, x0, t, z)
    noise = continuous_loss(sde)
    assert type(noise) is ContinuousLoss
    weight = (sde.diffusion_squared(t) / (2 * sde.sigma(t))) ** 2
    np.testing.assert_allclose(flow, weight * noise.at(wrong, x0, t, z), rtol=1e-9)


@pytest.mark.parametrize("law", ["uniform", "logit_normal"])
def test_its_expectation_does_not_depend_on_the_times(law):
    """For an exact score under weighting=flow; under SD3's weighting, the mean of l/c over logit-normal times."""
    ell, mean, std = 0.25, 0.3, 0.8
    fields = {"times": law, "logit_normal_mean": mean, "logit_normal_std": std}
    nodes = uniform_nodes()
    value = expected_loss(
        flow_loss(weighting="flow_logit_normal", **fields), exact(ell), ell, nodes_of_u=nodes
    )

    def share(n):
        t = 1 / (1 + np.exp(-(mean + std * n)))
        return ell / ((1 - t) ** 2 * ell + t**2) * np.exp(-(n**2) / 2) / np.sqrt(2 * np.pi)

    expected, _ = scipy.integrate.quad(share, -9, 9, epsabs=1e-12)
    # Gauss-Legendre in u of a normal quantile converges slowly at the ends.
    assert value == pytest.approx(expected, rel=1e-5)


def test_every_gradient_is_finite_to_the_end():
    """Also at the last u in float32, and at T itself."""
    loss = flow_loss()
    u = jnp.array([0.0, 0.5, 1 - 2.0**-24, 1.0], jnp.float32)
    x0, z = jnp.ones((4, 2), jnp.float32), jnp.full((4, 2), 0.5, jnp.float32)
    slope = jax.grad(lambda out: loss(given(out), x0, u, z).sum())(jnp.float32(0.0))
    # 2 (out - (z - x_0)), the mean over pixels
    np.testing.assert_allclose(slope, 4 * 2 * 0.5, rtol=1e-6)
    assert np.all(np.isfinite(loss.log_snr(u)))
