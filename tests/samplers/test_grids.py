"""Time grids against their definitions in closed form, and against published values."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.errors import ConfigError
from score_sde.generation.generate import build_generator
from score_sde.models.exact import ProductMixtureScore
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.few_steps import MeanFlowSampler
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import GRIDS, build_grid, log_snr_grid, noise_power_grid
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import EDM as SigmaTime
from score_sde.sde_lib import VE, VP, SubVP, build_sde
from tests.samplers.closed_forms import PROCESSES, closed_form
from tests.sde_lib.test_user_sde import EDM


def options(name, rho=7.0, times=()):
    return SimpleNamespace(name=name, rho=rho, times=times)


def grid_of(given, sde, t_start, eps, num_steps):
    return build_grid(given.name, given, sde, t_start, eps, num_steps)


def noise_to_signal(sde, times):
    return np.array([closed_form(sde, t).sigma / closed_form(sde, t).alpha for t in times])


@pytest.mark.parametrize("num_steps", [1, 12, 1000])
@pytest.mark.parametrize("name", [name for name in GRIDS if name not in ("times", "dp")])
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_n_steps_fall_from_the_end_of_time_to_eps(sde, name, num_steps):
    grid = np.asarray(grid_of(options(name), sde, sde.T, 1e-3, num_steps))
    assert grid.shape == (num_steps + 1,)
    assert (grid[0], grid[-1]) == (1.0, np.float32(1e-3))
    assert np.all(np.diff(grid) < 0)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_what_is_equally_spaced(x64, sde):
    """The log-SNR, or the seventh root of sigma/alpha, by independent formulas of the processes."""
    log_snr = grid_of(options("log_snr"), sde, sde.T, 1e-3, 40)
    steps = np.diff(np.log(noise_to_signal(sde, np.asarray(log_snr))))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-9)
    for rho in (1.0, 3.0, 7.0):
        grid = grid_of(options("rho", rho), sde, sde.T, 1e-3, 40)
        steps = np.diff(noise_to_signal(sde, np.asarray(grid)) ** (1 / rho))
        np.testing.assert_allclose(steps, steps.mean(), rtol=1e-8)
    steps = np.diff(np.sqrt(grid_of(options("quadratic"), sde, sde.T, 1e-3, 40)))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-12)


def test_times_of_ve_are_its_log_snr(x64):
    """ln sigma is linear in t, so the two grids are one."""
    np.testing.assert_allclose(
        grid_of(options("log_snr"), VE(), 1.0, 1e-5, 50),
        grid_of(options("uniform"), VE(), 1.0, 1e-5, 50),
        rtol=1e-10,
        atol=1e-12,
    )


def test_published_noise_levels_of_edm(x64):
    """Karras et al. 2022, 18 levels from 80 to 0.002 with rho = 7, where sigma = t."""
    grid = grid_of(options("rho"), EDM(), 80.0, 0.002, 17)
    np.testing.assert_allclose(grid[:5], [80.0, 57.586, 40.785, 28.375, 19.353], rtol=3e-5)


def test_an_explicit_list_is_taken_as_it_is():
    grid = grid_of(options("times", times=(1.0, 0.5, 1e-3)), VP(), 1.0, 1e-3, 2)
    np.testing.assert_array_equal(grid, np.float32([1.0, 0.5, 1e-3]))


@pytest.mark.parametrize(
    ("given", "eps", "num_steps", "words"),
    [
        (options("linear"), 1e-3, 10, "'linear' is unknown; choose one of uniform"),
        (options("rho", rho=0.0), 1e-3, 10, "grid.rho=0.0: expected a positive"),
        (options("times"), 1e-3, 10, "has 0 times"),
        (options("rho", times=(1.0, 1e-3)), 1e-3, 1, "used only with sampling.grid.name='times'"),
        (options("times", times=(1.0, 0.5, 1e-3)), 1e-3, 3, "are 2 steps, but num_steps=3"),
        (
            options("times", times=(1e-3, 0.5, 1.0)),
            1e-3,
            2,
            "must fall from 1.0 to .* 0.001, 0.5, 1",
        ),
        (options("times", times=(1.0, 0.5, 1e-2)), 1e-3, 2, "to sampling.eps=0.001"),
        (options("times", times=(1.0, 0.5, 0.5, 1e-3)), 1e-3, 3, "with every step"),
        (options("log_snr"), 1e-3, 0, "0 steps .* at least 1"),
        (options("uniform"), 0.9999999, 100, "use fewer steps"),
    ],
)
def test_unusable_grids_are_refused(given, eps, num_steps, words):
    with pytest.raises(ValueError, match=words):
        grid_of(given, SubVP(), 1.0, eps, num_steps)


def test_two_steps_of_vp_by_hand():
    """The middle time is that of the mean log-SNR of t = 1 and t = 1e-3."""
    middle = float(grid_of(options("log_snr"), VP(), 1.0, 1e-3, 2)[1])
    # The log-SNR is -ln(e^B - 1), so its middle has B = ln(1 + sqrt((e^B_T - 1)(e^B_eps - 1))), and
    # 9.95 t^2 + 0.1 t = B.
    integral = np.log1p(
        np.exp((np.log(np.expm1(10.05)) + np.log(np.expm1(0.1 * 1e-3 + 9.95e-6))) / 2)
    )
    assert middle == pytest.approx(
        (-0.1 + np.sqrt(0.01 + 4 * 9.95 * integral)) / (2 * 9.95), rel=1e-5
    )


def test_the_sampler_steps_along_the_grid_of_the_config():
    """Uniform times given explicitly give the same images; other times do not."""
    config = get_config()
    config.sampling.update(num_images=4, batch_size=4)
    config.sampling.pc.num_steps = 4
    sde = build_sde(config)
    weights = (jnp.array([0.3, 0.7]), jnp.array([-1.0, 0.6]), jnp.array([0.04, 0.09]))
    model = ProductMixtureScore(*weights, sde)

    def images(name, times=()):
        config.sampling.grid.update(name=name, times=times)
        return build_generator(config, sde, (2, 2, 1))(model, 4, seed=0, show=False).x

    uniform = images("uniform")
    times = tuple(float(t) for t in np.linspace(1.0, config.sampling.eps, 5))
    np.testing.assert_allclose(images("times", times), uniform, rtol=1e-5, atol=1e-6)
    assert np.abs(images("quadratic") - uniform).max() > 1e-2


FALL = jnp.linspace(1.0, 1e-3, 5)
ODE = ProbabilityFlow(VP(), GridSolver("heun"))
OUTSIDE = [
    (ExponentialSampler(VP(), "ddim"), FALL.at[0].set(2.0), "from 2 to 0.001 .*from T=1"),
    (ExponentialSampler(VP(), "ddim"), FALL.at[-1].set(0.0), "from 1 to 0 .*one above 0"),
    (ExponentialSampler(VP(), "ddim"), FALL.at[2].set(jnp.nan), "times that fall"),
    (ExponentialSampler(VP(), "ddim"), FALL.at[2].set(0.9), "times that fall"),
    (ExponentialSampler(VP(), "ddim", eta=1.0), FALL[::-1], "from 0.001 to 1 for Exp"),
    (ReverseSDE(VP()), FALL[::-1], "from 0.001 to 1 for ReverseSDE"),
    (ODE, FALL.at[-1].set(-1e-3), "from 1 to -0.001 .*to 0 or later"),
    (ODE, FALL.at[-1].set(1.1), "from 1 to 1.1"),
    (ReverseSDE(SigmaTime()), 80.1 * FALL, "from T=80"),
]


@pytest.mark.parametrize(("sampler", "grid", "words"), OUTSIDE)
def test_a_grid_outside_the_process_is_refused(sampler, grid, words):
    with pytest.raises(ConfigError, match=f"^a grid of 5 times .*{words}"):
        sampler(lambda x, t: -x, grid, None, jnp.zeros((2, 1)))


@pytest.mark.parametrize(
    ("sampler", "grid"),
    [
        (ExponentialSampler(VP(), "ddim"), FALL),
        (ExponentialSampler(VP(), "ddim"), FALL[::-1]),
        (ReverseSDE(SigmaTime()), 80.0 * FALL),
        (MeanFlowSampler(VP()), FALL.at[-1].set(0.0)),
        (ODE, FALL.at[-1].set(0.0)),
        (ODE, FALL[::-1]),
        (PredictorCorrector(VP(), None, CORRECTORS["langevin"]), jnp.concatenate([FALL[:1], FALL])),
    ],
)
def test_a_grid_of_the_process_is_not(sampler, grid):
    sampler.check_grid(grid)


def test_a_traced_grid_is_left_alone():
    """N(0, 1) data, which the flow of VP leaves where they are; and a traced end of a grid."""
    sampler, x = ExponentialSampler(VP(), "unipc_3"), jnp.ones((2, 1))

    @jax.jit
    def drawn(end):
        return sampler(lambda x, t: -x, log_snr_grid(VP(), 1.0, end, 40), None, x, x).x

    np.testing.assert_allclose(drawn(1e-3), x, rtol=2e-3)


@pytest.mark.parametrize("t_end", [0.0, -1e-3, np.nan])
def test_a_grid_of_the_log_snr_ends_above_zero(t_end):
    for grid_to in (
        lambda end: log_snr_grid(VP(), 1.0, end, 5),
        lambda end: noise_power_grid(VP(), 1.0, end, 5, 7.0),
    ):
        with pytest.raises(ConfigError, match="^t_end=.*expected a time above 0"):
            grid_to(t_end)
