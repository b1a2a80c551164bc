"""MeanFlow on data N(0, ell), with known average velocity, and flow matching as its special case r = t."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.flow_digits import get_config
from score_sde.data.batch import Batch
from score_sde.keys import TrainingKeys, image_keys
from score_sde.models.networks import NETWORKS
from score_sde.models.predictions import AverageFlowPrediction
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import Linear
from score_sde.training.few_step_tasks import build_mean_flow_task
from score_sde.training.losses import FlowMatching
from score_sde.training.mean_flow import MeanFlow
from score_sde.training.times import LogitNormalTimes, UniformTimes
from score_sde.training.weightings import FLOW_WEIGHTINGS
from tests.training.exact_few_steps import LinearFlow, fixed_point

STRAIGHT, ELL, EPS = Linear(), 0.25, 1e-3
EXACT = LinearFlow(STRAIGHT, ELL)
PAIRS = [(0.0, 1.0), (0.2, 0.9), (0.3, 0.31), (0.5, 0.5), (1.0, 1.0)]
SIGNS = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)], np.float64)
"""Of x_0 and z: what is quadratic in them has its mean over these."""


def loss_of(power=0.0, reduce_mean=True, times=None, weighting=jnp.ones_like):
    times = times or UniformTimes(STRAIGHT, EPS, to_noise=True)
    return MeanFlow(STRAIGHT, times, weighting, reduce_mean, power=power)


def four(r, t):
    """Images, their times and their noise; two equal dimensions, of which half the sum is the mean."""
    x0, z = (jnp.asarray(np.stack([SIGNS[:, k]] * 2, axis=1)) for k in (0, 1))
    return np.sqrt(ELL) * x0, jnp.full(4, r), jnp.full(4, t), z


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("r", "t"), PAIRS)
def test_the_exact_average_velocity_has_meanflows_identity(r, t):
    """u = v - (t - r)(v . grad u + du/dt) along the velocity of the flow, and x - (t - r) u is the point that the flow reaches."""
    x = jnp.asarray([[-1.3], [0.2], [2.0]])
    times = jnp.full(3, r), jnp.full(3, t)
    v = EXACT.velocity(x, times[1])
    u, rate = jax.jvp(
        lambda x, t: EXACT.average_velocity(x, times[0], t), (x, times[1]), (v, jnp.ones(3))
    )
    np.testing.assert_allclose(u, v - (t - r) * rate, rtol=1e-10)
    kept = np.sqrt(((1 - r) ** 2 * ELL + r**2) / ((1 - t) ** 2 * ELL + t**2))
    np.testing.assert_allclose(x - (t - r) * u, kept * x, rtol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reduce_mean", [True, False])
@pytest.mark.parametrize(("r", "t"), PAIRS)
def test_the_minimum_is_what_the_noisy_image_does_not_tell(r, t, reduce_mean):
    """Var[v_c | x_t] (d x_r / d x_t)^2 = (ell / c_t)(c_r / c_t), which for r = t is flow matching's ell / c_t. The gradient there is 0."""
    x0, *times, z = four(r, t)

    def mean(shift):
        wrong = LinearFlow(STRAIGHT, ELL, shift=shift)
        return loss_of(reduce_mean=reduce_mean).of_interval(wrong, x0, *times, z).mean()

    found, slope = jax.value_and_grad(mean)(0.0)
    c_r, c_t = ((1 - of) ** 2 * ELL + of**2 for of in (r, t))
    assert found == pytest.approx(ELL * c_r / c_t**2, rel=1e-10, abs=1e-14)
    assert abs(slope) < 1e-12 < 1e-3 < abs(jax.grad(mean)(0.1))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", FLOW_WEIGHTINGS)
