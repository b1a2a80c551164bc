"""Sampling around the update rules: start, last denoising, counted evaluations, and kept states."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.generation.drivers import first_state
from score_sde.generation.generate import StartImages, build_generator
from score_sde.generation.trajectory import trajectory
from score_sde.models.exact import GaussianScore
from score_sde.samplers.configured import configure
from score_sde.samplers.noise import START, IndexedNoise, RecordedNoise
from score_sde.sde_lib import VE, VP, build_sde
from tests.samplers.closed_forms import PROCESSES, closed_form
from tests.samplers.mixture_flow import mixture

SHAPE = (2, 2, 1)


def small(sampler, num_steps=3, **changes):
    """A config of few steps; a change is a field of sampling with its group, as pc__corrector."""
    config = get_config()
    options = config.sampling
    options.update(sampler=sampler, batch_size=4)
    for group in ("pc", "ode", "sde", "exponential", "edm"):
        options[group].num_steps = num_steps
    options.ode.update(steps="grid", solver="heun")
    for name, value in changes.items():
        group, _, field = name.rpartition("__")
        (options[group] if group else options)[field] = value
    return config


def in_every_run(configs, *fast):
    """All of them by name; the slow runs have the others, whose code is that of these."""
    return [
        pytest.param(config, marks=() if name in fast else pytest.mark.slow, id=name)
        for name, config in configs.items()
    ]


# ---- the start -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_law_of_the_first_state(x64, sde):
    """The start is affine in its noise: N(0, prior_std^2) without start images, or x_t given x_0 for images x_0."""
    images, t = np.array([[1.5], [-0.5]]), 0.4
    like = jnp.asarray(images)
    now = closed_form(sde, t)
    for begin, mean, std in (
        (None, 0 * images, closed_form(sde, 1.0).prior_std),
        (like, now.alpha * images, now.sigma),
    ):
        for z in (0.0, 1.0):
            noise = RecordedNoise(jnp.full_like(like, z), None)
            x = first_state(sde, jnp.asarray(t), begin, noise, like, are_states=False)
            np.testing.assert_allclose(x, mean + std * z, rtol=1e-12)


@pytest.mark.parametrize(
    ("config", "sde", "rounding"),
    [
        (small("pc", 25, pc__corrector="none"), VP(), 0.0),
        pytest.param(small("ode", noise_removal=False), VP(), 0.0, marks=pytest.mark.slow),
        (small("ode", noise_removal=False), VE(), 2e-5),
    ],
    ids=["pc VP", "ode VP", "ode VE"],
)
def test_from_the_priors_own_states_it_is_the_same_sampler(config, sde, rounding):
    """Bit for bit on all devices: a start is simply x at grid[0].

    The compiler may join VE's product of noise and prior_std to the first step, without rounding it between.
    """
    noise = IndexedNoise.for_images(jax.random.key(5), jnp.arange(4))
    prior = sde.prior_sample(noise(START, 0, jnp.zeros((4, *SHAPE))))
    images = []
    for t_start, start in ((0.0, None), (sde.T, StartImages(np.asarray(prior), are_states=True))):
        config.sampling.t_start = t_start
        generate = build_generator(config, sde, SHAPE, start)
        images.append(generate(mixture(sde), 4, seed=5, show=False).x)
    np.testing.assert_allclose(*images, rtol=0, atol=rounding)


# ---- the end ---------------------------------------------------------------------------------------

ENDS = {
    "pc": small("pc"),
    "ode": small("ode"),
    "adaptive ode": small("ode", ode__steps="adaptive", ode__rtol=1e-3, ode__atol=1e-3),
    "edm": small("edm"),
}


@pytest.mark.parametrize("config", in_every_run(ENDS, "pc", "adaptive ode", "edm"))
def test_the_last_denoising_is_a_regression(config):
    """On data N(m, l) E[x_0 | x] = m + (alpha l / c)(x - alpha m), c = alpha^2 l + sigma^2, at the last time."""
    sde, mean, variance, eps = VP(), 0.5, 0.25, 0.1
    d = int(np.prod(SHAPE))
    score = GaussianScore(jnp.full(d, mean), jnp.full(d, variance), jnp.eye(d), sde)
    config.sampling.eps = eps
    images = {}
    for asked in (False, True):
        config.sampling.noise_removal = asked
        generate = build_generator(config, sde, SHAPE)
        images[asked] = generate(score, 4, seed=5, show=False)
    end = closed_form(sde, eps)
    gain = end.alpha * variance / (end.alpha**2 * variance + end.sigma**2)
    expected = mean + gain * (images[False].x - end.alpha * mean)
    np.testing.assert_allclose(images[True].x, expected, atol=2e-5)
    np.testing.assert_array_equal(images[True].nfe, images[False].nfe + 1)


# ---- the count -------------------------------------------------------------------------------------


@flax.struct.dataclass
class Counted:
    """A score model that reports every call on every device to the host."""

    model: Any
    count: Callable[[], None] = flax.struct.field(pytree_node=False)

    def __call__(self, x, t):
        # Unlike the result of a pure callback, this is neither shared between calls nor taken out of a loop.
        jax.debug.callback(self.count)
        return self.model(x, t)


COUNTED = {
    "pc": small("pc", n_steps_each=2),
    "pc ending with the predictor's mean": small(
        "pc", n_steps_each=2, noise_removal_by="predictor_mean"
    ),
    "ancestral sampling": small(
        "pc", pc__predictor="ancestral_sampling", pc__corrector="none", noise_removal=False
    ),
    "annealed Langevin": small(
        "pc", pc__predictor="none", pc__corrector="ald", n_steps_each=3, noise_removal=False
    ),
    "ode": small("ode"),
}


@pytest.mark.parametrize(
    "config",
    in_every_run(COUNTED, "pc", "pc ending with the predictor's mean", "annealed Langevin", "ode"),
)
def test_nfe_is_the_number_of_calls(config):
    """On each of four devices, including the last denoising."""
    calls, sde = [], VP()
    score = Counted(mixture(sde), lambda: calls.append(1))
    generated = build_generator(config, sde, SHAPE)(score, 4, seed=0, show=False)
    jax.effects_barrier()
    assert sum(generated.nfe) == len(calls) > 0


# ---- the way ---------------------------------------------------------------------------------------

KEPT = {
    "pc": small("pc", 7, grid__name="quadratic"),
    "ode": small("ode", 7, grid__name="quadratic"),
}


@pytest.mark.parametrize("config", list(KEPT.values()), ids=list(KEPT))
def test_kept_states_are_those_of_their_times(config):
    """Four of eight unequally spaced times, including both ends, with the states of the full path."""
    sde = build_sde(config)
    sampler, grid = configure(config.sampling, sde)[:2]
    kept = trajectory(configure(config.sampling, sde), sde, mixture(sde), SHAPE, 3, 5, frames=4)
    noise = IndexedNoise.for_images(jax.random.key(5), jnp.arange(3))
    like = jnp.zeros((3, *SHAPE))
    path = jax.jit(lambda noise: sampler(mixture(sde), grid, noise, like, keep_path=True).path)
    places = [0, 2, 5, 7]
    np.testing.assert_array_equal(kept.times, np.asarray(grid)[places])
    np.testing.assert_allclose(kept.x, np.asarray(path(noise))[places], atol=1e-5)
