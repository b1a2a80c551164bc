"""The hybrid loss against recorded values of improved-diffusion, and the learned variance against its closed form."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.guidance.autoguidance import Autoguided, Unconditional
from score_sde.guidance.classifier import ComponentClassifier, classifier_guided
from score_sde.guidance.classifier_free import ClassifierFree, ConditionIgnored
from score_sde.guidance.combinations import Extrapolated
from score_sde.models.exact import MixtureScore
from score_sde.models.networks import build_network, network_score
from score_sde.models.one_by_one import OneByOne
from score_sde.models.parameterization import DiscreteNoisePrediction, build_parameterization
from score_sde.models.score import NetworkScore, said_of_variance
from score_sde.models.thresholding import StaticThreshold, ThresholdedScore
from score_sde.samplers.predictors import (
    ancestral_forward,
    ancestral_learned,
    ancestral_posterior,
)
from score_sde.sde_lib import VP, Cosine
from score_sde.training.learned_variance import (
    HybridLoss,
    between,
    level_cost,
    log_variances,
    step_divergence,
)
from score_sde.training.losses import DiscreteLoss, build_loss
from score_sde.training.state import init_params

# openai/improved-diffusion 1bc7bbb as in openai/guided-diffusion 22e0df8, float64
GOLDEN = Path(__file__).parents[1] / "golden" / "peers" / "gd_losses.npz"
CHAIN = Cosine().chain(1000)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        arrays = dict(file)
    # Theirs are (b, channels, h, w).
    return {k: np.moveaxis(v, 1, -1) if v.ndim == 4 else v for k, v in arrays.items()}


def network_giving(out, sde=None, chain=CHAIN):
    """A network of this output (b, h, w, 2 c) for every image."""
    return NetworkScore(
        {}, lambda *_: jnp.asarray(out), DiscreteNoisePrediction(sde or Cosine(), chain)
    )


def recorded(golden, **changes):
    loss = HybridLoss(DiscreteLoss(CHAIN, True), -1.0, 1.0, 256)
    x0, z, level = (jnp.asarray(golden[name]) for name in ("x_start", "noise", "t"))
    x0, z = x0.astype(jnp.float64), z.astype(jnp.float64)
    return lambda out: loss.at(network_giving(out), x0, level, z)


def test_published_losses_and_gradients(x64, golden):
    """No gradient of the bound reaches the mean."""
    out = jnp.asarray(golden["EPSILON/LEARNED_RANGE/model_output"], jnp.float64)

    def total(out):
        losses = recorded(golden)(out)
        return jnp.sum(losses), losses

    slope, losses = jax.jit(jax.grad(total, has_aux=True))(out)
    of = "EPSILON/LEARNED_RANGE/loss_RESCALED_MSE"
    assert_allclose(losses, golden[f"{of}/loss_f64"], rtol=1e-9)
    assert_allclose(slope, golden[f"{of}/grad_wrt_output_f64"], rtol=1e-8, atol=1e-12)


def test_published_losses_in_float32(golden):
    """The bound's terms are a thousandth of the sum."""
    out = jnp.asarray(golden["EPSILON/LEARNED_RANGE/model_output"])
    loss = HybridLoss(DiscreteLoss(CHAIN, True), -1.0, 1.0, 256)
    arrays = (jnp.asarray(golden[name]) for name in ("x_start", "t", "noise"))
    found = jax.jit(lambda *arrays: loss.at(network_giving(out), *arrays))(*arrays)
    assert_allclose(found, golden["EPSILON/LEARNED_RANGE/loss_RESCALED_MSE/loss_f64"], rtol=1e-4)


def test_published_variances(x64, golden):
    v = golden["EPSILON/LEARNED_RANGE/model_output"][..., 2:].astype(np.float64)
    tables = (table[golden["t"]] for table in log_variances(CHAIN))
    expected = golden["EPSILON/LEARNED_RANGE/p_mean_variance_noclip/log_variance_f64"]
    assert_allclose(between(jnp.asarray(v), *tables), expected, rtol=1e-9)


def test_published_probabilities_of_levels(golden):
    x, means, log_std, value = (
        golden[f"dgll/{name}"] for name in ("x", "means", "log_scales", "value")
    )
    good = golden["dgll/well_conditioned"]
    found = -level_cost(*(jnp.asarray(a) for a in (x, means, log_std)), -1.0, 1.0, 256)
    assert_allclose(found[good], value[good], rtol=1e-4, atol=1e-5)


def test_every_level_together_has_the_whole_mass(x64):
    levels = jnp.linspace(0.0, 1.0, 17)
    costs = level_cost(levels, jnp.full(17, 0.3), jnp.full(17, np.log(0.2)), 0.0, 1.0, 17)
    assert_allclose(jnp.sum(jnp.exp(-costs)), 1.0, rtol=1e-9)


# Data N(0, ell), VP: of the step from t to s, the v in [0, 1] of the best variance tau^2 c_s / c_t.
BEST = [
    (0.5, 0.45, 0.25, 0.27107),
    (0.02, 0.019, 0.25, 0.98314),
    (0.5, 0.45, 1.0, 1.0),
    (0.5, 0.45, 1e-9, 0.0),
]


@jax.jit
def costs_of_variances(v, t, s, ell):
    """Of the step from t to s of data N(0, ell), by the v of its variance; its mean is that of the exact score."""
    sde = VP()
    variance = sde.variance_between(s, t)
    posterior = variance * (sde.sigma(s) / sde.sigma(t)) ** 2
    c_s, c_t = (sde.alpha(time) ** 2 * ell + sde.sigma(time) ** 2 for time in (s, t))
    missed = jnp.sqrt(variance * c_s / c_t - posterior)
    log_variance = between(v, jnp.log(variance), jnp.log(posterior))
    return step_divergence(jnp.full_like(v, missed), jnp.log(posterior), log_variance)


