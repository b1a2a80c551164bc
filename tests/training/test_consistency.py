"""Consistency models with a known flow: data N(0, ell) under any process, and a mixture whose points keep their quantiles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.models.consistency import ConsistencyModel, state_at
from score_sde.models.exact import GaussianScore
from score_sde.models.preconditioning import EDMPreconditioning
from score_sde.models.predictions import FlowPrediction, VelocityPrediction
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import EDM, VE, VP, Linear, SubVP
from score_sde.training.consistency import ConsistencyLoss, Intervals, doubled, heun
from score_sde.training.times import LogNormalTimes, UniformTimes
from score_sde.training.weightings import CONSISTENCY_WEIGHTINGS
from tests.samplers.mixture_flow import mixture, quantile_map, quantiles
from tests.training.exact_few_steps import LinearFlow, fixed_point

ELL, EPS = 0.25, 1e-3
PROCESSES = [VP(), SubVP(), EDM(), Linear(), VE()]
X0, Z = (jnp.asarray(part) for part in np.random.default_rng(0).standard_normal((2, 6, 3)))


def loss_of(sde, count, teacher=None, huber=0.0, reduce_mean=True):
    times = UniformTimes(sde, EPS)
    return ConsistencyLoss(
        sde, times, jnp.ones_like, Intervals(sde, EPS, count), huber, reduce_mean, teacher
    )


def gaussian(sde, ell=ELL):
    return GaussianScore.create(jnp.zeros(3), ell * jnp.eye(3), sde)


# ---- the function ----------------------------------------------------------------------------------------


def network(kind):
    """A parameterization of a network that says something of its own."""
    return NetworkScore({}, lambda v, x, label, *_: jnp.cos(5 * x) + 0.1, kind)


@pytest.mark.parametrize(
    "prediction",
    [EDMPreconditioning(EDM()), EDMPreconditioning(SubVP()), VelocityPrediction(VP()), FlowPrediction(Linear())],
    ids=lambda p: f"{type(p).__name__}-{type(p.sde).__name__}",
)  # fmt: skip
def test_at_eps_it_gives_what_it_is_given(prediction):
    """Bit for bit, compiled or not, for any network; and close to it nearby."""
    x = jnp.asarray(X0, jnp.float32)
    model = ConsistencyModel(network(prediction), prediction.sde, EPS)
    eps = jnp.full(len(x), EPS, jnp.float32)
    for f in (model.consistency, jax.jit(model.consistency)):
        np.testing.assert_array_equal(f(x, eps), x)
    near = model.consistency(x, eps * (1 + 1e-3))
    assert 0 < np.abs(near - x).max() < 2e-3


@pytest.mark.usefixtures("x64")
def test_edms_form_is_that_of_the_paper():
    """c_out = sigma_d (t - eps) / sqrt(sigma_d^2 + t^2), and c_skip = (sigma_d^2 + eps t) / (sigma_d^2 + t^2)."""
    t, sigma_d = jnp.asarray([EPS, 0.01, 0.3, 2.0, 15.0, 80.0]), 0.5
    F = jnp.cos(X0)
    given = NetworkScore({}, lambda v, x, *_: F, EDMPreconditioning(EDM(), sigma_d))
    found = ConsistencyModel(given, EDM(), EPS).consistency(X0, t)
    square = sigma_d**2 + t**2
    c_skip, c_out = (sigma_d**2 + EPS * t) / square, sigma_d * (t - EPS) / jnp.sqrt(square)
    np.testing.assert_allclose(found, c_skip[:, None] * X0 + c_out[:, None] * F, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_the_state_of_an_image_and_its_noise(sde):
    """For any two times it is the point of their path at the second."""
    t = jnp.linspace(0.05, 0.95, 6) * sde.T
    s = t[::-1] * 0.9
    x, there = ((sde.alpha(of)[:, None] * X0 + sde.sigma(of)[:, None] * Z) for of in (t, s))
    found = state_at(sde, x, sde.velocity(X0, Z, t), t, s)
    np.testing.assert_allclose(found, there, rtol=1e-9, atol=1e-11)


# ---- intervals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sde", [VP(), EDM(), Linear()], ids=repr)
def test_intervals_lie_around_their_times(sde):
    """They begin at eps, end at `signal_end`, and have equal steps of rho^(1/7)."""
    cuts = Intervals(sde, EPS, 5).cut(jnp.arange(6.0))
    assert cuts[0] == jnp.float32(EPS)
    assert cuts[-1] == jnp.float32(sde.signal_end)
    roots = np.exp(-np.asarray(sde.log_snr(cuts), np.float64) / 14)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots).mean(), rtol=2e-3)
    middles = (cuts[1:] + cuts[:-1]) / 2
    s, t = Intervals(sde, EPS, jnp.asarray(5)).around(middles)
    np.testing.assert_array_equal(s, cuts[:-1])
    np.testing.assert_array_equal(t, cuts[1:])
    s, t = Intervals(sde, EPS, 5).around(jnp.asarray([EPS, sde.signal_end]))
    np.testing.assert_array_equal(s, cuts[jnp.array([0, 4])])
    np.testing.assert_array_equal(t, cuts[jnp.array([1, 5])])


@pytest.mark.parametrize(
    ("first", "last", "n", "expected"),
    [
        (10, 40, 30, [10] * 10 + [20] * 10 + [40] * 11),
        (10, 50, 8, [10, 10, 20, 20, 40, 40, 50, 50, 50]),
        (7, 7, 3, [7] * 4),
        (1, 4, 1, [1, 2]),
    ],
)
def test_intervals_double_on_the_way(first, last, n, expected):
    """As in iCT's schedule, up to the final number; with fewer updates than doublings, as far as these lead."""
    found = [int(doubled(first, last, jnp.asarray(k), n)) for k in range(len(expected))]
    assert found == expected


