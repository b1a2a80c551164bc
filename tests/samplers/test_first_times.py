"""Where samplers begin: at T, or where a little signal is left on a grid based on the log-SNR; and how long the first steps may be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import ConfigError
from score_sde.samplers.configured import configure
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.predictors import tweedie
from score_sde.sde_lib import VE, VP, Cosine, Linear, ShiftedCosine, Sigmoid, Trigonometric
from tests.generation.test_drivers import small
from tests.samplers.test_configured import ERRORS, clipped

IMAGES = 4000


def spread(sde, sampler, steps, error, **fields):
    """The standard deviation of samples of N(0, 1/4) as a multiple of 1/2, by a network with this error in its noise."""
    configured = configure(small(sampler, steps, **fields).sampling, sde)
    start = sde.prior_std * jax.random.normal(jax.random.key(0), (IMAGES, 1))
    noise = IndexedNoise(jax.random.split(jax.random.key(1), IMAGES))
    score = clipped(sde, 0.25, error)

    @jax.jit
    def sampled(start):
        x = configured.sampler.sample(score, configured.grid, noise, start, False).x
        return tweedie(score, sde, x, configured.grid[-1])

    return float(jnp.std(sampled(start))) / 0.5


FEW_STEPS = [
    (Cosine(), "unip_3", 8, 1.5),  # 149 from the end of the process
    (Cosine(), "unip_3", 10, 1.15),  # 11
    (Cosine(), "unip_3", 12, 1.1),  # 2.2
    (Cosine(), "deis_t_1", 8, 1.0),  # 280
    (Cosine(), "deis_t_1", 12, 1.0),  # 14
    (Cosine(), "dpm_solver_pp_3m", 10, 1.15),  # 4.5
    (Cosine(), "unipc_3", 8, 1.2),  # 74
    (Cosine(), "unipc_3", 10, 1.05),  # 4.7
    (Cosine(), "edm", 8, 1.3),  # 2
    (ShiftedCosine(), "deis_t_1", 8, 1.0),  # 40
    (Sigmoid(), "deis_t_1", 8, 1.0),  # 11.5
    (VP(beta_max=110.0), "unip_3", 8, 1.4),  # 8e10
    (VP(beta_max=110.0), "edm", 8, 1.35),  # 2e8, on rho
]


@pytest.mark.parametrize(("sde", "sampler", "steps", "most"), FEW_STEPS, ids=str)
def test_few_steps_of_a_network_keep_the_spread(sde, sampler, steps, most):
    """With a noise prediction that is off by .03: to the error of the steps, which is stated, and five standard errors."""
    own = 5 / np.sqrt(2 * IMAGES)
    assert 0.8 - own < spread(sde, sampler, steps, 0.03) < most + own


@pytest.mark.parametrize("name", ["log_snr", "rho"])
@pytest.mark.parametrize(
    "sde", [Cosine(), ShiftedCosine(), Sigmoid(), VP(beta_max=110.0)], ids=repr
)
def test_a_grid_of_the_log_snr_begins_where_a_little_signal_is_left(sde, name):
    """Unless it begins from images, or covers all times: those that encode them, and those of the training of a few-step network."""
    fields = {"grid__name": name}
    configured = configure(small("unipc_3", 12, **fields).sampling, sde)
    assert float(sde.log_snr(configured.grid[0])) == pytest.approx(-10.1, abs=0.02)
    assert configured.settings["t_start"] == float(configured.grid[0])
    wholes = [
        configure(small("unipc_3", 12, **fields).sampling, sde, whole=True),
        configure(small("consistency", 12, **fields).sampling, sde),
        configure(small("unipc_3", 12, t_start=sde.signal_end, **fields).sampling, sde),
    ]
    for whole in wholes:
        assert whole.grid[0] == np.float32(sde.signal_end)
        assert whole.settings["t_start"] == sde.signal_end


FROM_T = [VP(), VE(0.01, 50.0), VE(0.01, 300.0), Linear(), Trigonometric()]


@pytest.mark.parametrize("sde", FROM_T, ids=repr)
def test_a_grid_begins_at_the_end_where_the_prior_holds_there_only(sde):
    """VE to 300 has a log-SNR of -11.4 at T; at -10.1 its noise is half of the prior's. Under `linear` it is .6 % less."""
    for name in ("log_snr", "rho"):
        configured = configure(small("unipc_3", 12, grid__name=name).sampling, sde)
        assert configured.grid[0] == np.float32(sde.signal_end)


@pytest.mark.parametrize("name", ["uniform", "quadratic", "times", "dp"])
def test_other_grids_begin_at_the_end(name):
    options = small("unipc_3", 3, grid__name=name, grid__candidates=30).sampling
    end = Cosine().signal_end
    if name == "times":
        options.grid.times = (end, 0.7, 0.3, options.eps)
    configured = configure(options, Cosine(), ERRORS)
    assert configured.grid[0] == np.float32(end)
    assert configured.settings["t_start"] == end


def test_edm_along_the_log_snr_is_nearer_where_alpha_goes_to_0():
    """By the exact score of N(0, 1/4), with the same noise: 12 steps are 21 % above its spread, on rho 29 %."""
    own, along_rho = (
        abs(spread(Linear(), "edm", 12, 0.0, grid__name=name) - 1) for name in ("auto", "rho")
    )
    assert own < 0.85 * along_rho


def sde_steps(steps, solver, **fields):
    return small("sde", steps, sde__steps="grid", sde__solver=solver, **fields).sampling


@pytest.mark.parametrize(
    ("sde", "solver", "enough"),
    [
        (Cosine(), "euler", 12),
        (Sigmoid(), "sea", 14),
        (Cosine(), "shark", 10),
        (Sigmoid(), "shark", 12),
        (Linear(), "heun", 13),
        (ShiftedCosine(), "sra1", 11),
    ],
    ids=str,
)
def test_too_few_steps_of_the_sde_are_refused(sde, solver, enough):
    """One less than the least number that keeps the spread of N(0, 1/4) to 40 %, by the exact score: in 4 steps it is 100 to 3,000 times
    too large. Without noise and from later times few steps are stable, and 4 under VP are accepted."""
    with pytest.raises(ConfigError, match=f"num_steps={enough - 1} .*; take {enough} or more"):
        configure(sde_steps(enough - 1, solver), sde)
    ratio = spread(sde, "sde", enough, 0.0, sde__steps="grid", sde__solver=solver)
    assert 0.6 < ratio < 1.4
    assert configure(sde_steps(4, solver, sde__h=0.0), sde).denoises
    assert configure(sde_steps(4, solver, t_start=0.5), sde).denoises
    assert configure(sde_steps(4, solver, grid__name="log_snr"), VP()).denoises
