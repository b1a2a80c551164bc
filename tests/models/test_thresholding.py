"""Thresholding: no effect on images in range, the bounds for all others, and the same result inside every sampler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.exact import FiniteDataScore, GaussianScore
from score_sde.models.score import denoise
from score_sde.models.thresholding import DynamicThreshold, StaticThreshold, ThresholdedScore
from score_sde.samplers.correctors import annealed_langevin
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import uniform_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS
from tests.samplers.closed_forms import PROCESSES

RANGES = [(-1.0, 1.0), (0.0, 1.0)]
SHAPE = (2, 2, 1)


def thresholds(low, high):
    return [StaticThreshold(low, high), DynamicThreshold(low, high, 0.8)]


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_the_identity_for_images_in_range(x64, sde, low, high):
    """The denoiser of a finite dataset is a mean of its points, so it never leaves their range."""
    points = jax.random.uniform(jax.random.key(0), (5, *SHAPE), minval=low, maxval=high)
    score = FiniteDataScore(points, sde)
    t = jnp.array([1e-3, 0.1, 0.5, 1.0])
    x = sde.alpha(t)[:, None, None, None] * points[:4]
    x = x + sde.sigma(t)[:, None, None, None] * jax.random.normal(jax.random.key(1), x.shape)
    expected = score(x, t)
    for threshold in thresholds(low, high):
        np.testing.assert_allclose(
            ThresholdedScore(score, sde, threshold)(x, t), expected, rtol=1e-9
        )


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_the_denoised_image_of_the_wrapped_score_is_in_range(x64, sde, low, high):
    """Gaussian data exceed the range; Tweedie's formula with the new score gives the thresholded image."""
    score = GaussianScore.create(jnp.zeros(4), 25.0 * jnp.eye(4), sde)
    t = jnp.array([1e-3, 0.1, 0.5, 1.0])
    x = 8.0 * jax.random.normal(jax.random.key(0), (4, *SHAPE))
    before = denoise(sde, score(x, t), x, t)
    assert jnp.abs(before).max() > 3
    for threshold in thresholds(low, high):
        after = denoise(sde, ThresholdedScore(score, sde, threshold)(x, t), x, t)
        assert jnp.all((after >= low - 1e-9) & (after <= high + 1e-9))
        np.testing.assert_allclose(after, threshold(before), atol=1e-9)


def test_a_hand_made_image():
    """Distances .5, 1, 2, 3, 10 from the center have the .75 quantile 3, so 10 is clipped to 3 and all are divided by 3."""
    image = jnp.array([[0.5, -1.0, 2.0, -3.0, 10.0], [0.5, -0.2, 0.1, 0.0, -1.0]])
    expected = [[1 / 6, -1 / 3, 2 / 3, -1.0, 1.0], [0.5, -0.2, 0.1, 0.0, -1.0]]
    dynamic = DynamicThreshold(-1.0, 1.0, 0.75)(image)
    np.testing.assert_allclose(dynamic, expected, rtol=1e-6)
    # [0, 1] is the same picture at half the contrast about .5.
    halved = DynamicThreshold(0.0, 1.0, 0.75)(0.5 + 0.5 * image)
    np.testing.assert_allclose(halved, 0.5 + 0.5 * np.array(expected), rtol=1e-6)
    # Between two pixels the quantile is interpolated: sizes 1, 2, .. 5 have their .9 quantile at 4.6.
    ramp = DynamicThreshold(-1.0, 1.0, 0.9)(jnp.array([[1.0, 2.0, 3.0, 4.0, 5.0]]))
    np.testing.assert_allclose(ramp, [[1 / 4.6, 2 / 4.6, 3 / 4.6, 4 / 4.6, 1.0]], rtol=1e-6)
    static = StaticThreshold(0.0, 1.0)(image)
    np.testing.assert_allclose(static, [[0.5, 0, 1, 0, 1], [0.5, 0, 0.1, 0, 0]], rtol=1e-6)


SAMPLERS = {
    **{
        name: lambda sde, predictor=predictor: PredictorCorrector(sde, predictor, None)
        for name, predictor in PREDICTORS.items()
        if predictor
    },
    "ald": lambda sde: PredictorCorrector(sde, None, annealed_langevin),
    "ode": lambda sde: ProbabilityFlow(sde, GridSolver("heun")),
}


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize(
    "sde",
    [PROCESSES[0], *(pytest.param(sde, marks=pytest.mark.slow) for sde in PROCESSES[1:])],
    ids=repr,
)
def test_every_sampler_ends_in_range(sde, name):
    """Under jit, for data of standard deviation 5."""
    exact = GaussianScore(jnp.zeros(4), jnp.full(4, 25.0), jnp.eye(4), sde)
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(6))
    grid, like = uniform_grid(sde.T, 1e-3, 8), jnp.zeros((6, *SHAPE))

    @jax.jit
    def denoised(score):
        x, t = SAMPLERS[name](sde)(score, grid, noise, like).x, jnp.full(6, grid[-1])
        return denoise(sde, score(x, t), x, t)

    x = denoised(ThresholdedScore(exact, sde, DynamicThreshold()))
    # Large steps of VE leave |x| near 1e3, whose float32 round-off the denoised image carries.
    assert jnp.abs(x).max() <= 1 + 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StaticThreshold(1.0, 1.0), "from 1.0 to 1.0: expected low < high"),
        (lambda: DynamicThreshold(1.0, -1.0), "from 1.0 to -1.0: expected low < high"),
        (lambda: DynamicThreshold(quantile=0.0), "quantile=0.0: expected a number in"),
        (lambda: DynamicThreshold(quantile=99.5), "quantile=99.5: expected a number in"),
    ],
)
def test_unusable_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