# ---- distillation ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sde", [VP(), EDM(), Linear()], ids=repr)
def test_the_exact_function_is_a_fixed_point_of_distillation(sde):
    """Along the teacher's step it changes by an error of order 1/N^3, that of one step of Heun's method."""
    times = sde.time_of_log_snr(jnp.linspace(8.0, -6.0, 64))
    x0, z = np.sqrt(ELL) * jnp.ones((64, 3)), jnp.ones((64, 3))

    @jax.jit
    def error(count):
        """Of images at many times, the root mean square."""
        s, t = Intervals(sde, EPS, count).around(times)
        rho_s, rho_t = (jnp.exp(-0.5 * sde.log_snr(of)) for of in (s, t))
        loss = loss_of(sde, count, gaussian(sde)).between(LinearFlow(sde, ELL, EPS), x0, s, t, z)
        return jnp.sqrt(jnp.mean(loss * (rho_t - rho_s)))

    errors = np.array([error(count) for count in (100.0, 200.0, 400.0)])
    assert errors[-1] < 1e-5
    orders = np.log2(errors[:-1] / errors[1:])
    np.testing.assert_allclose(orders, 3.0, atol=0.2)


@pytest.mark.usefixtures("x64")
def test_a_mixtures_quantile_map_is_a_fixed_point_of_distillation():
    """With the exact score of a mixture, whose flow keeps quantiles, the quantile changes by order 1/N^3 along a step."""
    sde = EDM()

    def error(count):
        cuts = np.asarray(Intervals(sde, EPS, count).cut(jnp.arange(count + 1.0)))
        near = int(np.searchsorted(cuts, 0.5))  # where the mixture's parts part
        s, t = float(cuts[near - 1]), float(cuts[near])
        x = jnp.asarray([quantile_map(sde, x, sde.T, t) for x in quantiles(sde, 9)])[:, None]
        times = (jnp.full(len(x), of) for of in (t, s))
        moved = np.asarray(heun(sde, mixture(sde), x, *times))[:, 0]
        exact = [quantile_map(sde, y, t, s) for y in np.asarray(x)[:, 0]]
        return np.abs(moved - exact).max()

    errors = [error(n) for n in (50, 200, 800)]
    assert errors[-1] < 2e-7
    assert np.log(errors[0] / errors[-1]) / np.log(16) == pytest.approx(3.0, abs=0.3)


