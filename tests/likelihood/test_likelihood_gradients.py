"""Gradients of the log-density against closed forms, and likelihoods with step sizes per image."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.likelihood.estimators import build_trace_estimator
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace, IndependentProbes
from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import VP

EPS, SDE = 1e-3, VP()
KEYS = jax.random.split(jax.random.key(0), 2)


@flax.struct.dataclass
class Exaggerated:
    """The score (1 + k) s."""

    k: jax.Array
    model: GaussianScore

    def __call__(self, x, t):
        return (1 + self.k) * self.model(x, t)


def coefficients(variances):
    """c = alpha^2 ell + sigma^2 at eps and T, and ln(alpha_T / alpha_eps), for VP's B(t) = 0.1 t + 9.95 t^2."""
    b = np.array([0.1 * EPS + 9.95 * EPS**2, 10.05])
    c_eps, c_end = np.exp(-b)[:, None] * variances - np.expm1(-b)[:, None]
    return c_eps, c_end, 0.5 * (b[0] - b[1])


@pytest.mark.parametrize(
    ("adjoint", "trace"),
    [
        ("recursive_checkpoint", IndependentProbes()),
        pytest.param("backsolve", ExactTrace(), marks=pytest.mark.slow),
    ],
    ids=["recursive_checkpoint", "backsolve"],
)
def test_gradients_on_gaussian_data(x64, adjoint, trace):
    """With the score (1 + k) s the distribution at eps is N(0, v), v = (c_eps / c_T)^(1 + k) (alpha_T / alpha_eps)^(2k), hence
    d ln p/dx = -x / v and d ln p/dk = sum of (x^2 / v - 1) / 2 d ln v/dk. Rademacher probes give its trace exactly."""
    variances, k = np.array([0.1, 0.5, 2.0]), 0.1
    x = np.random.default_rng(0).normal(size=(2, 3))
    solver = AdaptiveSolver("dopri5", 1e-8, 1e-8, adjoint)
    gaussian = GaussianScore(jnp.zeros(3), jnp.asarray(variances), jnp.eye(3), SDE)

    @jax.jit
    @jax.value_and_grad
    def total(inputs):
        x, k = inputs
        model = Exaggerated(k, gaussian)
        return log_density(model, SDE, x, trace, KEYS, EPS, solver).nats.sum()

    value, (slope_x, slope_k) = total((jnp.asarray(x), jnp.asarray(k)))
    c_eps, c_end, log_alphas = coefficients(variances)
    rate = np.log(c_eps / c_end) + 2 * log_alphas
    v = (c_eps / c_end) ** (1 + k) * np.exp(2 * k * log_alphas)
    np.testing.assert_allclose(value, -0.5 * (x**2 / v + np.log(2 * np.pi * v)).sum(), rtol=1e-6)
    np.testing.assert_allclose(slope_x, -x / v, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(slope_k, (0.5 * (x**2 / v - 1) * rate).sum(), rtol=2e-6)


def mixture():
    return ProductMixtureScore(*map(jnp.asarray, ((0.3, 0.7), (-1.0, 0.6), (0.04, 0.09))), SDE)


@pytest.mark.parametrize("mode", [pytest.param("reverse", marks=pytest.mark.slow), "forward"])
def test_gradient_in_the_image_of_a_nonlinear_flow(x64, mode):
    """A mixture's flow keeps quantiles, so dz/dx = p_eps(x) / p_T(z) coordinate by coordinate, and ln p(x) =
    ln p_eps(x) + ln prior(z) - ln p_T(z): its slope goes through the trace, which here depends on x."""
    model, x = mixture(), jnp.asarray(np.linspace(-1.4, 1.2, 6).reshape(2, 3))
    adjoint = {"reverse": "recursive_checkpoint", "forward": "forward"}[mode]
    solver = AdaptiveSolver("dopri8", 1e-9, 1e-9, adjoint)

    def total(x):
        result = log_density(model, SDE, x, ExactTrace(), KEYS, EPS, solver)
        return result.nats.sum(), result.latent

    early, late = jnp.full(2, EPS), jnp.full(2, SDE.T)
    score = model(x, early)
    if mode == "reverse":
        slope, z = jax.jit(jax.grad(total, has_aux=True))(x)
    else:  # along one direction
        direction = jnp.ones_like(x)
        _, slope, z = jax.jit(lambda x: jax.jvp(total, (x,), (direction,), has_aux=True))(x)

    def one_by_one(x, t):
        return model.log_density(x.reshape(-1, 1), jnp.full(x.size, t)).reshape(x.shape)

    moved = jnp.exp(one_by_one(x, EPS) - one_by_one(z, SDE.T))
    expected = score + moved * (-z - model(z, late))
    expected = expected if mode == "reverse" else expected.sum()
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(score - expected).max() > 1e-3  # the ODE's own law, not the marginal's


def test_reverse_mode_needs_an_adjoint_that_has_it():
    solver, times = AdaptiveSolver("dopri5", 1e-2, 1e-2), jnp.array([0.0, 1.0])

    def total(x):
        return solver.solve(lambda t, x, args: -x, x, times, None).y.sum()

    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.eval_shape(jax.grad(total), jnp.ones((2, 1)))


def test_unknown_adjoints_are_refused():
    with pytest.raises(ValueError, match="adjoint='reverse' is unknown; choose one of forward"):
        AdaptiveSolver(adjoint="reverse")


# ---- steps of an image's own --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rademacher", pytest.param("hutchpp", marks=pytest.mark.slow)])
def test_an_image_with_steps_of_its_own_does_not_depend_on_the_others(name):
    """An image near or far from the data, alone and in two batches; with shared step sizes it depends on the batch."""
    covariance = 0.25 * 0.9 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    model = GaussianScore.create(jnp.zeros(8), jnp.asarray(covariance, jnp.float32), SDE)
    images = np.random.default_rng(0).normal(size=(4, 8)) * np.array([[0.01], [0.3], [1.0], [30.0]])
    images, keys = jnp.asarray(images, jnp.float32), jax.random.split(jax.random.key(1), 4)
    estimator = build_trace_estimator(name, 2, 3, 16, 8)
    solver = AdaptiveSolver("dopri5", 1e-3, 1e-3)

    @functools.partial(jax.jit, static_argnums=2)
    def run(x, keys, each_image):
        return log_density(model, SDE, x, estimator, keys, EPS, solver, each_image)

    def measure(rows, each_image):
        rows = np.array(rows)
        return jax.tree.map(np.asarray, run(images[rows], keys[rows], each_image))

    own = measure([0, 1, 2, 3], True)
    assert own.success.all()
    assert len(set(own.nfe)) > 1
    others = [3, 1, 1, 3]  # as many, for which no other program is compiled
    pair = measure(others, True)
    np.testing.assert_array_equal(pair.nfe, own.nfe[others])
    np.testing.assert_allclose(pair.nats, own.nats[others], rtol=1e-5)
    np.testing.assert_allclose(pair.standard_error, own.standard_error[others], rtol=1e-3)
    shared = measure([1, 3], False)
    assert len(set(shared.nfe)) == 1
    assert not np.allclose(shared.nats, own.nats[[1, 3]], rtol=1e-5)
