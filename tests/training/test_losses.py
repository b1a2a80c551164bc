"""Losses against closed-form minima (by quadrature) and against recorded losses of the published code."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import UserError
from score_sde.models.exact import GaussianScore
from score_sde.models.networks import build_network
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import VE, VP, NoDiscreteForm, SubVP
from score_sde.training.losses import build_loss
from score_sde.training.state import init_params

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE()}
EPS = 1e-5

# The minimum over all scores per dimension, for data N(0, ell), averaged over t in [eps, 1], at eps = 1e-5 and
# 1e-3: the mean over t of alpha^2 ell / c and of g^2 (1/sigma^2 - 1/c), c = alpha^2 ell + sigma^2.
SIGMA_WEIGHTED = [
    ("vp", 1.0, 0.27598815, 0.27527071),
    ("vp", 0.25, 0.17330732, 0.17248828),
    ("vp", 0.0625, 0.09878349, 0.09789124),
    ("subvp", 1.0, 0.32117433, 0.32050162),
    ("subvp", 0.25, 0.23554717, 0.23478960),
    ("ve", 1.0, 0.54066886, 0.54021376),
    ("ve", 0.25, 0.45932115, 0.45878574),
]
LIKELIHOOD_WEIGHTED = [
    ("vp", 1.0, 13.814612, 9.124621),
    ("vp", 0.25, 12.428339, 7.737302),
    ("subvp", 0.25, 26.242989, 16.861526),
    ("ve", 0.25, 7.824254, 7.815134),
]
MINIMA = [
    (name, ell, eps, minimum, weighting)
    for weighting, table in (("noise", SIGMA_WEIGHTED), ("likelihood", LIKELIHOOD_WEIGHTED))
    for name, ell, *minima in table
    for eps, minimum in zip((1e-5, 1e-3), minima, strict=True)
]


def continuous_loss(sde, eps=EPS, reduce_mean=True, **training):
    """The loss under these fields of config.training."""
    config = get_config()
    config.training.update(eps=eps, reduce_mean=reduce_mean, **training)
    return build_loss(config, sde)


def log_uniform_nodes(eps):
    """Gauss-Legendre nodes and weights of u for the uniform times: in ln t, as g^2/sigma^2 behaves as 1/t."""
    y, w = np.polynomial.legendre.leggauss(300)
    half = -np.log(eps) / 2
    t = np.exp(half * (y - 1))
    return (t - eps) / (1 - eps), half * w * t / (1 - eps)


def uniform_nodes():
    """Gauss-Legendre nodes and weights of u itself."""
    y, w = np.polynomial.legendre.leggauss(300)
    return (y + 1) / 2, w / 2


def expected_loss(loss, score_model, ell, power=1, nodes_of_u=None):
    """E over x0 ~ N(0, ell), z ~ N(0, 1) and t of a power (1 or 2) of a loss that is quadratic in (x0, z).

    Three-point Gauss-Hermite rules integrate polynomials of degree 5 in x0 and in z exactly.
    """
    u, weight_u = log_uniform_nodes(loss.times.eps) if nodes_of_u is None else nodes_of_u
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    weights = weights / weights.sum()
    index = np.array([(i, j, k) for i in range(len(u)) for j in range(3) for k in range(3)]).T
    x0 = np.sqrt(ell) * nodes[index[1]]
    z = nodes[index[2]]
    # Two equal dimensions, so that half the sum is not half the mean.
    x0, z = (jnp.asarray(np.stack([a, a], axis=1)) for a in (x0, z))
    losses = np.asarray(loss(score_model, x0, jnp.asarray(u[index[0]]), z)) ** power
    return float(np.sum(weight_u[index[0]] * weights[index[1]] * weights[index[2]] * losses))


def each_once():
    """All of them with the mean and with half the sum: in the fast run one of the two for each, at one eps."""
    for number, of in enumerate(MINIMA):
        for reduce_mean in (True, False):
            fast = of[2] == EPS and reduce_mean == (number % 4 == 0)
            yield pytest.param(*of, reduce_mean, marks=[pytest.mark.slow] * (not fast))


@pytest.mark.parametrize(
    ("name", "ell", "eps", "minimum", "weighting", "reduce_mean"), list(each_once())
)
def test_the_exact_score_reaches_the_minimum(name, ell, eps, minimum, weighting, reduce_mean):
    with jax.enable_x64(True):
        sde = SDES[name]
        score_model = GaussianScore.create(jnp.zeros(2), ell * jnp.eye(2), sde)
        loss = continuous_loss(sde, eps, reduce_mean, weighting=weighting)
        # Mean over the two dimensions, or half of their sum: the same number. The golden ones have 8 digits.
        assert expected_loss(loss, score_model, ell) == pytest.approx(minimum, rel=1e-7)


# Standard deviation of one image's loss at the optimum, one dimension, t uniform: sqrt(3 E[m^2] - (E m)^2).
SPREADS = [
    ("vp", 1.0, 0.7106), ("vp", 0.25, 0.5444), ("subvp", 1.0, 0.8101), ("subvp", 0.25, 0.6971),
    ("ve", 1.0, 1.0741), ("ve", 0.25, 0.9955),
]  # fmt: skip


@pytest.mark.parametrize(("name", "ell", "spread"), SPREADS)
def test_the_spread_of_the_loss_at_the_minimum(name, ell, spread):
    """It gives the standard error of an evaluated loss, spread / sqrt(images)."""
    with jax.enable_x64(True):
        score_model = GaussianScore.create(jnp.zeros(2), ell * jnp.eye(2), SDES[name])
        loss = continuous_loss(SDES[name])
        first, second = (expected_loss(loss, score_model, ell, power) for power in (1, 2))
        assert np.sqrt(second - first**2) == pytest.approx(spread, abs=6e-5)


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_any_other_score_is_worse(shift):
    """s = (1 + k) s* adds k^2 E[sigma^2 |s*|^2] = k^2 (1 - minimum) to the loss per dimension."""
    with jax.enable_x64(True):
        exact = GaussianScore.create(jnp.zeros(2), 0.25 * jnp.eye(2), VP())
        loss = continuous_loss(VP())
        value = expected_loss(loss, lambda x, t: (1 + shift) * exact(x, t), 0.25)
        assert value == pytest.approx(0.17330732 + shift**2 * (1 - 0.17330732), rel=1e-7)


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize(("reduce_mean", "value"), [(True, 1.0), (False, 24.0)])
def test_a_zero_output_has_the_loss_of_the_noise(continuous, reduce_mean, value):
    """With z = +-1 the loss of a zero network on 48 dimensions is 1, or 48/2, without any Monte Carlo error."""
    config = get_config()
    config.training.update(continuous=continuous, reduce_mean=reduce_mean)
    for sde in (VP(), VE()):
        score_model = network_score(config, sde, lambda variables, x, *more: jnp.zeros_like(x))
        z = jax.random.rademacher(jax.random.key(0), (5, 4, 4, 3), jnp.float32)
        u = jnp.array([0.0, 0.2, 0.5, 0.9, 1 - 2.0**-24])
        losses = build_loss(config, sde)(score_model, jnp.ones_like(z), u, z)
        np.testing.assert_array_equal(losses, np.full(5, value, np.float32))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "ve")) for name in SDES]
)
def test_a_new_network_has_the_loss_of_the_noise(name):
    """NCSN++ at initialization, for every process: its last layers have variance 1e-10, so its output is 0 to 1e-5."""
    config = get_config()
    config.data.update(image_size=4, num_channels=3)
    config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
    if name == "ve":
        config.model.update(embedding_type="fourier", scale_by_sigma=True)
    network = build_network(config)
    params = jax.jit(lambda: init_params(config, network))()
    score_model = NetworkScore(params, network.apply, build_parameterization(config, SDES[name]))
    z = jax.random.rademacher(jax.random.key(0), (4, 4, 4, 3), jnp.float32)
    x0, u = 0.5 * jnp.ones_like(z), jnp.array([0.0, 0.3, 0.7, 0.999])

    def both(score_model):
        config.training.reduce_mean = True
        mean = build_loss(config, SDES[name])(score_model, x0, u, z)
        config.training.reduce_mean = False
        return mean, build_loss(config, SDES[name])(score_model, x0, u, z)

    mean, half_sum = jax.jit(both)(score_model)
    np.testing.assert_allclose(mean, 1.0, atol=1e-4)
    np.testing.assert_allclose(half_sum, 24.0, atol=24e-4)


@pytest.mark.parametrize("reduce_mean", [True, False])
@pytest.mark.parametrize("likelihood_weighting", [True, False])
@pytest.mark.parametrize("name", SDES)
def test_continuous_losses_are_the_published_ones(name, likelihood_weighting, reduce_mean):
    with np.load(GOLDEN / f"loss_{name}.npz") as golden:
        x0, z = (nhwc(golden[f"analytic/{array}"]) for array in ("batch", "z"))
        u, t = golden["analytic/u"], golden["analytic/t"]
        case = f"reduce_mean_{reduce_mean}_likelihood_weighting_{likelihood_weighting}".lower()
        expected = golden[f"analytic/per_sample/{case}"]

    def score_model(x, t):
        return -x / (1 + t[:, None, None, None])

    weighting = "likelihood" if likelihood_weighting else "noise"
    loss = continuous_loss(SDES[name], EPS, reduce_mean, weighting=weighting)
    # All t here exceed .03, where 1 - exp(-B) of the published code has lost less than one part in 1e5.
    assert t.min() > 0.03
    np.testing.assert_allclose(loss.at(score_model, x0, t, z), expected, rtol=2e-5)
    np.testing.assert_allclose(loss(score_model, x0, u, z), expected, rtol=2e-5)


@pytest.mark.parametrize("reduce_mean", [True, False])
@pytest.mark.parametrize(("name", "sde"), [("ddpm", VP()), ("smld", VE())])
def test_discrete_losses_are_the_published_ones(name, sde, reduce_mean):
    with np.load(GOLDEN / f"loss_discrete_{name}.npz") as golden:
        x0, z = (nhwc(golden[f"analytic/{array}"]) for array in ("batch", "z"))
        labels = golden["analytic/labels"]
        expected = golden[f"analytic/per_sample/reduce_mean_{reduce_mean}".lower()]

    def stand_in(variables, x, labels, condition, dropout_keys):
        return 0.3 * x * jnp.cos(labels / 7)[:, None, None, None] - 0.1

    config = get_config()
    config.training.update(continuous=False, reduce_mean=reduce_mean)
    score_model = network_score(config, sde, stand_in)
    # The published SMLD labels count down from the largest noise; our levels always count up.
    level = labels if name == "ddpm" else 999 - labels
    loss = build_loss(config, sde)
    # A cosine of up to 143 radians is good to 143 ulp: 2e-5.
    np.testing.assert_allclose(loss.at(score_model, x0, level, z), expected, rtol=3e-5)
    np.testing.assert_allclose(loss(score_model, x0, (level + 0.5) / 1000, z), expected, rtol=3e-5)


def test_levels_cover_the_chain_evenly():
    config = get_config()
    config.training.continuous = False
    config.model.num_scales = 50

    class Recorder:
        def at_level(self, x, level):
            self.levels = level
            return x

    recorder = Recorder()
    u = (jnp.arange(200) + 0.5) / 200
    build_loss(config, VP())(recorder, jnp.zeros((200, 2)), u, jnp.zeros((200, 2)))
    np.testing.assert_array_equal(np.bincount(recorder.levels), np.full(50, 4))


def test_impossible_losses_are_refused():
    config = get_config()
    config.training.eps = 0.0
    with pytest.raises(UserError, match="training.eps=0.0"):
        build_loss(config, VP())
    config.training.continuous = False
    with pytest.raises(NoDiscreteForm, match="SubVP"):
        build_loss(config, SubVP())
    for field, value in (("weighting", "likelihood"), ("times", "log_snr")):
        config = get_config()
        config.training.update({"continuous": False, field: value})
        with pytest.raises(UserError, match=f"training.{field}={value!r} belongs to continuous"):
            build_loss(config, VP())


def network_score(config, sde, apply):
    return NetworkScore({}, apply, build_parameterization(config, sde))


def nhwc(images):
    return jnp.asarray(images.transpose(0, 2, 3, 1))
