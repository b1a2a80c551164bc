"""Equivalent samplers: equal samples on non-Gaussian data, for any noise.

Tested elsewhere: DDIM = DPM-Solver-1 = DPM-Solver++-1 = DEIS of order 0 (test_exponential.py, test_multistep.py), DDIM with
eta = 1 = ancestral sampling (test_exponential_noise.py), EDM's Euler = DDIM (test_edm.py), the reverse SDE by Euler =
Euler-Maruyama (test_sde.py), one flow for all processes (test_ode.py).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.samplers.configured import configure
from score_sde.samplers.edm import EDMSampler
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import log_snr_grid, noise_power_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import ancestral_forward, reverse_diffusion
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import VE, VP
from tests.samplers.closed_forms import FAST_VP
from tests.samplers.mixture_flow import mixture

EPS, STEPS, SHAPE = 1e-3, 9, (5, 2)


def recorded(num_steps, slots=1):
    rng = np.random.default_rng(0)
    draws = rng.normal(size=SHAPE), rng.normal(size=(num_steps, slots, *SHAPE))
    return RecordedNoise(*map(jnp.asarray, draws))


def assert_one_sampler(*samplers, grid):
    """The same states at all times and the same samples, to round-off of the largest on the way."""
    noise, like = recorded(len(grid) - 1), jnp.zeros(SHAPE)
    (x, path), (other_x, other_path) = (
        map(np.asarray, (samples.x, samples.path))
        for sampler in samplers
        for run in [jax.jit(functools.partial(sampler, keep_path=True))]
        for samples in [run(mixture(sampler.sde), grid, noise, like)]
    )
    tolerance = 1e-13 * np.abs(path).max()
    np.testing.assert_allclose(path, other_path, rtol=1e-11, atol=tolerance)
    np.testing.assert_allclose(x, other_x, rtol=1e-11, atol=tolerance)
    np.testing.assert_allclose(x, path[-1], rtol=1e-11, atol=tolerance)
    assert np.ptp(path[1]) > 0.1  # the states are told apart


def test_for_ve_reverse_diffusion_is_ancestral_sampling(x64):
    """With alpha = 1 there is no division: SMLD's two samplers differ only in their noise."""
    samplers = (
        PredictorCorrector(VE(), rule, None) for rule in (reverse_diffusion, ancestral_forward)
    )
    assert_one_sampler(*samplers, grid=log_snr_grid(VE(), 1.0, EPS, STEPS))


def test_for_vp_reverse_diffusion_is_ancestral_sampling_to_second_order(x64):
    """The two steps differ by beta^2 (x/4 + score/2) as beta goes to 0 (Song et al. 2021, App. E)."""
    sde, t = VP(), jnp.asarray(0.6)
    x, z = (jnp.asarray(a) for a in np.random.default_rng(0).normal(size=(2, *SHAPE)))
    score = mixture(sde)(x, jnp.full(SHAPE[0], t))
    differences = []
    for dt in (1e-3, 5e-4):
        s = t - dt
        one, other = (
            rule(mixture(sde), sde, x, t, s, z) for rule in (ancestral_forward, reverse_diffusion)
        )
        differences.append(np.asarray(one - other))
        beta = 0.5 * float(0.1 + 19.9 * t + 0.1 + 19.9 * s) * dt
    order = np.log2(np.linalg.norm(differences[0]) / np.linalg.norm(differences[1]))
    assert order == pytest.approx(2.0, abs=0.01)
    np.testing.assert_allclose(differences[1] / beta**2, x / 4 + score / 2, atol=0.01)


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_edm_without_churn_is_heun_in_the_ratio(x64, sde):
    samplers = EDMSampler(sde), ProbabilityFlow(sde, GridSolver("heun"), "ratio")
    assert_one_sampler(*samplers, grid=noise_power_grid(sde, 1.0, EPS, STEPS, 7.0))


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_euler_in_the_ratio_is_ddim(x64, sde):
    """Song et al. 2021a, Eq. 14. Only to eps = 0.1, where x and x/alpha still differ."""
    samplers = ProbabilityFlow(sde, GridSolver("euler"), "ratio"), ExponentialSampler(sde, "ddim")
    assert_one_sampler(*samplers, grid=log_snr_grid(sde, 1.0, 0.1, STEPS))


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_the_reverse_sde_without_noise_is_the_ode(x64, sde):
    samplers = ReverseSDE(sde, "euler", h=0.0), ProbabilityFlow(sde, GridSolver("euler"))
    assert_one_sampler(*samplers, grid=noise_power_grid(sde, 1.0, EPS, STEPS, 7.0))


# ---- annealed Langevin dynamics --------------------------------------------------------------------

LEVELS, EACH, ETA = 6, 4, 2e-5


def algorithm_1(score, sigmas, x, z):
    """Song and Ermon 2019, Alg. 1: alpha_i = eta sigma_i^2 / sigma_L^2, x + (alpha_i / 2) score + sqrt(alpha_i) z."""
    for i, sigma in enumerate(sigmas):
        step = ETA * sigma**2 / sigmas[-1] ** 2
        for t in range(EACH):
            x = x + 0.5 * step * score(x, sigma) + np.sqrt(step) * z[i, t]
    return x


def mixture_score(x, sigma):
    """Of 0.3 N(-1, 0.04) + 0.7 N(0.6, 0.09) and noise sigma."""
    weights, means = np.array([0.3, 0.7]), np.array([-1.0, 0.6])
    c = np.array([0.04, 0.09]) + sigma**2
    joint = weights * np.exp(-0.5 * (x[..., None] - means) ** 2 / c) / np.sqrt(c)
    return (joint * (means - x[..., None]) / c).sum(-1) / joint.sum(-1)


def test_annealed_langevin_of_a_config_is_algorithm_1(x64):
    """Its steps are half of those of NCSN's code: snr = sqrt(eta) / (2 sigma_L)."""
    sde, eps = VE(sigma_min=0.01, sigma_max=1.0), 1e-3
    config = get_config()
    options = config.sampling
    sigmas = 0.01 * 100.0 ** np.linspace(1.0, eps, LEVELS)
    options.update(sampler="pc", eps=eps, n_steps_each=EACH, snr=0.5 * ETA**0.5 / sigmas[-1])
    options.pc.update(predictor="none", corrector="ald", num_steps=LEVELS)
    sampler, grid = configure(options, sde)[:2]
    noise = recorded(LEVELS, 1 + EACH)
    x = jax.jit(lambda noise: sampler(mixture(sde), grid, noise, jnp.zeros(SHAPE)).x)(noise)
    start = np.asarray(noise.start)  # the prior N(0, sigma_1^2), sigma_1 = 1
    expected = algorithm_1(mixture_score, sigmas, start, np.asarray(noise.steps)[:, 1:])
    np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-9)
    assert np.abs(expected - start).min() > 1e-3
