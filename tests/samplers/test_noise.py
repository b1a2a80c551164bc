"""A sampler's noise belongs to the image: standard normal, and different for every image, step and slot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from score_sde.errors import ConfigError
from score_sde.samplers.noise import START, IndexedNoise

LIKE = jnp.zeros((5, 10, 10, 1))


def draws(indices, steps=(START, 0, 1, 2), slots=(0, 1, 2)):
    """(steps, slots, images, 100)."""
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.asarray(indices))
    like = LIKE[: len(indices)]
    return np.array(
        [[noise(step, slot, like).reshape(len(indices), -1) for slot in slots] for step in steps]
    )


def test_every_image_step_and_slot_has_noise_of_its_own():
    values = draws(range(5))
    assert len(np.unique(values)) > 0.999 * values.size
    # The largest of 1,770 correlations of 100 numbers is below .58 but for 1e-6.
    correlations = np.corrcoef(values.reshape(-1, 100))
    assert np.abs(correlations - np.eye(60)).max() < 0.58


def test_it_is_standard_normal():
    """6,000 numbers against the normal distribution, false alarm 1e-6."""
    assert kstest(draws(range(5)).ravel(), "norm").pvalue > 1e-6


def test_it_belongs_to_the_index_whatever_the_batch():
    np.testing.assert_array_equal(draws([7, 3, 11])[:, :, 1], draws([3])[:, :, 0])


def test_noise_of_other_images_is_refused():
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(2))
    with pytest.raises(ConfigError, match="noise for 2 images, but there are 4"):
        noise(0, 0, jnp.zeros((4, 1)))
