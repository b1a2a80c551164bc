"""The level of the chain that the published sampler uses at each time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.samplers.published import PublishedPredictorCorrector, chain_level
from score_sde.sde_lib import VE, VP


@pytest.mark.parametrize("num_steps", [100, 1000])
@pytest.mark.parametrize(("sde", "eps"), [(VP(), 1e-3), (VE(), 1e-5)], ids=["vp", "ve"])
def test_every_level_is_taken_once_from_the_noisiest_down(sde, eps, num_steps):
    """In float32 t (N - 1) lies up to .999 above its level: rounding to the nearest would use half of them twice or never."""
    sampler = PublishedPredictorCorrector(sde, "reverse_diffusion", "none", num_steps)
    times = sampler.times(eps)
    assert times.dtype == jnp.float32
    taken = jax.jit(jax.vmap(lambda t: chain_level(sampler.chain, sde, t).variance))(times)
    expected = np.square(sampler.chain.step_sigmas)[::-1]
    np.testing.assert_allclose(taken, expected, rtol=1e-5)
