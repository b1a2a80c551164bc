"""The exact distribution of every stochastic sampler after finitely many steps, without sampling error.

On Gaussian data with the exact score every update is affine in the state and the noise. A sampler's
output is therefore an affine function of the noise it is given: its value at zero noise is the mean,
and the sum of the squared Jacobian is the variance. The expected numbers come from an independent recursion
(data N(0.5, 0.25), uniform grid of N steps from T to eps), and agree up to rounding.
"""

import jax
import jax.numpy as jnp
import pytest

from score_sde.models.exact import GaussianScore
from score_sde.samplers.correctors import annealed_langevin
from score_sde.samplers.grids import uniform_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS, tweedie
from score_sde.sde_lib import VE, VP, SubVP
from tests.fast_cases import fast_where

MEAN, VARIANCE = 0.5, 0.25


def score_of(sde, mean=MEAN, variance=VARIANCE):
    return GaussianScore(jnp.full(1, mean), jnp.full(1, variance), jnp.eye(1), sde)


def law(sampler, eps, num_steps, denoised=False):
    """Mean and variance of the samples of a scalar problem, by differentiating through the sampler."""
    grid = uniform_grid(sampler.sde.T, eps, num_steps)
    slots = 1 + sampler.corrector_steps

    def sample(start, steps):
        noise = RecordedNoise(start.reshape(1, 1), steps.reshape(num_steps, slots, 1, 1))
        score = score_of(sampler.sde)
        x = sampler(score, grid, noise, jnp.zeros((1, 1))).x
        return (tweedie(score, sampler.sde, x, grid[-1]) if denoised else x)[0, 0]

    zeros = jnp.zeros(()), jnp.zeros((num_steps, slots))
    mean, gradients = jax.jit(jax.value_and_grad(sample, argnums=(0, 1)))(*zeros)
    return float(mean), float(sum(jnp.sum(g**2) for g in gradients))


# (process, predictor, eps, N) -> mean, variance, to as many digits as an independent recursion was tabulated.
LAWS = [
    (VP(), "euler_maruyama", 1e-3, 100, 0.50293, 0.253904),
    (VP(), "euler_maruyama", 1e-3, 1000, 0.50026, 0.250442),
    (VP(), "reverse_diffusion", 1e-3, 100, 0.49723, 0.265246),
    (VP(), "reverse_diffusion", 1e-3, 1000, 0.49970, 0.251561),
    (VP(), "ancestral_sampling", 1e-3, 100, 0.49997, 0.258731),
    (VP(), "ancestral_sampling", 1e-3, 1000, 0.49997, 0.250933),
    (VP(), "ancestral_sampling_posterior", 1e-3, 100, 0.49997, 0.219446),
    (VP(), "ancestral_sampling_posterior", 1e-3, 1000, 0.49997, 0.246303),
    (SubVP(), "euler_maruyama", 1e-3, 100, 0.50390, 0.254024),
    (SubVP(), "euler_maruyama", 1e-3, 1000, 0.50036, 0.250368),
    (SubVP(), "reverse_diffusion", 1e-3, 100, 0.49602, 0.267161),
    (SubVP(), "reverse_diffusion", 1e-3, 1000, 0.49959, 0.251634),
    (VE(), "euler_maruyama", 1e-5, 100, 0.49998, 0.250699),
    (VE(), "euler_maruyama", 1e-5, 1000, 0.49995, 0.250107),
    (VE(), "reverse_diffusion", 1e-5, 100, 0.49995, 0.272668),
    (VE(), "reverse_diffusion", 1e-5, 1000, 0.49995, 0.252243),
    (VE(), "ancestral_sampling", 1e-5, 100, 0.49995, 0.272668),
    (VE(), "ancestral_sampling", 1e-5, 1000, 0.49995, 0.252243),
    (VE(), "ancestral_sampling_posterior", 1e-5, 100, 0.49995, 0.229966),
    (VE(), "ancestral_sampling_posterior", 1e-5, 1000, 0.49995, 0.247983),
]


