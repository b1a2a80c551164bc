"""The trajectory of a sample ends at the sample, and has the stated times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.generation.generate import StartImages, build_generator
from score_sde.generation.trajectory import trajectory
from score_sde.samplers.configured import configure
from score_sde.samplers.noise import START, IndexedNoise
from score_sde.sde_lib import build_sde
from tests.generation.test_generate import SHAPE, mixture

SAMPLERS = {
    "pc": {"sampler": "pc"},
    "pc_published": {"sampler": "pc_published"},
    "adaptive ode": {"sampler": "ode"},
    "ode on a grid": {
        "sampler": "ode",
        "ode": {"steps": "grid", "solver": "heun", "num_steps": 30},
    },
}


# In every run; test_drivers.py has the path of an ODE on a grid.
FAST = ("pc", "adaptive ode")


def configured(changes):
    config = get_config()
    config.sampling.update(changes)
    config.sampling.batch_size = 4
    config.sampling.noise_removal = False
    config.sampling.pc.num_steps = 100
    return config, build_sde(config)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(changes, marks=() if name in FAST else pytest.mark.slow, id=name)
        for name, changes in SAMPLERS.items()
    ],
)
def test_from_the_prior_to_the_samples(changes):
    config, sde = configured(changes)
    if config.sampling.sampler == "pc_published":
        config.sampling.pc.corrector = "none"  # its norms would be those of another batch
    sampler = configure(config.sampling, sde)
    path = trajectory(sampler, sde, mixture(sde), SHAPE, 3, seed=5, frames=6)
    assert path.x.shape == (6, 3, *SHAPE)
    noise = IndexedNoise.for_images(jax.random.key(5), jnp.arange(3))
    start = sde.prior_sample(noise(START, 0, jnp.zeros((3, *SHAPE))))
    np.testing.assert_allclose(path.x[0], start, rtol=1e-6)
    samples = build_generator(config, sde, SHAPE)(mixture(sde), 4, seed=5, show=False).x
    # The steps of an adaptive solver follow the last bits of its error, and its images the solver's tolerance.
    np.testing.assert_allclose(path.x[-1], samples[:3], atol=5e-3 if sampler.adaptive else 1e-5)
    assert path.times[0] == 1.0
    assert path.times[-1] == np.float32(config.sampling.eps)
    assert np.all(np.diff(path.times) < 0)


def test_times_and_states_belong_together(x64):
    """States of the ODE at the given times are quantiles of the exact marginals, checked by continuing from one."""
    config, sde = configured({"sampler": "ode", "ode": {"rtol": 1e-7, "atol": 1e-7}})
    whole = configure(config.sampling, sde)
    path = trajectory(whole, sde, mixture(sde), SHAPE, 3, seed=5, frames=6)
    config.sampling.t_start = float(path.times[3])
    late = configure(config.sampling, sde)
    rest = trajectory(
        late,
        sde,
        mixture(sde),
        SHAPE,
        3,
        seed=9,
        frames=4,
        start_images=StartImages(path.x[3], True),
    )
    # Each run is within a hundred tolerances of the flow; interpolated states within 1e-4.
    np.testing.assert_allclose(rest.x[-1], path.x[-1], atol=2e-4)
