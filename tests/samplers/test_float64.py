"""Where float64 is the default, float32 images are sampled and measured in float32, to the same values; float64 ones in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.likelihood.bound import continuous_bound
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.correctors import langevin
from score_sde.samplers.edm import EDMSampler
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import uniform_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import ancestral_forward, reverse_diffusion
from score_sde.samplers.published import PublishedPredictorCorrector
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import VP

SDE, STEPS, EPS = VP(), 4, 0.01
SAMPLERS = {
    "predictor and corrector": PredictorCorrector(SDE, reverse_diffusion, langevin),
    "ancestral": PredictorCorrector(SDE, ancestral_forward, None, last_noise=False),
    "published": PublishedPredictorCorrector(SDE, "euler_maruyama", "none", STEPS),
    "ode on a grid": ProbabilityFlow(SDE, GridSolver("heun"), variable="log_ratio"),
    "ode": ProbabilityFlow(SDE, AdaptiveSolver("dopri5", 1e-3, 1e-3)),
    "sde": ReverseSDE(SDE, "euler"),
    "edm": EDMSampler(SDE, s_churn=1.0),
    "ddim": ExponentialSampler(SDE, "ddim", eta=0.5),
    "unipc_3": ExponentialSampler(SDE, "unipc_3"),
}
X = np.random.default_rng(0).normal(size=(STEPS + 2, 2, 3, 2))


def score(x, t):
    """Of data of variance 1/4 in VP, up to a little curvature."""
    alpha = SDE.alpha(t)[:, None]
    return -x / (1 - 0.75 * alpha**2) - 0.1 * alpha * jnp.tanh(x)


def drawn(sampler, dtype):
    steps = jnp.asarray(X[1:], dtype)
    noise = RecordedNoise(jnp.asarray(X[0, 0], dtype), steps)
    return sampler(score, uniform_grid(SDE.T, EPS, STEPS), noise, jnp.zeros((3, 2), dtype)).x


def nats(of, dtype):
    x = jnp.asarray(X[0, 0], dtype)
    keys = jax.random.split(jax.random.key(0), 3)
    if of == "bound":
        return continuous_bound(score, SDE, x, keys, EPS, 4).nats
    solver = AdaptiveSolver("dopri5", 1e-3, 1e-3)
    return log_density(score, SDE, x, ExactTrace(), keys, EPS, solver).nats


CASES = {
    **{name: (drawn, sampler) for name, sampler in SAMPLERS.items()},
    **{name: (nats, name) for name in ("log-density", "bound")},
}


@pytest.mark.parametrize(("compute", "of"), CASES.values(), ids=CASES)
def test_the_dtype_is_that_of_the_images(compute, of):
    usual = compute(of, jnp.float32)
    with jax.enable_x64(True):
        narrow, wide = compute(of, jnp.float32), compute(of, jnp.float64)
    assert (usual.dtype, narrow.dtype, wide.dtype) == (jnp.float32, jnp.float32, jnp.float64)
    # uniform_grid itself is rounded otherwise where it is computed in float64.
    np.testing.assert_allclose(narrow, usual, rtol=2e-5, atol=2e-6)
    if compute is drawn:  # random keys give other numbers in float64
        np.testing.assert_allclose(wide, usual, rtol=2e-5, atol=2e-5)