@pytest.mark.parametrize(
    ("sde", "predictor", "eps", "num_steps", "mean", "variance"),
    fast_where(lambda sde, predictor, eps, num_steps, *law: num_steps == 100, LAWS),
)
def test_law_of_each_predictor(x64, sde, predictor, eps, num_steps, mean, variance):
    sampler = PredictorCorrector(sde, PREDICTORS[predictor], None)
    got_mean, got_variance = law(sampler, eps, num_steps)
    assert abs(got_mean - mean) < 0.51e-5  # half a unit of the last digit given
    assert abs(got_variance - variance) < 0.51e-6


def test_euler_maruyama_to_round_off(x64):
    sampler = PredictorCorrector(VP(), PREDICTORS["euler_maruyama"], None)
    mean, variance = law(sampler, 1e-3, 50)
    assert mean == pytest.approx(0.5058567661984437, rel=1e-13)
    assert variance == pytest.approx(0.2582556918444262, rel=1e-13)


FIRST_ORDER = [
    (sde, predictor)
    for sde in (VP(), SubVP(), VE())
    for predictor in ("euler_maruyama", "reverse_diffusion", "ancestral_sampling")
    # Not asymptotic at these step counts: the leading term of its error nearly vanishes.
    if (sde, predictor) != (VE(), "euler_maruyama")
]


@pytest.mark.parametrize(("sde", "predictor"), fast_where(lambda sde, _: sde == VP(), FIRST_ORDER))
def test_weak_order_is_one(x64, sde, predictor):
    """The error of the variance halves with the step size."""
    eps = 1e-3
    alpha, sigma = sde.alpha(jnp.asarray(eps)), sde.sigma(jnp.asarray(eps))
    target = float(alpha**2 * VARIANCE + sigma**2)
    sampler = PredictorCorrector(sde, PREDICTORS[predictor], None)
    coarse, fine = (law(sampler, eps, n)[1] - target for n in (400, 800))
    assert coarse / fine == pytest.approx(2.0, abs=0.1)


def test_last_denoising_is_the_posterior_mean(x64):
    """It multiplies deviations by alpha l / c, so the variance by its square (Tweedie on Gaussian data)."""
    sde, eps = VP(), 1e-3
    predictor = PREDICTORS["euler_maruyama"]
    sampler = PredictorCorrector(sde, predictor, None)
    _, before = law(sampler, eps, 100)
    mean, after = law(sampler, eps, 100, denoised=True)
    # alpha(1e-3) and sigma(1e-3), tabulated
    alpha, sigma = 0.9999450265, 0.01048542
    gain = alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2)
    assert after / before == pytest.approx(gain**2, rel=1e-8)
    # Of the exact marginal, whose variance is alpha l / gain, it leaves the variance .2498901.
    assert (after / before) * alpha * VARIANCE / gain == pytest.approx(0.2498901, abs=6e-8)
    assert mean == pytest.approx(MEAN + gain * (0.50293 - alpha * MEAN), abs=1e-5)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=repr)
def test_annealed_langevin_adds_its_known_excess(x64, sde):
    """One step of length h on N(m, c) keeps the mean and turns c into c + h^2 / c.

    Repeated, it converges to c / (1 - h / 2c): the fixed point of V' = A^2 V + n is n / (1 - A^2).
    """
    t, a, snr = jnp.asarray(0.3), jnp.asarray(0.9), 0.2
    score = score_of(sde)
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    mean, c = alpha * MEAN, alpha**2 * VARIANCE + sigma**2

    def after(x, z):
        x, z = x.reshape(1, 1), z.reshape(1, 1)
        return annealed_langevin(score, sde, x, t, a, z, snr)[0, 0]

    value, (dx, dz) = jax.value_and_grad(after, argnums=(0, 1))(mean, jnp.zeros(()))
    mean, sigma, c, value, dx, dz = map(float, (mean, sigma, c, value, dx, dz))
    step = dz**2 / 2  # its noise is sqrt(2 step) z
    assert step == pytest.approx(2 * 0.9**2 * 0.2**2 * sigma**2, rel=1e-12)
    assert value == pytest.approx(mean, rel=1e-12)
    assert dx**2 * c + dz**2 == pytest.approx(c + step**2 / c, rel=1e-12)
    assert dz**2 / (1 - dx**2) == pytest.approx(c / (1 - step / (2 * c)), rel=1e-11)
