"""A score model of another shape than the images is refused: broadcasting would make wrong samples and likelihoods of it."""

import jax
import jax.numpy as jnp
import pytest

from score_sde.errors import UserError
from score_sde.likelihood.bound import continuous_bound
from score_sde.likelihood.decoder import decoding_term
from score_sde.models.score import ChangedScore
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.edm import EDMSampler
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.ode import VARIABLES, ProbabilityFlow
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS
from score_sde.samplers.published import PublishedPredictorCorrector
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import VP

SDE = VP()
X = jnp.ones((3, 2))
EULER = GridSolver("euler")
SAMPLERS = {
    **{name: PredictorCorrector(SDE, of, None) for name, of in PREDICTORS.items() if of},
    **{name: PredictorCorrector(SDE, None, of) for name, of in CORRECTORS.items() if of},
    "published predictor": PublishedPredictorCorrector(SDE, "euler_maruyama", "none", 50),
    "published corrector": PublishedPredictorCorrector(SDE, "none", "langevin", 50),
    **{f"ode in {of}": ProbabilityFlow(SDE, EULER, variable=of) for of in VARIABLES},
    "sde": ReverseSDE(SDE, "euler"),
    "edm": EDMSampler(SDE),
    **{name: ExponentialSampler(SDE, name) for name in EXPONENTIAL},
}


def one_number(x, t):
    """A score of one number for each image, as of a network whose last layer is too narrow."""
    return -x[:, :1]


class Doubled(ChangedScore):
    """A wrapper, whose result would have the shape of x again."""

    def changed(self, x, t, score):
        return score + 0.0 * x


REFUSED = r"^the score has the shape \(3, 1\) for images of shape \(3, 2\)"


@pytest.mark.parametrize("score", [one_number, Doubled(one_number)], ids=["bare", "wrapped"])
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_samplers_refuse_a_score_of_another_shape(sampler, score):
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(3))
    grid = log_snr_grid(SDE, SDE.T, 1e-3, 5)
    with pytest.raises(UserError, match=REFUSED):
        jax.eval_shape(lambda x: sampler(score, grid, noise, x), X)


BOUNDS = {
    "bound": lambda keys: continuous_bound(one_number, SDE, X, keys, 1e-3, draws=2),
    "decoder": lambda keys: decoding_term(one_number, SDE, X, X, 1e-3),
}


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_likelihoods_refuse_a_score_of_another_shape(bound):
    with pytest.raises(UserError, match=REFUSED):
        jax.eval_shape(bound, jax.random.split(jax.random.key(0), 3))
