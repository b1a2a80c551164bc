"""The spread of a batch's random numbers: each is uniform, and their mean has the variance of its scheme."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from score_sde.keys import TrainingKeys, image_keys
from score_sde.sde_lib import EDM, VP, Linear
from score_sde.training.draws import DRAWS
from score_sde.training.times import LogitNormalTimes, LogNormalTimes

B, STEPS = 8, 20_000


def draw(name, places=None):
    """(STEPS, places) numbers."""
    places = jnp.arange(B) if places is None else places

    def of_step(step):
        key = jax.random.fold_in(jax.random.key(5), step)
        return DRAWS[name](key, image_keys(TrainingKeys, key, places).time, places, B)

    return np.asarray(jax.jit(jax.vmap(of_step))(jnp.arange(STEPS)), np.float64)


# Variance of the mean of B numbers: of independent ones, one in each cell of width 1/B, one shift modulo 1/B.
VARIANCES = {
    "independent": 1 / (12 * B),
    "stratified": 1 / (12 * B**3),
    "low_discrepancy": 1 / (12 * B**2),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_law_of_a_batch(name):
    """False alarm 1e-6 for each comparison: pooled distribution (DKW), variance of the mean, and cells."""
    u = draw(name)
    assert u.min() >= 0
    assert u.max() < 1
    # One number of each batch, as those of a batch depend on each other.
    first = np.sort(u[np.arange(STEPS), np.arange(STEPS) % B])
    steps = (np.arange(STEPS) + 0.5) / STEPS
    assert np.abs(first - steps).max() < np.sqrt(np.log(2e6) / (2 * STEPS)) + 1 / STEPS
    # A mean of uniform numbers has lighter tails than a normal one, so chi-square's band is wide enough.
    low, high = chi2.ppf([5e-7, 1 - 5e-7], STEPS - 1) / (STEPS - 1)
    assert low < u.mean(axis=1).var(ddof=1) / VARIANCES[name] < high
    cells = np.sort(np.floor(u * B).astype(int), axis=1)
    assert np.all(cells == np.arange(B)) == (name != "independent")


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_belong_to_the_place_in_the_batch(name):
    """A device with the second half of the batch draws the second half of the numbers."""
    np.testing.assert_array_equal(draw(name, jnp.arange(4, B)), draw(name)[:, 4:])


NARROW = [
    LogNormalTimes(VP(), 1e-5, mean=-1.2, std=0.4),
    LogNormalTimes(EDM(), 1e-5, mean=-0.8, std=0.6),
    LogitNormalTimes(Linear(), 1e-5, to_noise=True, mean=0.5, std=0.6),
]


@pytest.mark.parametrize("v", [0.0, 0.5])
@pytest.mark.parametrize("name", DRAWS)
def test_no_number_is_zero(monkeypatch, name, v):
    """Float32 uniform numbers are 0 with probability 2^-23, and i/B + v is 1 for v = 1/2 and i = B/2: at eps a narrow law's density is 0."""
    monkeypatch.setattr(jax.random, "uniform", lambda key: jnp.float32(v))
    key, places = jax.random.key(0), jnp.arange(B)
    u = DRAWS[name](key, jax.random.split(key, B), places, B)
    assert u.dtype == jnp.float32
    for law in NARROW:
        t = law.at(u)
        # What a loss is multiplied by where its weighting is the density itself.
        product = law.correction(t) * law.density(t) * (law.end - law.eps)
        np.testing.assert_allclose(product, 1.0, rtol=1e-6)
