"""A list of samplers as text: its meaning, the budgets, and what it cannot request."""

import jax
import jax.numpy as jnp
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.errors import ConfigError
from score_sde.samplers.entries import ENTRIES, set_by_entries
from score_sde.samplers.entry_list import Steps, listed_runs
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.sde_lib import VP, build_sde

ERRORS = OptimalVariance((1e-3, 0.3, 0.9), (0.9, 0.5, 0.01))
STEPS = Steps("log_snr", (5, 16), (0.1, 0.01), a_call=1, last=1)


def listed(text, **changes):
    return listed_runs("tradeoff.samplers", text, STEPS._replace(**changes))


def test_names_grids_and_numbers_of_ones_own():
    runs = listed("ddim, heun on rho: 9 41 ,dopri5 adaptive: 0.5, reverse_diffusion + langevin")
    assert [(run.entry.name, run.steps) for run in runs] == [
        ("ddim", "log_snr"),
        ("ddim", "log_snr"),
        ("heun", "rho"),
        ("heun", "rho"),
        ("dopri5 adaptive", "tolerance 0.5"),
        ("reverse_diffusion + langevin", "log_snr"),
        ("reverse_diffusion + langevin", "log_snr"),
    ]
    assert [run.settings["ode.num_steps"] for run in runs[2:4]] == [4, 20]
    assert {runs[4].settings[f"ode.{name}"] for name in ("rtol", "atol")} == {0.5}
    assert [run.steps for run in listed("dopri5 adaptive")] == ["tolerance 0.1", "tolerance 0.01"]


def test_a_budget_that_another_has_filled_is_no_second_run():
    """Two steps of two evaluations and the last denoising fit 5 and 6."""
    assert len(listed("heun: 5 6 7, heun: 6")) == 2


@pytest.mark.parametrize(
    ("name", "a_step"),
    [
        pytest.param("tsit5", 6, marks=pytest.mark.slow),
        pytest.param("dpm_solver_3", 3, marks=pytest.mark.slow),
        ("sde shark", 2),
    ],
)
def test_steps_are_the_most_that_fit_a_budget(name, a_step):
    """Counted by the sampler, plus one for the last denoising. One more step would not fit."""
    config = get_config()
    (run,) = listed(f"{name}: 16")
    sampler, grid, *_ = run.build(config.sampling, build_sde(config))
    noise, like = IndexedNoise.for_images(jax.random.key(0), jnp.arange(1)), jnp.zeros((1, 1, 1, 1))
    nfe = jax.jit(lambda: sampler(lambda x, t: -x, grid, noise, like).nfe)() + 1
    assert 16 - a_step < nfe <= 16


def test_networks_of_few_steps_take_all_their_evaluations():
    """No denoising follows, and the grid is that of the models' own samplers."""
    runs = listed("consistency: 1 2, mean_flow: 4, mean_flow on rho: 4")
    assert [run.settings["few_steps.num_steps"] for run in runs] == [1, 2, 4, 4]
    assert [run.steps for run in runs] == ["rho", "rho", "uniform", "rho"]


def test_guidance_asks_twice():
    (run,) = listed("ddim: 40", a_call=2)
    assert run.settings["exponential.num_steps"] == 19
    (run,) = listed("ddim: 40", a_call=2, last=0)
    assert run.settings["exponential.num_steps"] == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("huen", "tradeoff.samplers='huen' is unknown; choose one of euler, heun"),
        (" , ", "names no sampler; give one or more"),
        ("ddim: x", "'ddim: x': expected numbers of evaluations after the colon, such as 10 20"),
        ("ddim:", "'ddim:': expected numbers"),
        ("ddim: 0", "expected numbers of evaluations"),
        ("ddim: -3", "expected numbers of evaluations"),
        ("ddim: 2.5", "expected numbers of evaluations"),
        ("dopri5 adaptive: inf", "expected tolerances after the colon, such as 0.01"),
        ("dopri5 adaptive on rho", "chooses its own steps; remove the grid"),
        ("ddim: 1 10", "a step of ddim takes 2 evaluations, more than .*such as 'ddim: 4'"),
    ],
)
def test_what_no_list_can_ask_for(text, words):
    with pytest.raises(ConfigError, match=words):
        listed(text)


def test_a_budget_for_all_may_be_too_small_for_some():
    (run,) = listed("dopri8")  # thirteen evaluations a step, one to begin with
    assert run.settings["ode.num_steps"] == 1
    with pytest.raises(ConfigError, match="a step of dopri8 takes 15 evaluations"):
        listed("dopri8", budgets=(5, 10))


OTHERS = {
    "sampler": "sde", "n_steps_each": 3, "grid.name": "quadratic", "pc.predictor": "none", "pc.corrector": "ald", "pc.num_steps": 7,
    "ode.solver": "midpoint", "ode.variable": "ratio", "ode.steps": "adaptive", "ode.num_steps": 7, "ode.rtol": 0.5, "ode.atol": 0.5,
    "sde.solver": "sea", "sde.steps": "adaptive", "sde.num_steps": 7, "exponential.eta": 0.5, "exponential.steps": "adaptive",
    "exponential.num_steps": 7, "edm.num_steps": 7, "edm.s_churn": 5.0, "few_steps.num_steps": 7,
}  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_what_a_list_sets_is_not_read_from_the_config(name):
    """A sampler of the list has the same times and settings, whatever the config has in these fields."""
    assert OTHERS.keys() == set_by_entries()
    usual, other = get_config().sampling, get_config().sampling
    other.update_from_flattened_dict(OTHERS)
    entry = ENTRIES[name]
    run = entry.with_tolerance(0.1) if entry.adaptive else entry.with_steps(5)
    one, another = (run.build(options, VP(), ERRORS) for options in (usual, other))
    assert one.settings == another.settings
    assert one.grid.tolist() == another.grid.tolist()
