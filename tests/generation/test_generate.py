"""Any number of samples, over batches and devices, from the samplers that a config names."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.errors import UserError
from score_sde.evaluation.known_law import dkw_band, ks_distance, mixture_cdf
from score_sde.generation.generate import build_generator
from score_sde.models.exact import ProductMixtureScore
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.grids import uniform_grid
from score_sde.samplers.noise import START, IndexedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS, tweedie
from score_sde.sde_lib import SDE, VE, VP, SubVP, build_sde

MIXTURE = (0.3, 0.7), (-1.0, 0.6), (0.04, 0.09)
SHAPE = (4, 4, 1)


def mixture(sde):
    return ProductMixtureScore(*map(jnp.asarray, MIXTURE), sde)


def small_config(batch_size, sampler="pc"):
    config = get_config()
    config.sampling.sampler = sampler
    config.sampling.batch_size = batch_size
    config.sampling.pc.num_steps = 45  # not a multiple of the steps in a call
    return config


def generate(batch_size, num_images, sampler="pc", devices=None):
    config = small_config(batch_size, sampler)
    sde = build_sde(config)
    return build_generator(config, sde, SHAPE)(mixture(sde), num_images, seed=5, show=False)


def test_same_images_for_any_batch_and_total():
    """19 images in batches of 4 (one on each device) and of 20 (five on each), padded at the end."""
    few, many = generate(4, 19), generate(20, 19)
    assert few.x.shape == (19, *SHAPE)
    np.testing.assert_array_equal(few.x, many.x)
    assert len(np.unique(few.x[:, 0, 0, 0])) == 19


def test_same_images_as_one_device_without_a_driver():
    sde, options = VP(), small_config(4).sampling
    sampler = PredictorCorrector(
        sde,
        PREDICTORS[options.pc.predictor],
        CORRECTORS[options.pc.corrector],
        snr=options.snr,
    )
    noise = IndexedNoise.for_images(jax.random.key(5), jnp.arange(8))
    grid = uniform_grid(sde.T, options.eps, options.pc.num_steps)
    alone = sampler(mixture(sde), grid, noise, jnp.zeros((8, *SHAPE)))
    driven = generate(8, 8)
    assert set(driven.nfe) == {alone.nfe + 1} == {2 * 45 + 1}
    denoised = tweedie(mixture(sde), sde, alone.x, grid[-1])
    np.testing.assert_allclose(driven.x, denoised, atol=1e-5)


def test_ode_images_agree_between_batches_to_the_solver_tolerance():
    one, other = generate(4, 6, "ode"), generate(12, 6, "ode")
    np.testing.assert_allclose(one.x, other.x, atol=2e-3)


class Cosine(SDE):
    """A process that a user states by alpha and sigma alone."""

    T = 0.995

    def alpha(self, t):
        return jnp.cos(jnp.pi / 2 * t)

    def sigma(self, t):
        return jnp.sin(jnp.pi / 2 * t)


def in_every_run(sde, predictor, corrector):
    """One process with all predictors alone, one with one predictor and Langevin's corrector, and a third; the slow runs have all.

    Annealed Langevin has an exact test in tests/samplers/test_identities.py.
    """
    alone = corrector == "none"
    return {
        Cosine: alone,
        VP: predictor == "reverse_diffusion" and corrector != "ald",
        VE: predictor == "reverse_diffusion" and alone,
    }.get(type(sde), False)


COMBINATIONS = [
    pytest.param(
        *combination,
        marks=() if in_every_run(*combination) else pytest.mark.slow,
        id=f"{type(combination[0]).__name__}-{combination[1]}-{combination[2]}",
    )
    for combination in itertools.product(
        (VP(), SubVP(), VE(0.01, 20.0), Cosine()), PREDICTORS, CORRECTORS
    )
    if combination[1] != "none"
]


@pytest.mark.parametrize(("sde", "predictor", "corrector"), COMBINATIONS)
def test_every_pair_samples_every_process(sde, predictor, corrector):
    """Within the DKW band (false alarm 1e-6) of the data, for 8,192 coordinates: 0.030.

    400 steps leave errors of about 1e-3, and the corrector's bias at snr 0.05 is smaller. The cosine schedule's drift is steep
    at T, and a flow without noise keeps its errors: 0.05 after 400 steps.
    """
    num_steps = 1600 if (predictor, type(sde)) == ("probability_flow", Cosine) else 400
    n, shape = 128, (8, 8, 1)
    sampler = PredictorCorrector(sde, PREDICTORS[predictor], CORRECTORS[corrector], snr=0.05)
    grid = uniform_grid(sde.T, 1e-3, num_steps)

    @jax.jit
    def sample(model):
        noise = IndexedNoise.for_images(jax.random.key(2), jnp.arange(n))
        return sampler(model, grid, noise, jnp.zeros((n, *shape))).x

    coordinates = np.sort(np.asarray(sample(mixture(sde)), np.float64).ravel())
    assert ks_distance(mixture_cdf(coordinates, *MIXTURE)) < dkw_band(len(coordinates))


def test_path_starts_at_the_prior_and_ends_at_the_samples():
    sde = VP()
    sampler = PredictorCorrector(sde, PREDICTORS["euler_maruyama"], None)
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(3))
    samples = sampler(
        mixture(sde), uniform_grid(1.0, 1e-3, 6), noise, jnp.zeros((3, 2)), keep_path=True
    )
    assert samples.path.shape == (7, 3, 2)
    start = sde.prior_sample(noise(START, 0, jnp.zeros((3, 2))))
    np.testing.assert_array_equal(samples.path[0], start)
    np.testing.assert_array_equal(samples.path[-1], samples.x)


def test_batch_that_devices_cannot_share():
    with pytest.raises(UserError, match="sampling.batch_size=6 on 4 devices"):
        generate(6, 6)


def test_samples_that_are_not_finite_are_an_error():
    config = small_config(4)
    sde = build_sde(config)
    with pytest.raises(UserError, match="4 of 4 samples did not come out finite"):
        build_generator(config, sde, SHAPE)(NotANumber(), 4, seed=0, show=False)


@jax.tree_util.register_pytree_node_class
class NotANumber:
    def __call__(self, x, t):
        return x * jnp.nan

    def tree_flatten(self):
        return (), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls()
