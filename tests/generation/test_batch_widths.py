"""An image is the same in any batch: its noise bit for bit, and all of it if the score is.

Four devices with 1, 7 and 16 images each, and one device with all 64. For another batch size, and for another number of
devices, programs may add floats in another order: there images agree only up to rounding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.digits import digits_config
from score_sde.devices import PmapDevices
from score_sde.generation.drivers import batch_sampler
from score_sde.models.networks import build_network
from score_sde.models.one_by_one import OneByOne
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.samplers.configured import configure
from score_sde.samplers.noise import IndexedNoise
from score_sde.sde_lib import VP
from score_sde.training.state import init_params
from tests.samplers.mixture_flow import mixture
from tests.samplers.test_every_combination import sampling

FOUR_DEVICES = [(4, 16), (4, 7), (4, 1)]
ONE_DEVICE = [(1, 64), (1, 7), (1, 1)]
WAYS = {
    "pc": sampling("pc", pc__corrector="langevin"),
    "sde": sampling("sde"),
    "edm": sampling("edm", edm__s_churn=4.0),
    "ddim": sampling("ddim", exponential__eta=0.7),
    "dpm_solver_pp_2m": sampling("dpm_solver_pp_2m"),
    "unipc_3": sampling("unipc_3"),
    "ode": sampling("ode", ode__solver="heun"),
}


@functools.cache
def network(dtype="float32"):
    """A small network with random weights, whose outputs are not 0."""
    config = digits_config("vp")
    config.model.update(dtype=dtype, nf=8, ch_mult=(1,), init_scale=1.0, attn_resolutions=())
    built = build_network(config)
    params = jax.jit(lambda: init_params(config, built))()
    return NetworkScore(params, built.apply, build_parameterization(config, VP()))


def images(way, model, shape, widths):
    for num, each in widths:
        devices, indices = PmapDevices((*jax.devices()[:num],)), np.arange(num * each)
        run = batch_sampler(configure(WAYS[way], VP()), VP(), shape, devices)
        x, *_ = run(model, jax.random.key(1), indices, (), None, lambda share: None)
        yield np.asarray(x).reshape(-1, *shape)


# Every run of the tests has one sampler of each way to draw noise and to drive steps (ddim with a network, below); the slow ones all.
def ways(*fast):
    return [pytest.param(way, marks=() if way in fast else pytest.mark.slow) for way in WAYS]


@pytest.mark.parametrize("way", ways("pc", "sde"))
def test_bit_for_bit_with_an_exact_score(way):
    whole, *others = images(way, mixture(VP()), (2, 2, 1), FOUR_DEVICES)
    assert len(np.unique(whole)) == whole.size
    for other in others:
        np.testing.assert_array_equal(other, whole[: len(other)])


@pytest.mark.parametrize("way", ways("pc"))
def test_to_round_off_on_another_number_of_devices(way):
    (whole,) = images(way, mixture(VP()), (2, 2, 1), FOUR_DEVICES[:1])
    for other in images(way, mixture(VP()), (2, 2, 1), ONE_DEVICE):
        # Methods of high order add and subtract many times what they keep.
        np.testing.assert_allclose(other, whole[: len(other)], atol=1e-4)


def test_bit_for_bit_with_a_network_asked_one_by_one():
    whole, *others = images("ddim", OneByOne(network()), (8, 8, 1), FOUR_DEVICES)
    for other in others:
        np.testing.assert_array_equal(other, whole[: len(other)])
    (batched,) = images("ddim", network(), (8, 8, 1), FOUR_DEVICES[:1])
    np.testing.assert_allclose(batched, whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_batch_changes_a_score_by_some_units_of_the_networks_precision(dtype):
    """By parts in ten million in float32, and by percents in bfloat16."""
    x = jax.random.normal(jax.random.key(0), (64, 8, 8, 1))
    given = x, jnp.linspace(0.01, 1.0, 64)
    alone = jax.jit(OneByOne(network(dtype)).__call__)
    together, expected = jax.jit(network(dtype).__call__)(*given), np.asarray(alone(*given))
    error = np.linalg.norm((together - expected).reshape(64, -1), axis=1)
    unit = float(jnp.finfo(dtype).eps)
    assert (error < 10 * unit * np.linalg.norm(expected.reshape(64, -1), axis=1)).all()
    np.testing.assert_array_equal(alone(*(leaf[:3] for leaf in given)), expected[:3])


def test_noise_is_the_same_on_any_devices():
    def draw(indices):
        noise = IndexedNoise.for_images(jax.random.key(0), indices)
        return noise(3, 1, jnp.zeros((indices.shape[0], 4, 4, 1)))

    alone = np.asarray(jax.jit(draw)(jnp.arange(8))).ravel()
    for num in (4, 2, 1):
        devices = PmapDevices((*jax.devices()[:num],))
        apart = devices.data_parallel(draw, (True,))(devices.split(jnp.arange(8)))
        np.testing.assert_array_equal(devices.gather(apart, 8).ravel(), alone)
