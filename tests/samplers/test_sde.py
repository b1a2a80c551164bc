"""The reverse SDE by diffrax: adaptive steps against the exact distribution, independence of images, counted evaluations."""

import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.noise import IndexedNoise, RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS
from score_sde.samplers.sde import SDE_SOLVERS, Adaptive, ReverseSDE
from score_sde.sde_lib import VE, VP, SubVP
from tests.fast_cases import fast_where
from tests.samplers.closed_forms import PROCESSES
from tests.samplers.mixture_flow import EPS, mixture, quantile_map


@pytest.mark.slow  # Euler's law is in test_sde_laws.py.
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_euler_is_the_predictor_euler_maruyama(x64, sde):
    """Equal for each sample, on non-Gaussian data."""
    rng = np.random.default_rng(0)
    noise = RecordedNoise(
        *map(jnp.asarray, (rng.normal(size=(5, 2)), rng.normal(size=(9, 1, 5, 2))))
    )
    grid, like = log_snr_grid(sde, sde.T, EPS, 9), jnp.zeros((5, 2))
    samplers = ReverseSDE(sde, "euler"), PredictorCorrector(sde, PREDICTORS["euler_maruyama"], None)
    one, other = (
        jax.jit(functools.partial(sampler, keep_path=True))(mixture(sde), grid, noise, like)
        for sampler in samplers
    )
    np.testing.assert_allclose(one.path, other.path, rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(one.path[-1], one.x)


def distance(x, sde, t):
    """Kolmogorov-Smirnov distance of all coordinates from the mixture's marginal at t."""
    x = np.sort(np.ravel(x))
    levels = np.ravel(mixture(sde).cdf(jnp.asarray(x)[:, None], jnp.full(x.shape, t)))
    below = np.arange(x.size) / x.size
    return max(np.max(levels - below), np.max(below + 1 / x.size - levels))


@functools.cache
def drawn(sampler, keep_path):
    """Traced once for all images and grids of the same number."""
    return jax.jit(functools.partial(sampler, keep_path=keep_path))


def draw(sampler, grid, indices, size, keep_path=False):
    noise = IndexedNoise.for_images(jax.random.key(1), jnp.asarray(indices))
    like = jnp.zeros((len(indices), size))
    return drawn(sampler, keep_path)(mixture(sampler.sde), grid, noise, like)


@pytest.mark.slow  # the next has such a path's law, and without noise the steps keep to their tolerance
@pytest.mark.parametrize(
    ("sde", "name", "each_image"),
    [(SubVP(), "shark", False), (VE(), "heun", True)],
    ids=str,
)
def test_law_of_adaptive_steps(sde, name, each_image):
    """Along the way and at the end; false alarm 1e-6 (Dvoretzky-Kiefer-Wolfowitz).

    The effects of tolerance and prior mismatch are far below the band.
    """
    images, size = 8, 500
    grid = jnp.array([sde.T, 0.2, EPS])
    sampler = ReverseSDE(sde, name, adaptive=Adaptive(0.1, 0.05, each_image))
    samples = draw(sampler, grid, range(images), size, keep_path=True)
    band = np.sqrt(np.log(2 * 2 / 1e-6) / (2 * images * size))
    assert np.all(samples.success)
    assert samples.path.shape == (3, images, size)
    np.testing.assert_array_equal(samples.path[-1], samples.x)
    for x, t in zip(samples.path[1:], (0.2, EPS), strict=True):
        assert distance(x, sde, t) < band


def test_a_path_that_is_kept_is_not_interpolated():
    """At a tolerance that accepts every step, only the times of the grid keep the distribution on the path correct."""
    images, size = 8, 500
    grid = uniform_grid(1.0, EPS, 25)
    sampler = ReverseSDE(VP(), "shark", adaptive=Adaptive(1e3, 1e3))
    samples = draw(sampler, grid, range(images), size, keep_path=True)
    band = np.sqrt(np.log(2 * 25 / 1e-6) / (2 * images * size))
    for x, t in zip(samples.path[1:], np.asarray(grid)[1:], strict=True):
        assert distance(x, VP(), t) < band


def test_an_image_with_steps_of_its_own_does_not_depend_on_the_others():
    """Bit for bit, for any others. (Another batch size rounds differently, which changes the steps.)"""
    grid = jnp.array([1.0, EPS])
    sampler = ReverseSDE(VP(), "shark", adaptive=Adaptive(0.1, 0.05, each_image=True))
    one, other = draw(sampler, grid, [4, 9, 2], 6), draw(sampler, grid, [9, 31, 7], 6)
    np.testing.assert_array_equal(one.x[1], other.x[0])
    assert one.nfe[1] == other.nfe[0]
    assert len({*np.asarray(one.nfe).tolist(), *np.asarray(other.nfe).tolist()}) > 1


def test_steps_of_a_grid_give_the_same_image_in_any_batch():
    sampler, grid = ReverseSDE(VP(), "shark"), uniform_grid(1.0, EPS, 8)
    one, other = draw(sampler, grid, [4, 9, 2, 0], 6), draw(sampler, grid, [9, 31, 7, 1], 6)
    np.testing.assert_array_equal(one.x[1], other.x[0])


def counted(score):
    """The score model, and where the host counts its calls."""
    calls, lock = [0], threading.Lock()

    def count(t):
        with lock:
            calls[0] += 1
        return np.asarray(t)

    def model(x, t):
        return score(x, jax.pure_callback(count, jax.ShapeDtypeStruct(t.shape, t.dtype), t))

    return model, calls


@pytest.mark.parametrize(
    ("name", "adaptive"),
    fast_where(
        lambda *case: case in [("sra1", None), ("heun", Adaptive(0.1, 0.1))],
        [
            *((name, None) for name in SDE_SOLVERS),
            ("heun", Adaptive(0.1, 0.1)),
            ("shark", Adaptive(0.1, 0.1)),
        ],
    ),
    ids=str,
)
def test_nfe_is_the_number_of_calls(name, adaptive):
    sde = VP()
    model, calls = counted(mixture(sde))
    sampler, like = ReverseSDE(sde, name, adaptive=adaptive), jnp.zeros((3, 2))
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(3))
    grid = uniform_grid(1.0, EPS, 7)
    samples = jax.jit(lambda noise: sampler(model, grid, noise, like))(noise)
    assert samples.success
    assert int(samples.nfe) == calls[0]


