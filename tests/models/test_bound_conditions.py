"""A condition stays with its image wherever a model is evaluated: in a batch, one by one, and in solves per image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.guidance.classifier_free import guided
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.exact import GaussianScore
from score_sde.models.one_by_one import OneByOne
from score_sde.models.score import bind, condition_of, evaluations_of
from score_sde.models.thresholding import StaticThreshold, ThresholdedScore
from score_sde.samplers.adaptive import Adaptive, AdaptiveSolver
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import VP
from tests.models.class_gaussians import ClassGaussians, labels

MODEL = ClassGaussians(jnp.array([0.5, -1.0, 0.0]), jnp.array([0.25, 0.04, 1.0]), VP())
CLASSES = (1, 0, 1, 2)
X = jnp.linspace(-1.5, 1.5, 8).reshape(4, 2)
SOLVER = AdaptiveSolver("bosh3", 1e-3, 1e-3)
EACH = Adaptive(1e-2, 1e-2, each_image=True)


def log_densities(model, x):
    keys = jax.random.split(jax.random.key(0), len(x))
    return log_density(model, VP(), x, ExactTrace(), keys, 1e-3, SOLVER, each_image=True)


def sampled(sampler):
    def sample(model, x):
        noise = IndexedNoise.for_images(jax.random.key(1), jnp.arange(len(x)))
        return sampler(model, jnp.array([1.0, 1e-3]), noise, x, x)

    return sample


SOLVES = {
    "ode": sampled(ProbabilityFlow(VP(), SOLVER, each_image=True)),
    "sde": sampled(ReverseSDE(VP(), "heun", adaptive=EACH)),
    "exponential": sampled(ExponentialSampler(VP(), "dpm_solver_2", adaptive=EACH)),
    "log-density": log_densities,
    "one by one": lambda model, x: OneByOne(model)(x, jnp.linspace(0.1, 0.9, len(x))),
    "one by one, within range": lambda model, x: OneByOne(
        ThresholdedScore(model, VP(), StaticThreshold(-9.0, 9.0))
    )(x, jnp.linspace(0.1, 0.9, len(x))),
    "one by one, guided": lambda model, x: OneByOne(guided(model, 1.5))(
        x, jnp.linspace(0.1, 0.9, len(x))
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "sde" else ()) for name in SOLVES],
)
def test_an_image_alone_has_its_own_condition(name):
    """Bit for bit equal to a batch of its class; classes differ."""
    run = jax.jit(SOLVES[name])
    mixed = run(MODEL.given(labels(*CLASSES)), X)
    for i, k in enumerate(CLASSES):
        of_class = run(MODEL.given(labels(k, k, k, k)), X)
        for got, expected in zip(jax.tree.leaves(mixed), jax.tree.leaves(of_class), strict=True):
            np.testing.assert_array_equal(got[i], expected[i])
    # Of the last class, which stands for none.
    first, other = jax.tree.leaves(mixed)[0], jax.tree.leaves(of_class)[0]
    assert np.abs(first[:3] - other[:3]).min() > 1e-3


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("ode", "one by one") else pytest.mark.slow)
        for name in SOLVES
    ],
)
def test_no_condition_is_the_class_that_stands_for_none(name):
    run = jax.jit(SOLVES[name])
    jax.tree.map(
        np.testing.assert_array_equal, run(MODEL, X), run(MODEL.given(labels(2, 2, 2, 2)), X)
    )


def test_a_class_is_its_own_exact_model():
    """Against the Gaussians of models/exact.py, in solves per image."""
    run = jax.jit(log_densities)
    got = run(MODEL.given(labels(*CLASSES)), X).nats
    for k in (0, 1):
        alone = run(MODEL.alone(k, 2), X).nats
        rows = np.array(CLASSES) == k
        np.testing.assert_allclose(got[rows], alone[rows], rtol=1e-4)


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param((), marks=pytest.mark.slow, id="none"),
        pytest.param(labels(2, 2, 2, 2), id="labels"),
    ],
)
def test_gradients_backwards_with_and_without_a_condition(condition):
    """The gradient is -x for N(0, 1), on which the flow is the identity. Neither labels nor the empty condition are differentiated."""
    solver = AdaptiveSolver("bosh3", 1e-2, 1e-2, "backsolve")

    def total(x, model):
        return log_density(model, VP(), x, ExactTrace(), jnp.zeros(4), 1e-3, solver).nats.sum()

    np.testing.assert_allclose(jax.grad(total)(X, MODEL.given(condition)), -X, atol=1e-4)


def test_wrappers_hand_on_the_condition():
    for wrapped in (OneByOne(MODEL), ThresholdedScore(MODEL, VP(), StaticThreshold())):
        bound = wrapped.given(labels(0, 1))
        assert condition_of(bound) is condition_of(bound.model)
        np.testing.assert_array_equal(bound.condition["label"], [0, 1])
        np.testing.assert_array_equal(bound.unconditional.condition["label"], [2, 2])


def test_models_without_conditions_refuse_one():
    exact = GaussianScore(jnp.zeros(2), jnp.ones(2), jnp.eye(2), VP())
    for model in (exact, OneByOne(exact), lambda x, t: -x):
        assert condition_of(model) == ()
        assert evaluations_of(model) == 1
        assert jax.tree.structure(bind(model, ())) == jax.tree.structure(model)
        with pytest.raises(ValueError, match=r"without conditions was given .*int32\[2\].*\(\)"):
            bind(model, labels(0, 1))
    assert exact.unconditional is exact
