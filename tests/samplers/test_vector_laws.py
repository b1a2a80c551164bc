"""Mean vector and covariance matrix of every sampler on correlated Gaussian data, up to rounding.

As in test_finite_step_laws.py the noise is passed in, so the output is affine in it and its Jacobian gives the
covariance. The reference is a recursion of matrices in NumPy, M' = A M + b, V' = A V A^T + n I, with A, b and n
of each update rule and closed forms of the processes; data N(mu, Sigma) in three dimensions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.exact import GaussianScore
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.grids import uniform_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS, tweedie
from score_sde.sde_lib import VP
from tests.fast_cases import fast_where
from tests.samplers.closed_forms import PROCESSES, closed_form

D, STEPS, EPS, SNR = 3, 12, 1e-3, 0.2
IDENTITY = np.eye(D)
MU = np.array([0.5, -0.2, 0.1])
SIGMA = np.array([[0.5, 0.3, -0.1], [0.3, 0.4, 0.05], [-0.1, 0.05, 0.2]])


def score_terms(sde, t):
    """K and q of score = q - K x."""
    here = closed_form(sde, t)
    precision = np.linalg.inv(here.alpha**2 * SIGMA + here.sigma**2 * IDENTITY)
    return precision, here.alpha * precision @ MU


def predictor_step(name, sde, t, s):
    """A, b, n of one step from t to s."""
    precision, q = score_terms(sde, t)
    now, then, dt = closed_form(sde, t), closed_form(sde, s), t - s
    a = now.alpha / then.alpha
    variance = now.sigma**2 - a**2 * then.sigma**2
    diffused = now.g_squared * dt
    ancestral = ((IDENTITY - variance * precision) / a, variance * q / a)
    return {
        "euler_maruyama": (
            (1 - now.f * dt) * IDENTITY - diffused * precision,
            diffused * q,
            diffused,
        ),
        "reverse_diffusion": ((2 - a) * IDENTITY - variance * precision, variance * q, variance),
        "ancestral_sampling": (*ancestral, variance),
        "ancestral_sampling_posterior": (*ancestral, variance * then.sigma**2 / now.sigma**2),
        "probability_flow": (
            (2 - a) * IDENTITY - 0.5 * variance * precision,
            0.5 * variance * q,
            0.0,
        ),
        "none": (IDENTITY, np.zeros(D), 0.0),
    }[name]


def annealed_langevin_step(sde, t, s):
    """A, b, n of a corrector step at s after a step from t."""
    precision, q = score_terms(sde, s)
    a = closed_form(sde, t).alpha / closed_form(sde, s).alpha
    step = 2 * (a * SNR * closed_form(sde, s).sigma) ** 2
    return IDENTITY - step * precision, step * q, 2 * step


def expected_law(sde, predictor, corrector_steps, last, start):
    """Mean and covariance after the whole grid; from the prior, or from a start that is not random."""
    prior_variance = closed_form(sde, 1.0).prior_std ** 2
    mean, covariance = (
        (np.zeros(D), prior_variance * IDENTITY) if start is None else (start, 0 * IDENTITY)
    )
    grid = np.linspace(1.0, EPS, STEPS + 1)
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        corrections = [annealed_langevin_step(sde, t, s)] * corrector_steps
        prediction = predictor_step(predictor, sde, t, s)
        if s == grid[-1] and last == "predictor_mean":
            prediction, corrections = (*prediction[:2], 0.0), []
        for matrix, b, n in [prediction, *corrections]:
            mean = matrix @ mean + b
            covariance = matrix @ covariance @ matrix.T + n * IDENTITY
    if last == "tweedie":
        # Tweedie as the regression of x_0 on x_eps: mu + alpha Sigma C^{-1} (x - alpha mu)
        end, (precision, _) = closed_form(sde, EPS), score_terms(sde, EPS)
        gain = end.alpha * SIGMA @ precision
        mean = MU + gain @ (mean - end.alpha * MU)
        covariance = gain @ covariance @ gain.T
    return mean, covariance


def measured_law(sde, sampler, last, start):
    """The sampler's value without noise, and its squared Jacobian."""
    slots = 1 + sampler.corrector_steps
    score = GaussianScore.create(jnp.asarray(MU), jnp.asarray(SIGMA), sde)
    grid = uniform_grid(sde.T, EPS, STEPS)
    x_start = None if start is None else jnp.asarray(start)[None]

    def sample(noise):
        recorded = RecordedNoise(noise[0][None], noise[1:].reshape(STEPS, slots, 1, D))
        x = sampler(score, grid, recorded, jnp.zeros((1, D)), x_start).x
        return (tweedie(score, sde, x, grid[-1]) if last == "tweedie" else x)[0]

    @jax.jit
    def value_and_jacobian(noise):
        return sample(noise), jax.jacrev(sample)(noise)

    mean, jacobian = value_and_jacobian(jnp.zeros((1 + STEPS * slots, D)))
    jacobian = np.asarray(jacobian).reshape(D, -1)
    return mean, jacobian @ jacobian.T


START = np.array([1.0, -2.0, 0.5])
CASES = [
    # predictor, corrector, corrector_steps, last step, start
    *((name, "none", 0, "none", None) for name in PREDICTORS if name != "none"),
    ("none", "ald", 1, "none", None),
    ("none", "ald", 2, "tweedie", START),
    ("euler_maruyama", "ald", 1, "tweedie", None),
    ("reverse_diffusion", "ald", 2, "none", None),
    ("reverse_diffusion", "ald", 2, "predictor_mean", None),
    ("ancestral_sampling", "none", 0, "predictor_mean", None),
    ("ancestral_sampling_posterior", "ald", 1, "none", START),
]


# Under VE steps need not divide by alpha, under sub-VP g is not that of alpha: a predictor, and a corrector with both.
FAST_ELSEWHERE = [("euler_maruyama", "none"), ("reverse_diffusion", "ald")]


@pytest.mark.parametrize(
    ("sde", "predictor", "corrector", "corrector_steps", "last", "start"),
    fast_where(
        lambda sde, *case: sde == VP() or (case[:2] in FAST_ELSEWHERE and case[3] == "none"),
        [(sde, *case) for sde in PROCESSES for case in CASES],
    ),
)
def test_law_on_correlated_data(x64, sde, predictor, corrector, corrector_steps, last, start):
    sampler = PredictorCorrector(
        sde,
        PREDICTORS[predictor],
        CORRECTORS[corrector],
        snr=SNR,
        corrector_steps=max(corrector_steps, 1),
        last_noise=last != "predictor_mean",
    )
    mean, covariance = measured_law(sde, sampler, last, start)
    expected_mean, expected = expected_law(sde, predictor, corrector_steps, last, start)
    # Steps of twelve overshoot in VE, whose law reaches 1e3; round-off of each entry is that of the largest.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-11 * np.sqrt(scale))
