"""The meaning of the Langevin corrector's signal-to-noise ratio, and independence between images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard

from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.samplers.correctors import CORRECTORS, langevin
from score_sde.samplers.grids import uniform_grid
from score_sde.samplers.noise import IndexedNoise, RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS
from score_sde.sde_lib import VE, VP, SubVP
from tests.samplers.closed_forms import FAST_VP, closed_form

SHAPE = (4, 4, 1)


def mixture(sde):
    weights, means, variances = (
        jnp.array([0.3, 0.7]),
        jnp.array([-1.0, 0.6]),
        jnp.array([0.04, 0.09]),
    )
    return ProductMixtureScore(weights, means, variances, sde)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=repr)
def test_snr_is_the_ratio_of_drift_to_noise(x64, sde):
    """|step score| / |sqrt(2 step) z| = a snr for every image, whatever its score."""
    t, a, snr = jnp.asarray(0.4), jnp.asarray(0.95), 0.16
    x, z = jax.random.normal(jax.random.key(0), (2, 5, *SHAPE))
    score = mixture(sde)
    moved = langevin(score, sde, x, t, a, z, snr)
    # The noise enters with the sign of z, the drift does not: their halves separate exactly.
    mirrored = langevin(score, sde, x, t, a, -z, snr)
    drift, noise = (moved + mirrored) / 2 - x, (moved - mirrored) / 2
    norms = [jnp.linalg.norm(part.reshape(5, -1), axis=1) for part in (drift, noise)]
    np.testing.assert_allclose(norms[0] / norms[1], 0.95 * 0.16, rtol=1e-10)


@pytest.mark.parametrize("corrector", ["langevin", "ald"])
def test_an_image_does_not_depend_on_its_companions(corrector):
    sde = SubVP()
    sampler = PredictorCorrector(sde, PREDICTORS["euler_maruyama"], CORRECTORS[corrector])
    grid = uniform_grid(sde.T, 1e-3, 20)

    @jax.jit
    def sample(indices):
        noise = IndexedNoise.for_images(jax.random.key(1), indices)
        return sampler(mixture(sde), grid, noise, jnp.zeros((len(indices), *SHAPE))).x

    together, other = sample(jnp.arange(7)), sample(jnp.arange(5, 12))
    # Not bit for bit: some processors round the vectors of a wider batch otherwise than the last elements of it.
    np.testing.assert_allclose(together[5:], other[:2], atol=1e-5)


# ---- the law in many dimensions, where a norm is its mean --------------------------------------------
#
# The Langevin step depends on norms, so its law is simple only for d -> infinity. Orthogonal columns of +-1
# in place of the noise reach that limit at any d: with every draw orthogonal to all others and of norm exactly
# sqrt(d), a state's second moment follows the recursion V' = A^2 V + 2 step to round-off.


def orthogonal_noise(num_steps, slots, repeats=1):
    """Start (1, d) and steps (num_steps, slots, 1, d), each column repeated side by side."""
    columns = hadamard(1 << (num_steps * slots + 1).bit_length()).astype(np.float64)
    columns = np.tile(columns[1 : 2 + num_steps * slots], (1, repeats))  # the first is all ones
    return RecordedNoise(columns[:1], columns[1:].reshape(num_steps, slots, 1, -1))


@dataclasses.dataclass(frozen=True)
class FixedGaussian:
    """The score of N(0, c) with one variance per dimension, at every time."""

    variances: tuple[float, ...]

    def __call__(self, x, t):
        halves = x.reshape(len(self.variances), -1)
        return (-halves / jnp.asarray(self.variances)[:, None]).reshape(x.shape)


# Variances c_k of the target, and what repeated steps at snr r = .16 settle at, in units of them. The fixed point
# is v_k = c_k / (1 - step/2c_k) with step = 2 r^2 d / sum(v_k/c_k^2): for equal variances v = c (1 + r^2).
FIXED_POINTS = [
    ((1.0,), (1 + 0.16**2,), 1e-9),
    ((0.25,), (1 + 0.16**2,), 1e-9),
    ((1.0, 0.25), (1.00999, 1.04121), 6e-6),  # to the digits of an independent solution
]


@pytest.mark.parametrize(("variances", "ratios", "accuracy"), FIXED_POINTS)
def test_langevin_settles_at_its_fixed_point(x64, variances, ratios, accuracy):
    num_steps, halves = 500, len(variances)
    noise = orthogonal_noise(num_steps, 1, halves)
    score, t, a = FixedGaussian(variances), jnp.asarray(0.5), jnp.asarray(1.0)

    def step(x, z):
        return langevin(score, VE(), x, t, a, z, 0.16), None

    x, _ = jax.jit(lambda: jax.lax.scan(step, jnp.asarray(noise.start), noise.steps[:, 0]))()
    second_moments = np.mean(np.asarray(x).reshape(halves, -1) ** 2, axis=1)
    # The slowest deviation shrinks by some 1 - 2 step/c <= .96 a step: by 1e-9 in 500.
    np.testing.assert_allclose(second_moments / variances, ratios, rtol=0, atol=accuracy)


def many_dimensional_law(sde, eps, num_steps, snr, mean=0.5, variance=0.25):
    """Mean and variance of reverse diffusion with a Langevin corrector, data N(mean, variance) in every dimension."""
    grid = np.linspace(1.0, eps, num_steps + 1)
    m, v = 0.0, closed_form(sde, 1.0).prior_std ** 2
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        now, then = closed_form(sde, t), closed_form(sde, s)
        a = now.alpha / then.alpha
        tau2 = now.sigma**2 - a**2 * then.sigma**2
        c = now.alpha**2 * variance + now.sigma**2
        m, v = (
            (2 - a - tau2 / c) * m + tau2 * now.alpha * mean / c,
            (2 - a - tau2 / c) ** 2 * v + tau2,
        )
        c, error = then.alpha**2 * variance + then.sigma**2, m - then.alpha * mean
        step = 2 * (a * snr) ** 2 / ((v + error**2) / c**2)
        m, v = m - step * error / c, (1 - step / c) ** 2 * v + 2 * step
    return m, v


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_predictor_corrector_law(x64, sde):
    """PC1000 at snr 0.16: the corrector's bias keeps the variance above the marginal's by 1 + snr^2."""
    num_steps, eps = 1000, 1e-5 if sde == VE() else 1e-3
    noise = orthogonal_noise(num_steps, 2)
    score = IsotropicScore(jnp.asarray(0.5), jnp.asarray(0.25), sde)
    sampler = PredictorCorrector(sde, PREDICTORS["reverse_diffusion"], CORRECTORS["langevin"])
    grid = uniform_grid(sde.T, eps, num_steps)
    x = jax.jit(lambda: sampler(score, grid, noise, jnp.zeros(noise.start.shape)).x)()
    mean, measured = float(x.mean()), float(x.var())
    expected = many_dimensional_law(sde, eps, num_steps, 0.16)
    assert (mean, measured) == pytest.approx(expected, rel=1e-9)
    end = closed_form(sde, eps)
    # The corrector's fixed point moves as the marginal does; in 1,000 steps it lags by some 1e-4.
    biased = (end.alpha**2 * 0.25 + end.sigma**2) * (1 + 0.16**2)
    assert measured == pytest.approx(biased, abs=2e-4)


def IsotropicScore(mean, variance, sde):  # noqa: N802  it stands for a class
    """N(mean, variance) in every pixel: `GaussianScore` without its d x d matrix."""
    return ProductMixtureScore(jnp.ones(1), mean[None], variance[None], sde)


def test_isotropic_score_is_the_gaussian_score():
    x, t = jax.random.normal(jax.random.key(0), (3, 4)), jnp.array([0.1, 0.5, 0.9])
    one = IsotropicScore(jnp.asarray(0.5), jnp.asarray(0.25), VP())(x, t)
    other = GaussianScore(jnp.full(4, 0.5), jnp.full(4, 0.25), jnp.eye(4), VP())(x, t)
    np.testing.assert_allclose(one, other, rtol=2e-6)


def test_nothing_to_do_is_refused():
    with pytest.raises(ValueError, match="the state would never change"):
        PredictorCorrector(VP(), None, None)