@pytest.mark.parametrize("times", [UniformTimes, LogitNormalTimes], ids=lambda of: of.__name__)
def test_at_equal_times_it_is_flow_matching(name, times):
    """Nearly bit for bit, for any model, weighting and density, whatever the other time."""

    class Model:
        def average_velocity(self, x, r, t):
            return jnp.sin(3 * x) * t[:, None] + jnp.cos(r)[:, None]

        def velocity(self, x, t):
            return self.average_velocity(x, t, t)

    rng = np.random.default_rng(0)
    x0, z = jnp.asarray(rng.standard_normal((2, 7, 3)))
    u, other = jnp.asarray(rng.random((2, 7)))
    times = times(STRAIGHT, EPS, True)
    weighting = (
        jnp.ones_like if name == "flow" else times.rate if hasattr(times, "rate") else jnp.exp
    )
    loss = loss_of(times=times, weighting=weighting)
    flow = FlowMatching(STRAIGHT, times, weighting, True)
    found = loss.of_pairs(Model(), x0, u, other, jnp.full(7, False), z)
    np.testing.assert_allclose(found, flow(Model(), x0, u, z), rtol=1e-14)
    np.testing.assert_allclose(loss(Model(), x0, u, z), found, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_pairs_are_the_two_times_in_order():
    """Both weights apply; with p the error is divided by a power of itself and of c = 1e-3, the paper's, without a gradient."""
    times = LogitNormalTimes(STRAIGHT, EPS, True, 0.3, 0.8)
    x0, *_, z = four(0.0, 0.0)
    u, other = jnp.asarray([0.1, 0.9, 0.5, 0.2]), jnp.asarray([0.7, 0.3, 0.5, 0.8])
    wrong, every = LinearFlow(STRAIGHT, ELL, shift=0.3), jnp.full(4, True)
    r, t = (pick(times.at(u), times.at(other)) for pick in (jnp.minimum, jnp.maximum))
    error = jax.jit(lambda r, t: loss_of().of_interval(wrong, x0, r, t, z))(r, t)
    both = times.correction(r) * times.correction(t)

    def powered(power):
        """The losses at a shift of 0.3, and their slopes."""

        def losses(shift):
            model = LinearFlow(STRAIGHT, ELL, shift=shift)
            return (loss_of(power, times=times).of_pairs(model, x0, u, other, every, z),) * 2

        return jax.jit(jax.jacfwd(losses, has_aux=True))(0.3)

    (plain, found), (_, root), (whole, _) = map(powered, (0.0, 0.5, 1.0))
    np.testing.assert_allclose(found, both * error, rtol=1e-12)
    np.testing.assert_allclose(root, both * error / np.sqrt(error + 1e-3), rtol=1e-12)
    np.testing.assert_allclose(whole, plain / (error + 1e-3), rtol=1e-10)


class ShownAt(MeanFlow):
    """Its loss is the time at which the network is shown the image."""

    def of_interval(self, score_model, x0, r, t, z, dropout_keys=None):
        return t


def test_an_image_counts_in_the_bin_of_the_time_at_which_it_is_shown():
    """The later of a pair: of 4,000 images, a quarter in pairs, an eighth has that from its second draw."""
    config = get_config("mean_flow")
    objective = build_mean_flow_task(config).objective
    times = UniformTimes(STRAIGHT, EPS, to_noise=True)
    shown = ShownAt(STRAIGHT, times, jnp.ones_like, True, ratio=0.25)
    objective = dataclasses.replace(objective, loss=shown)
    places, key = jnp.arange(4000), jax.random.key(3)
    batch = Batch(jnp.zeros((4000, 8, 8, 1)), (), places)
    t = np.asarray(objective.training_losses({}, batch, key))
    bins = np.asarray(objective.noise_bins(places, key))
    quarter = (t - EPS) / (1 - EPS) * 4
    # Rounding may take a time beyond the end of its bin.
    assert (bins <= quarter + 1e-4).all()
    assert (quarter <= bins + 1 + 1e-4).all()
    # P(max of two uniform numbers < 1/4) = 1/16: 3/4 of the images have one time, 1/4 two.
    assert np.mean(bins == 0) == pytest.approx(0.75 / 4 + 0.25 / 16, abs=0.03)


def test_the_other_time_is_never_that_of_zero(monkeypatch):
    """Float32 uniform numbers are 0 with probability 2^-23, and at eps the density of narrow laws is 0."""
    objective = build_mean_flow_task(get_config("mean_flow")).objective
    monkeypatch.setattr(jax.random, "uniform", lambda key: jnp.float32(0.0))
    u, _ = objective.others(image_keys(TrainingKeys, jax.random.key(0), jnp.arange(3)))
    times = LogitNormalTimes(STRAIGHT, 1e-5, True, 0.5, 0.6)
    assert np.isfinite(times.correction(times.at(u))).all()


def legendre(x, degree):
    """Polynomials of degree 0 to `degree`, at [0, 1]."""
    terms = [jnp.ones_like(x), 2 * x - 1]
    for n in range(1, degree):
        terms.append(((2 * n + 1) * (2 * x - 1) * terms[n] - n * terms[n - 1]) / (n + 1))
    return jnp.stack(terms)


def learnt_polynomial(degree, r, t):
    """u = a(r, t) x, a of polynomials: where its updates end, which are affine in them; the means are exact, by four points."""
    i, j = np.array([(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]).T

    class Polynomial:
        def __init__(self, weights):
            self.weights = weights

        def average_velocity(self, x, r, t):
            return (self.weights @ (legendre(r, degree)[i] * legendre(t, degree)[j]))[:, None] * x

    x0, z = (jnp.tile(jnp.asarray(SIGNS[:, k]), len(r))[:, None] for k in (0, 1))
    times = [jnp.repeat(of, 4) for of in (r, t)]

    def update(weights):
        return jax.grad(
            lambda weights: loss_of().of_interval(Polynomial(weights), x0, *times, z).mean()
        )(weights)

    return Polynomial(fixed_point(update, len(i))).average_velocity(jnp.ones((len(r), 1)), r, t)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_a_linear_model_learns_the_closed_form():
    """For ell = 1 the closed form is analytic, so the error falls geometrically with the degree (by about 4 for two degrees)."""
    grid = np.linspace(EPS, 1.0, 12)
    r, t = (jnp.asarray(of) for of in np.array([(r, t) for t in grid for r in grid if r <= t]).T)
    exact = LinearFlow(STRAIGHT, 1.0).average_velocity(jnp.ones((len(r), 1)), r, t)
    errors = [float(jnp.abs(learnt_polynomial(n, r, t) - exact).max()) for n in (2, 4, 6)]
    assert all(after < before / 2 for before, after in zip(errors, errors[1:], strict=False))


# ---- the network -----------------------------------------------------------------------------------------

SMALL = {
    "ncsnpp": {"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()},
    "ddpm": {"nf": 64, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()},
    "adm": {
        "nf": 32,
        "head_channels": 32,
        "ch_mult": (1,),
        "num_res_blocks": 1,
        "attn_resolutions": (),
    },
    "edm_unet": {"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()},
    "dit": {"patch_size": 2, "width": 8, "depth": 1, "num_heads": 2},
    "uvit": {"patch_size": 2, "width": 8, "depth": 1, "num_heads": 2},
    "simple_uvit": {
        "patch_size": 1,
        "nf": 32,
        "ch_mult": (1,),
        "num_res_blocks": 1,
        "dropout": 0.0,
        "width": 8,
        "depth": 1,
        "num_heads": 2,
    },
    "rin": {
        "patch_size": 2,
        "width": 8,
        "depth": 1,
        "num_heads": 2,
        "num_latents": 2,
        "latent_width": 8,
        "latent_depth": 1,
    },
}


SLOW = {"ncsnpp", "ddpm", "adm", "edm_unet", "uvit", "simple_uvit"}  # to compile


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SMALL]
)
def test_networks_are_told_the_interval(name):
    """With or without a class; a new network ignores it, and no interval means one of length 0."""
    network = NETWORKS[name](
        image_size=4, num_channels=1, num_classes=3, condition_interval=True, **SMALL[name]
    )
    rng = np.random.default_rng(0)
    x, t = jnp.asarray(rng.standard_normal((2, 4, 4, 1)), jnp.float32), jnp.asarray([0.4, 0.9])
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, t)["params"]
    params = jax.tree.map(
        lambda p: jnp.asarray(0.3 * rng.standard_normal(p.shape), p.dtype), shapes
    )
    model = NetworkScore(params, network.apply, AverageFlowPrediction(STRAIGHT))

    @jax.jit
    def average(model, r):
        return model.average_velocity(x, r, t)

    for condition in ((), {"label": jnp.array([0, 2])}):
        told = NetworkScore(params, model.apply, model.parameterization, condition)
        np.testing.assert_array_equal(average(told, t), jax.jit(lambda m: m.velocity(x, t))(told))
        assert np.abs(average(told, 0.5 * t) - average(told, t)).max() > 1e-4
    silent = {**params, "interval": {**params["interval"]}}
    silent["interval"]["out"] = jax.tree.map(jnp.zeros_like, params["interval"]["out"])
    fresh = NetworkScore(silent, model.apply, model.parameterization)
    np.testing.assert_array_equal(average(fresh, 0.5 * t), average(fresh, t))
