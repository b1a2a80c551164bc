"""Brownian paths: lookup by the steps of a grid, one path per image, with the right distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from score_sde.samplers.brownian import GridPath, ImageTrees
from score_sde.samplers.noise import IndexedNoise, RecordedNoise

NUM_STEPS = 12


@pytest.mark.parametrize("ulps", [-1, 0, 1])
@pytest.mark.parametrize("power", [1.0, 7.0])
def test_every_step_of_a_grid_has_noise_of_its_own(power, ulps):
    """Squared increments are the lengths of the steps times the squares of the given noise, step by step."""
    grid = -(np.linspace(1.0, 1e-3 ** (1 / power), NUM_STEPS + 1, dtype=np.float32) ** power)
    z = np.random.default_rng(0).normal(size=(NUM_STEPS, 2, 1, 3)).astype(np.float32)
    path = GridPath(jnp.asarray(grid), RecordedNoise(None, jnp.asarray(z)), jnp.zeros((1, 3)))
    moved = grid if ulps == 0 else np.nextafter(grid, np.float32(np.inf * ulps))
    evaluate = jax.jit(lambda s, t: path.evaluate(s, t, use_levy=True))
    for k in range(NUM_STEPS):
        step = evaluate(moved[k], moved[k + 1])
        assert np.sign(step.W[0]).tolist() == np.sign(z[k, 0, 0]).tolist()
        np.testing.assert_allclose(step.W**2, np.diff(moved)[k] * z[k, 0] ** 2, rtol=1e-5)
        np.testing.assert_allclose(12 * step.H**2, np.diff(moved)[k] * z[k, 1] ** 2, rtol=1e-5)
    np.testing.assert_array_equal(path.evaluate(moved[k], moved[k + 1]), step.W)


START, END = -1.0, -1e-3


@functools.partial(jax.jit, static_argnums=1)
def steps_of_trees(keys, size, s, t):
    path = ImageTrees(keys, jnp.asarray(START), jnp.asarray(END), jnp.zeros((len(keys), size)))
    return path.evaluate(s, t, use_levy=True)


def trees(indices, size=20_000):
    keys = IndexedNoise.for_images(jax.random.key(0), jnp.asarray(indices)).keys
    return functools.partial(steps_of_trees, keys, size)


def test_pieces_of_an_images_path_fit_together():
    """W and the integral of the path since a, ds (H + W/2), of two intervals make those of their union."""
    evaluate = trees([4, 7, 2], 50)
    for a, b, c in [(-1.0, -0.9, -0.7), (-0.3, -0.2, -0.05), (-0.004, -0.0015, END)]:
        first, second, whole = evaluate(a, b), evaluate(b, c), evaluate(a, c)
        np.testing.assert_allclose(first.W + second.W, whole.W, atol=2e-6)
        integral = [step.dt * (step.H + 0.5 * step.W) for step in (first, second, whole)]
        np.testing.assert_allclose(
            integral[0] + integral[1] + first.W * second.dt, integral[2], atol=2e-6
        )
        assert np.std(whole.W) > 0.04  # far above the tolerance


INTERVALS = [(START, END), (-1.0, -0.999), (-0.3, -0.05), (-0.002, -0.0019), (-0.00101, END)]


def test_law_of_increment_and_levy_area():
    """Independent N(0, ds) and N(0, ds/12) on every interval; false alarm 1e-6 over all of it."""
    evaluate = trees([0, 1])
    n, alarm = 40_000, 1e-6 / (3 * len(INTERVALS))
    low, high = chi2.ppf([alarm / 2, 1 - alarm / 2], n) / n
    for s, t in INTERVALS:
        step = evaluate(s, t)
        ds = np.float32(t) - np.float32(s)
        w, h = np.ravel(step.W) / np.sqrt(ds), np.ravel(step.H) / np.sqrt(ds / 12)
        assert low < np.mean(w**2) < high
        assert low < np.mean(h**2) < high
        assert abs(np.mean(w * h)) < 6 / np.sqrt(n)


def test_paths_belong_to_the_image_whatever_the_batch():
    one, other = (trees(indices, 50)(-0.8, -0.6) for indices in ([7, 3, 11], [3, 8, 5]))
    np.testing.assert_array_equal(one.W[1], other.W[0])
    np.testing.assert_array_equal(one.H[1], other.H[0])
    others = np.corrcoef(one.W)[~np.eye(3, dtype=bool)]
    assert np.abs(others).max() < 0.7


def test_a_tree_shares_nothing_with_the_start_state():
    """The noise of the start state comes from the same key; correlation of 20,000 numbers within 6 standard errors."""
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.asarray([5]))
    start = np.ravel(noise(-1, 0, jnp.zeros((1, 20_000))))
    step = trees([5, 6])(START, END)  # two, as the law has compiled
    for values in (step.W[0], step.H[0]):
        assert abs(np.corrcoef(start, np.asarray(values))[0, 1]) < 6 / np.sqrt(20_000)