@pytest.mark.parametrize(("t", "s", "ell", "share"), BEST)
def test_the_bound_is_least_at_the_best_variance(x64, t, s, ell, share):
    """With the exact score, the optimal variance exceeds beta_tilde by the error of the mean, tau^2 c_s/c_t - beta_tilde."""
    v = np.linspace(-1.0, 1.0, 200_001)
    best = 0.5 * (v[np.argmin(costs_of_variances(v, t, s, ell))] + 1.0)
    assert best == pytest.approx(share, abs=2e-5)


@pytest.mark.parametrize(("v", "other"), [(1.0, ancestral_forward), (-1.0, ancestral_posterior)])
def test_the_predictor_at_the_ends_of_the_range(v, other):
    sde, chain = VP(), VP().chain(100)
    shape = (2, 2, 2, 1)
    x, z = jax.random.normal(jax.random.key(0), (2, *shape))
    out = jnp.concatenate([jnp.tanh(x), jnp.full(shape, v)], axis=-1)
    model = network_giving(out, sde, chain)
    t, s = jnp.asarray(0.6), jnp.asarray(0.4)
    step, expected = jax.jit(
        lambda x, t, s, z: [
            predictor(model, sde, x, t, s, z) for predictor in (ancestral_learned, other)
        ]
    )(x, t, s, z)
    assert_allclose(step, expected, rtol=1e-5, atol=1e-6)


TWO_POINTS = MixtureScore.create(
    jnp.asarray([0.3, 0.7]),
    jnp.asarray([[-1.0] * 3, [0.6] * 3]),
    0.04 * jnp.stack([jnp.eye(3)] * 2),
    VP(),
)
AROUND = {
    "one by one": OneByOne,
    "in range": lambda model: ThresholdedScore(model, VP(), StaticThreshold()),
    "away from no condition": lambda model: ClassifierFree(model, Extrapolated(0.5)),
    "without condition": ConditionIgnored,
    "away from a worse one": lambda model: Autoguided(model, lambda x, t: -x, Extrapolated(0.5)),
    "by a classifier": lambda model: classifier_guided(
        Unconditional(model), ComponentClassifier(TWO_POINTS), 2
    ).given({"label": jnp.zeros(2, int)}),
}  # fmt: skip


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_the_variance_is_the_networks_whatever_changes_its_score(around):
    """With v = 1 the step with the changed score has the larger variance, as above."""
    sde, shape = VP(), (2, 3)
    x, z = jax.random.normal(jax.random.key(0), (2, *shape))

    def apply(params, x, *_):
        return jnp.concatenate([jnp.tanh(x), jnp.ones_like(x)], axis=-1)

    network = NetworkScore({}, apply, DiscreteNoisePrediction(sde, sde.chain(100)))
    model = around(network)
    t, s = jnp.asarray(0.6), jnp.asarray(0.4)
    step, expected, plain = jax.jit(
        lambda x, t, s, z: [
            ancestral_learned(model, sde, x, t, s, z),
            ancestral_forward(model, sde, x, t, s, z),
            ancestral_forward(network, sde, x, t, s, z),
        ]
    )(x, t, s, z)
    assert_allclose(step, expected, rtol=1e-5, atol=1e-6)
    same = {OneByOne, AROUND["away from no condition"], ConditionIgnored}
    assert (np.abs(step - plain).max() < 1e-6) == (around in same)


def test_the_predictor_asks_for_a_variance():
    x = jnp.ones((1, 2))
    with pytest.raises(ValueError, match="and this one does not; train one with"):
        ancestral_learned(lambda x, t: -x, VP(), x, jnp.asarray(0.6), jnp.asarray(0.4), x)
    with pytest.raises(ValueError, match="predicts the variance"):
        said_of_variance(None)


def small(**changes):
    config = get_config()
    config.data.update(image_size=4, num_channels=1, num_levels=17)
    config.model.update(
        name="dit",
        patch_size=2,
        width=8,
        depth=1,
        num_heads=2,
        learned_variance=True,
        num_scales=50,
    )
    config.training.continuous = False
    config.update_from_flattened_dict(changes)
    return config


def test_a_network_of_twice_the_channels_is_trained():
    """Its initial output is 0, so v = 0, halfway between the logarithms; the gradient is finite in both halves."""
    config = small()
    network = build_network(config)
    parameterization = build_parameterization(config, VP())
    loss = build_loss(config, VP())
    x0 = jnp.round(jnp.linspace(-8, 8, 48)).reshape(3, 4, 4, 1) / 8
    u, z = jnp.array([0.0, 0.5, 0.9]), jnp.ones((3, 4, 4, 1))

    def mean(params):
        return jnp.mean(loss(network_score(network, params, parameterization), x0, u, z))

    value, slopes = jax.jit(lambda: jax.value_and_grad(mean)(init_params(config, network)))()
    gradient = slopes["final_layer"]["linear"]["bias"]
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient != 0)
    assert 1.0 < value < 1.1  # L_simple is 1, of this z


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("training.continuous=False, or learned_variance=False", {"training.continuous": True}),
        ("set it to the images' number of levels", {"data.num_levels": 0}),
        ("'ncsnpp', which gives no learned_variance; use .* or dit", {"model.name": "ncsnpp"}),
    ],
)
def test_what_cannot_be_trained_is_refused(words, changes):
    with pytest.raises(UserError, match=words):
        build_loss(small(**changes), VP())
