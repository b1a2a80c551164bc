"""NCSN's sampler (Song and Ermon 2019, Alg. 1): Langevin steps of length eta sigma_i^2 / sigma_L^2 at levels sigma_1 > ... > sigma_L.

It is the predictor-corrector sampler without a predictor, at snr = sqrt(eta / 2) / sigma_L. NCSN corrects at all L levels, so
the first time appears in the grid twice. Published settings: ten levels from 1 to .01, 100 steps each, eta = 2e-5.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.samplers.correctors import annealed_langevin
from score_sde.samplers.noise import IndexedNoise, RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.sde_lib import VE

LEVELS, STEPS, ETA = 10, 100, 2e-5
SIGMAS = np.geomspace(1.0, 0.01, LEVELS)
NCSN = PredictorCorrector(
    VE(sigma_min=0.01, sigma_max=1.0), None, annealed_langevin, (ETA / 2) ** 0.5 / 0.01, STEPS
)
GRID = np.array([1.0, *np.linspace(1.0, 0.0, LEVELS)])
MEAN = 0.5


def measured_laws(variance):
    """Mean and variance at the start and after each level, by differentiating through the sampler."""
    score = GaussianScore(jnp.full(1, MEAN), jnp.full(1, variance), jnp.eye(1), NCSN.sde)

    def sample(noise):
        steps = noise[1:].reshape(LEVELS, STEPS, 1, 1)
        # slot 0 is the predictor's
        recorded = RecordedNoise(noise[:1, None], jnp.pad(steps, ((0, 0), (1, 0), (0, 0), (0, 0))))
        samples = NCSN(score, jnp.asarray(GRID), recorded, jnp.zeros((1, 1)), keep_path=True)
        return samples.path[:, 0, 0]

    @jax.jit
    def value_and_jacobian(noise):
        return sample(noise), jax.jacrev(sample)(noise)

    means, jacobian = value_and_jacobian(jnp.zeros(1 + LEVELS * STEPS))
    return np.asarray(means), np.sum(np.square(jacobian), axis=1)


@pytest.mark.parametrize("variance", [0.25, 1e-4])
def test_law_at_every_level(x64, variance):
    """Each step multiplies a deviation by (1 - h / c) and adds the variance 2 h, with h = eta sigma_i^2 / sigma_L^2."""
    mean, spread = 0.0, 1.0  # the prior N(0, sigma_1^2)
    expected = [(mean, spread)]
    for sigma in SIGMAS:
        c, h = variance + sigma**2, ETA * sigma**2 / 0.01**2
        for _ in range(STEPS):
            mean, spread = mean + h * (MEAN - mean) / c, (1 - h / c) ** 2 * spread + 2 * h
        expected.append((mean, spread))
    means, spreads = measured_laws(variance)
    np.testing.assert_allclose(means, np.array(expected)[:, 0], rtol=1e-11)
    np.testing.assert_allclose(spreads, np.array(expected)[:, 1], rtol=1e-11)


def test_final_variance(x64):
    """100 steps of h / c = .1 suffice to reach c / (1 - h / 2c), 2.1e-4 instead of c = 2e-4."""
    variance = 1e-4
    means, spreads = measured_laws(variance)
    c = variance + 0.01**2
    # What is left of the level before is (1 - h / c)^200 = 7e-10 of it.
    assert spreads[-1] == pytest.approx(c / (1 - ETA / (2 * c)), rel=1e-8)
    assert means[-1] == pytest.approx(MEAN, rel=1e-4)


def test_evaluations():
    assert NCSN.nfe(LEVELS) == 1000


# ---- two modes -----------------------------------------------------------------------------------

WEIGHTS, MODES, VARIANCE = np.array([0.3, 0.7]), np.array([-4.0, 4.0]), 0.04
SNR, COUNT, EACH = 0.1, 20, 150


def mixture_score(x, sigma):
    c = VARIANCE + sigma**2
    log_joint = np.log(WEIGHTS) - 0.5 * (x[:, None] - MODES) ** 2 / c
    joint = np.exp(log_joint - log_joint.max(1, keepdims=True))
    return (joint * (MODES - x[:, None])).sum(1) / joint.sum(1) / c


def exact_weight(sigmas, steps, start_std):
    """P(x > 0) after `steps` Langevin steps at each level, their transition densities applied by the trapezoidal rule.

    Its points are .8 of a transition's standard deviation apart, where the rule for a Gaussian is good to 1e-13.
    """

    def transition(y, x, sigma):
        h = 2 * (SNR * sigma) ** 2
        mean = x + h * mixture_score(x, sigma)
        return norm.pdf(y[:, None], mean, np.sqrt(2 * h)) * (x[1] - x[0])

    x = np.linspace(-9 * start_std, 9 * start_std, 401)
    density = norm.pdf(x, 0, start_std)
    for sigma in sigmas:
        reach = 4 + 7 * np.sqrt(VARIANCE + sigma**2)
        y = np.arange(-reach, reach, 0.8 * 2 * SNR * sigma)
        density = transition(y, x, sigma) @ density
        x = y
        density = np.linalg.matrix_power(transition(x, x, sigma), steps - 1) @ density
    mass = density * (x[1] - x[0])
    assert mass.sum() == pytest.approx(1, abs=1e-5)
    return 1 - np.interp(0, x + 0.5 * (x[1] - x[0]), np.cumsum(mass))


def sampled_weight(sde, times, start_std):
    """The share of 4,000 samples in the right mode, as independent pixels of 40 images."""
    score = ProductMixtureScore(
        jnp.asarray(WEIGHTS), jnp.asarray(MODES), jnp.full(2, VARIANCE), sde
    )
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(40))
    sampler = PredictorCorrector(sde, None, annealed_langevin, SNR, EACH)
    start = start_std * noise(-1, 0, jnp.zeros((40, 100)))
    x = jax.jit(lambda x: sampler(score, jnp.asarray(times), noise, x, x_start=x).x)(start)
    return float(jnp.mean(x > 0))


# Weights of the right mode, .7 in the data, by an independent program that sampled 4,000 times (standard error .007)
ANNEALED, FIXED = 0.686, 0.506


@pytest.mark.slow
def test_annealing_finds_the_weights_of_the_modes():
    """20 levels from 10 to .1, against .1 from the start: without annealing no sample reaches the other mode.

    A sampled fraction is within 4.9 standard errors of the exact one, except for one random stream in a million.
    """
    sde = VE(sigma_min=0.1, sigma_max=10.0)
    sigmas, levels = np.geomspace(10.0, 0.1, COUNT), np.linspace(1.0, 0.0, COUNT)
    cases = [
        (ANNEALED, exact_weight(sigmas, EACH, 10.0), sampled_weight(sde, [1.0, *levels], 10.0)),
        (
            FIXED,
            exact_weight([0.1], COUNT * EACH, 1.0),
            sampled_weight(sde, [0.0] * (COUNT + 1), 1.0),
        ),
    ]
    for tabulated, exact, sampled in cases:
        standard_error = np.sqrt(exact * (1 - exact) / 4000)
        assert abs(sampled - exact) < 4.892 * standard_error
        assert abs(tabulated - exact) < 0.01