def slope_of(loss, nodes, shift=0.0):
    """d/d(shift) of the expected loss of sqrt(c_eps/c_t)(1 + shift (t - eps)), the target held: a mean over t, x_0 and z.

    Squared errors of linear functions are known from their mean squares: four points have those of x_0 and z.
    """
    sign = jnp.asarray([(1, 1), (1, -1), (-1, 1), (-1, -1)], jnp.float64)
    u = jnp.repeat(jnp.asarray(nodes), 4)
    x0, z = (jnp.tile(sign[:, k], len(nodes))[:, None] for k in (0, 1))

    def mean(shift):
        f = LinearFlow(loss.sde, ELL, EPS, shift)
        return jnp.mean(loss(f, np.sqrt(ELL) * x0, u, z))

    return float(jax.grad(mean)(jnp.asarray(shift)))


NODES = (np.arange(50) + 0.5) / 50


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "teaches",
    [pytest.param(True, marks=pytest.mark.slow), False],
    ids=["distillation", "training"],
)
def test_the_gradient_vanishes_at_the_exact_function(teaches):
    """It vanishes faster than elsewhere as N grows. In training from data only the mean of the gradient vanishes, as 1/N."""
    sde = EDM()
    teacher = GaussianScore.create(jnp.zeros(1), ELL * jnp.eye(1), sde) if teaches else None
    slopes = np.array([slope_of(loss_of(sde, n, teacher), NODES) for n in (100, 200, 400)])
    elsewhere = np.array([slope_of(loss_of(sde, n, teacher), NODES, 0.01) for n in (100, 200, 400)])
    share = np.abs(slopes / elsewhere)
    assert share[-1] < (1e-4 if teaches else 0.2)
    # of the gradient elsewhere, which is of order 1/N there too
    order = np.log2(share[:-1] / share[1:])[-1]
    assert order == pytest.approx(2.0 if teaches else 1.0, abs=0.35)