def test_without_noise_no_noise_is_drawn():
    """h = 0 is the ODE, also with adaptive steps: only the start state is random."""
    sde, x = VP(), jnp.linspace(-2.0, 2.0, 5)[:, None]
    for adaptive in (None, Adaptive(1e-3, 1e-3, each_image=True)):
        sampler = ReverseSDE(sde, "shark", 0.0, adaptive)
        grid = log_snr_grid(sde, sde.T, EPS, 200)
        samples = jax.jit(
            lambda x, sampler=sampler, grid=grid: sampler(mixture(sde), grid, None, x, x)
        )(x)
        exact = [quantile_map(sde, float(point), sde.T, EPS) for point in x[:, 0]]
        np.testing.assert_allclose(samples.x[:, 0], exact, atol=5e-3)


def test_unusable_settings_are_refused():
    with pytest.raises(
        ValueError, match="sampling.sde.solver='milstein' is unknown; choose one of euler"
    ):
        ReverseSDE(VP(), "milstein")
    with pytest.raises(ValueError, match="h=-1.0: expected h >= 0"):
        ReverseSDE(VP(), h=-1.0)
    with pytest.raises(
        ValueError, match="'euler' estimates no error.*choose one of heun, sra1, shark"
    ):
        ReverseSDE(VP(), "euler", adaptive=Adaptive())
    with pytest.raises(ValueError, match="rtol=0.0, atol=0.1: tolerances must be positive"):
        ReverseSDE(VP(), adaptive=Adaptive(0.0, 0.1))
    recorded = RecordedNoise(jnp.zeros((1, 2)), jnp.zeros((3, 2, 1, 2)))
    sampler = ReverseSDE(VP(), adaptive=Adaptive())
    with pytest.raises(
        ValueError, match="RecordedNoise with adaptive steps.*expected IndexedNoise"
    ):
        sampler(mixture(VP()), jnp.array([1.0, EPS]), recorded, jnp.zeros((1, 2)))


def test_devices_draw_the_images_of_one():
    sampler, grid = ReverseSDE(VP(), "shark"), uniform_grid(1.0, EPS, 8)
    keys = IndexedNoise.for_images(jax.random.key(1), jnp.arange(4)).keys.reshape(4, 1)

    def one(keys):
        return sampler(mixture(VP()), grid, IndexedNoise(keys), jnp.zeros((1, 6))).x

    images = jax.pmap(one)(keys)[:, 0]
    np.testing.assert_allclose(images, draw(sampler, grid, range(4), 6).x, rtol=1e-5, atol=1e-5)