# ---- the loss --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reduce_mean", [True, False])
def test_from_data_the_loss_is_what_the_noisy_image_does_not_tell(reduce_mean):
    """E[(a_t x_t - a_s x_s)^2] / (rho_t - rho_s) for linear functions, from the covariance of x_t and x_s."""
    sde, s, t = VP(), 0.3, 0.4
    f = LinearFlow(sde, ELL, EPS)
    sign = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
    x0, z = (jnp.asarray(np.stack([sign[:, k]] * 2, axis=1), jnp.float64) for k in (0, 1))
    times = (jnp.full(4, of) for of in (s, t))
    found = loss_of(sde, 5, reduce_mean=reduce_mean).between(f, np.sqrt(ELL) * x0, *times, z).mean()
    a, sigma = (
        np.array([float(of(jnp.asarray(time))) for time in (s, t)]) for of in (sde.alpha, sde.sigma)
    )
    covariance = ELL * np.outer(a, a) + np.outer(sigma, sigma)
    c_eps = float(f.variance(jnp.asarray(EPS)))
    factors = np.sqrt(c_eps / np.diag(covariance)) * [-1, 1]
    rho = sigma / a
    # Two equal dimensions: the mean over them and half the sum are the same.
    assert found == pytest.approx(factors @ covariance @ factors / (rho[1] - rho[0]), rel=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("reduce_mean", [True, False])
def test_pseudo_huber_is_a_square_nearby_and_a_norm_far_away(reduce_mean):
    d, c = 48, 0.03
    loss = loss_of(VP(), 5, huber=c, reduce_mean=reduce_mean)
    direction = jnp.ones((1, d)) / np.sqrt(d)
    scale = 1 / np.sqrt(d) if reduce_mean else np.sqrt(0.5)  # of the root of R beside the norm
    far, near = (float(loss.distance(size * direction)[0]) for size in (1e5, 1e-4))
    assert far == pytest.approx(1e5 * scale, rel=1e-4)
    # |d|^2 / (2 c sqrt(dimension)), times the same
    assert near == pytest.approx(scale * 1e-8 / (2 * c * np.sqrt(d)), rel=1e-3)


def test_the_density_of_times_does_not_move_what_is_learnt():
    """With iCT's weighting and times the density cancels: the weight of an image depends only on its interval."""
    config = get_config()
    config.training.update(times="log_normal", log_normal_mean=-1.1, log_normal_std=2.0, eps=EPS)
    times = LogNormalTimes.from_config(config, EDM())
    weighting = CONSISTENCY_WEIGHTINGS["log_normal"](config, EDM())
    t = times.at(jnp.linspace(0.01, 0.99, 9))
    np.testing.assert_allclose(times.correction(t) * weighting(t), 1.0, rtol=1e-4)


def test_no_gradient_reaches_the_target():
    """A loss that depends on the network only through the target has no gradient."""
    loss, f = loss_of(EDM(), 5), functools.partial(LinearFlow, EDM(), ELL, EPS)
    x0, z, t, s = X0[:1], Z[:1], jnp.asarray([2.0]), jnp.asarray([1.0])

    class Apart:
        """Another function at t than at s."""

        def __init__(self, shift):
            self.shift = shift

        def consistency(self, x, time):
            return f(self.shift if float(time[0]) == 1.0 else 0.0).consistency(x, time)

    assert jax.grad(lambda shift: loss.between(Apart(shift), x0, s, t, z).sum())(0.1) == 0.0


# ---- learnt ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "teaches",
    [pytest.param(True, marks=pytest.mark.slow), False],
    ids=["distillation", "training"],
)
def test_a_linear_model_learns_the_closed_form(teaches):
    """A factor for each of 32 sections of EDM's time: the limit of its updates, which are affine in the factors; exact means by four points.

    Both tend to 1 with N. In distillation, the ratio of successive factors is that of a step of Heun's method for dx/dt = t x/c_t to the
    exact sqrt(c_s/c_t). From data, where x_s and x_t share image and noise, it is (ell + s t) / sqrt(c_s c_t).
    """
    sde, count = EDM(), 32
    teacher = GaussianScore.create(jnp.zeros(1), ELL * jnp.eye(1), sde) if teaches else None
    cuts = Intervals(sde, EPS, count).cut(jnp.arange(count + 1.0))
    loss, exact = loss_of(sde, count, teacher), LinearFlow(sde, ELL, EPS)
    sign = jnp.asarray([(1, 1), (1, -1), (-1, 1), (-1, -1)], jnp.float64)
    x0, z = (jnp.tile(sign[:, k], count)[:, None] for k in (0, 1))
    s, t = (jnp.repeat(of, 4) for of in (cuts[:-1], cuts[1:]))

    class Table:
        """The exact function times a factor of each cut, 1 at eps."""

        def __init__(self, factors):
            self.factors = jnp.concatenate([jnp.ones(1), factors])

        def consistency(self, x, t):
            number = jnp.argmin(jnp.abs(cuts[None] - t[:, None]), axis=1)
            return self.factors[number][:, None] * exact.consistency(x, t)

    def update(factors):
        def total(factors):
            return loss.between(Table(factors), np.sqrt(ELL) * x0, s, t, z).sum()

        return jax.grad(total)(factors)

    factors = fixed_point(jax.jit(update), count)
    s, t = cuts[:-1], cuts[1:]
    c_s, c_t = ELL + s**2, ELL + t**2
    step = 1 + (s - t) / 2 * (t / c_t + s / c_s * (1 + (s - t) * t / c_t))
    kept = step / jnp.sqrt(c_s / c_t) if teaches else (ELL + s * t) / jnp.sqrt(c_s * c_t)
    np.testing.assert_allclose(factors, jnp.cumprod(kept), rtol=1e-8)
    assert 0.85 < factors[-1] < (1.02 if teaches else 0.95)
