"""The sampler that a config describes, with its time grid and the settings it depends on.

Building it is the check: invalid settings raise ConfigError here, before anything is compiled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from score_sde.devices import AXIS
from score_sde.errors import ConfigError
from score_sde.options import Section, choose
from score_sde.samplers.adaptive import Adaptive, AdaptiveSolver, Solver
from score_sde.samplers.correctors import CORRECTORS
from score_sde.samplers.edm import EDMSampler
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.few_steps import ConsistencySampler, MeanFlowSampler
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import AUTO
from score_sde.samplers.names import SECTIONS
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.options import ExponentialOptions, ODEOptions, SDEOptions
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import LEARNED, PREDICTORS
from score_sde.samplers.problem import Configured, Problem, last_step
from score_sde.samplers.published import PublishedPredictorCorrector
from score_sde.samplers.record import Sampler
from score_sde.samplers.sde import SDE_SOLVERS, ReverseSDE
from score_sde.sde_lib import SDE, NoDiscreteForm
from score_sde.shapes import Points

OPTIMAL = "ancestral_sampling_optimal"
IN_TIME = ("deis_t_2", "deis_t_3")  # polynomials in t of more than first degree
OF_CORRECTOR = ("snr", "n_steps_each")  # fields of config.sampling that only a corrector reads
OF_GRID = {"rho": ("rho",), "times": ("times",), "dp": ("candidates",)}
"""Fields of config.sampling.grid that the grid of a name reads."""
STABLE = {1: 1.5, 2: 2.0}
"""The largest h^2 |f| dt of a first step of the reverse SDE by solvers of one and of two evaluations a step.

Such a step z multiplies noise by 1 - z + z^2/2 with two, which grows from z = 2 on. With one it multiplies by 1 - z and leaves the variance
2 / (2 - z): from 1.5 on more than twice the standard deviation, where the noise prediction of a network is no longer linear.
"""


def predictor_corrector(problem: Problem) -> Configured:
    """The predictor-corrector of config.sampling.pc."""
    options, pc = problem.options, problem.options.pc
    last = last_step(options, ("tweedie", "predictor_mean"))
    predictor = choose(
        "sampling.pc.predictor", pc.predictor, {**PREDICTORS, **LEARNED, OPTIMAL: problem.variance}
    )
    if pc.predictor == OPTIMAL and predictor is None:
        raise ConfigError(
            f"sampling.pc.predictor={OPTIMAL!r} needs the score model's denoising errors"
        )
    sampler = PredictorCorrector(
        problem.sde,
        predictor=predictor,
        corrector=choose("sampling.pc.corrector", pc.corrector, CORRECTORS),
        snr=options.snr,
        corrector_steps=options.n_steps_each,
        last_noise=last != "predictor_mean",
    )
    grid = (
        problem.grid(pc.num_steps, problem.small_steps)
        if predictor is not None
        else langevin_grid(problem, pc.num_steps)
    )
    settings = {**pc_settings(options), "grid": problem.grid_name(problem.small_steps)}
    if options.noise_removal:
        settings["noise_removal_by"] = last
    return Configured(sampler, grid, settings, last == "tweedie", any_time=False)


def langevin_grid(problem: Problem, num_times: int) -> Points:
    """The grid of annealed Langevin dynamics, with the first time repeated: a step that stays there lets the corrector visit it too."""
    if num_times < 2:
        raise ConfigError(
            f"sampling.pc.num_steps={num_times} with predictor 'none' is the number of noise levels: expected 2 or more"
        )
    grid = problem.grid(num_times - 1, problem.small_steps)
    return jnp.concatenate([grid[:1], grid])


def pc_options(options: Any) -> dict[str, Any]:
    """All options of a predictor-corrector."""
    return {**options.pc, **{name: options[name] for name in OF_CORRECTOR}}


def pc_settings(options: Any) -> dict[str, Any]:
    """The settings of a predictor-corrector, for the record: without a corrector, none of its options."""
    unused = OF_CORRECTOR if options.pc.corrector == "none" else ()
    return {name: of for name, of in pc_options(options).items() if name not in unused}


def published(
    problem: Problem, build: type[PublishedPredictorCorrector] = PublishedPredictorCorrector
) -> Configured:
    """The published sampler or a subclass of it, which has a fixed time grid and last step."""
    options = problem.options
    if options.grid.name not in (AUTO, "uniform") or options.t_start or options.threshold != "none":
        raise ConfigError(
            f"the published sampler with sampling.grid.name={options.grid.name!r}, t_start={options.t_start} and threshold="
            f"{options.threshold!r}: this sampler reproduces the published times and steps; set these options to 'uniform', 0 and 'none', or use --sampler "
            "pc (with --mode restore, restore.method=imputation)"
        )
    growth = problem.first_rate / options.pc.num_steps
    if problem.starts_fast and not growth <= 1 and not steps_along_chain(options, problem.sde):
        raise ConfigError(
            f"the published sampler with sampling.pc.predictor={options.pc.predictor!r} under {type(problem.sde).__name__}: its steps of t are Euler's, "
            f"of which the first would multiply x by {1 + growth:.3g}; use --sampler pc, whose grid suits such a process"
        )
    sampler = build(
        problem.sde,
        predictor=options.pc.predictor,
        corrector=options.pc.corrector,
        num_scales=options.pc.num_steps,
        snr=options.snr,
        corrector_steps=options.n_steps_each,
        noise_removal=options.noise_removal,
        axis_name=AXIS,
    )
    times = sampler.times(options.eps)
    return Configured(sampler, times, pc_settings(options), denoises=False, any_time=False)


def steps_along_chain(options: Any, sde: SDE) -> bool:
    """Whether the published predictor takes the steps of the process's chain, which know alpha of both levels, and not Euler's."""
    try:
        sde.chain(options.pc.num_steps)
    except NoDiscreteForm:
        return options.pc.predictor == "none"
    return options.pc.predictor != "euler_maruyama"


def adaptive_steps(group: Any, name: str) -> Adaptive | None:
    """The step-size control in the options of a solver; None for the steps of a grid."""
    if choose(f"sampling.{name}.steps", group.steps, ("grid", "adaptive")) == "grid":
        return None
    step_size = choose(f"sampling.{name}.step_size", group.step_size, ("batch", "image"))
    return Adaptive(group.rtol, group.atol, step_size == "image")


def on_grid(
    problem: Problem, sampler: Sampler, num_steps: int, settings: dict[str, Any], suited: str
) -> Configured:
    """A sampler with fixed steps, on the configured time grid."""
    tweedie = last_step(problem.options) == "tweedie"
    settings = {**settings, "num_steps": num_steps, "grid": problem.grid_name(suited)}
    return Configured(sampler, problem.grid(num_steps, suited), settings, tweedie)


STEP_OPTIONS: dict[str, type[Section]] = {
    "ode": ODEOptions,
    "sde": SDEOptions,
    "exponential": ExponentialOptions,
}
"""Options of the samplers that can choose their own steps."""


def solved(
    problem: Problem, sampler: Sampler, name: str, suited: str = "uniform", **settings: Any
) -> Configured:
    """A diffrax sampler with adaptive steps or on a grid, as config.sampling.<name> says; `suited` is the grid that `auto` selects."""
    group = problem.options[name]
    if group.steps == "grid":
        return on_grid(problem, sampler, group.num_steps, settings, suited)
    grid, note = problem.grid_name(), ""
    if grid in ("times", "dp"):
        raise ConfigError(
            f"sampling.grid.name={grid!r} with adaptive steps, which choose their own times: remove it, or set "
            f"sampling.{name}.steps='grid'"
        )
    if group.num_steps != STEP_OPTIONS[name].defaults()["num_steps"]:
        note = (
            f"note: sampling.{name}.num_steps={group.num_steps} is ignored with adaptive steps; to take that many steps, set "
            f"sampling.{name}.steps=grid"
        )
    tweedie = last_step(problem.options) == "tweedie"
    steps = {"rtol": group.rtol, "atol": group.atol, "step_size": group.step_size}
    settings = {**settings, **steps}
    return Configured(sampler, problem.ends(), settings, tweedie, adaptive=True, note=note)


def probability_flow(problem: Problem) -> Configured:
    """The ODE sampler of config.sampling.ode."""
    ode = problem.options.ode
    adaptive = adaptive_steps(ode, "ode")
    solver: Solver = GridSolver(ode.solver)
    if adaptive is not None:
        solver = AdaptiveSolver(ode.solver, ode.rtol, ode.atol)
    each_image = adaptive is not None and adaptive.each_image
    sampler = ProbabilityFlow(problem.sde, solver, ode.variable, each_image)
    # From T itself, where the log-SNR is not finite, the velocity is: a network that predicts it has no large error there.
    suited = "uniform" if problem.t_start > problem.sde.signal_end else problem.small_steps
    return solved(problem, sampler, "ode", suited, solver=ode.solver, variable=ode.variable)


def reverse_sde(problem: Problem) -> Configured:
    """The SDE sampler of config.sampling.sde."""
    group = problem.options.sde
    sampler = ReverseSDE(problem.sde, group.solver, group.h, adaptive_steps(group, "sde"))
    suited = problem.small_steps
    if group.steps == "grid" and problem.starts_fast and problem.grid_name(suited) == "log_snr":
        refuse_unstable(problem, STABLE[SDE_SOLVERS[group.solver].evaluations])
    return solved(problem, sampler, "sde", suited, solver=group.solver, h=group.h)


def refuse_unstable(problem: Problem, most: float) -> None:
    """Refuse so few steps of the reverse SDE that h^2 |f| dt of the first is above `most`, beyond the solver's stability."""
    group = problem.options.sde

    def first_step(num_steps: int) -> float:
        grid = problem.grid(num_steps, "log_snr")
        rate = jnp.abs(problem.sde.drift_coefficient(grid[0]))
        return float(group.h**2 * rate * (grid[0] - grid[1]))

    number = group.num_steps
    if first_step(number) > most:
        enough = next(n for n in itertools.count(number + 1) if first_step(n) <= most)
        raise ConfigError(
            f"sampling.sde.num_steps={number} with sampling.sde.solver={group.solver!r} under {type(problem.sde).__name__}: the first steps are so "
            f"long that the solver is unstable; take {enough} or more, or unipc_3 for few evaluations"
        )


def exponential(problem: Problem) -> Configured:
    """The exponential integrator of config.sampling.exponential."""
    group, method = problem.options.exponential, problem.options.sampler
    if method in IN_TIME and problem.starts_fast:
        raise ConfigError(
            f"sampling.sampler={method!r} under {type(problem.sde).__name__}: where alpha goes to 0, the time that is left doubles with each of its "
            f"steps, and a polynomial in t magnifies rounding; use {method.replace('_t_', '_rho_')} or unipc_3"
        )
    adaptive = adaptive_steps(group, "exponential")
    sampler = ExponentialSampler(problem.sde, method, group.eta, adaptive)
    return solved(problem, sampler, "exponential", suited="log_snr", eta=group.eta)


def edm(problem: Problem) -> Configured:
    """The EDM sampler of config.sampling.edm."""
    group = problem.options.edm
    settings = {name: group[name] for name in ("s_churn", "s_min", "s_max", "s_noise")}
    # Under these processes N(0, 1/4) has the smaller error along the log-SNR: 1.21 times its spread after 12 steps of `linear`, 1.31 on rho.
    suited = "log_snr" if problem.starts_fast else "rho"
    return on_grid(problem, EDMSampler(problem.sde, **settings), group.num_steps, settings, suited)


def consistency(problem: Problem) -> Configured:
    """Consistency sampling, with config.sampling.few_steps. It returns x_eps, since a consistency model gives no estimate beyond it."""
    last_step(problem.options)
    num_steps = problem.options.few_steps.num_steps
    settings = {"num_steps": num_steps, "grid": problem.grid_name("rho"), "noise_removal": False}
    grid = problem.grid(num_steps, "rho")
    return Configured(ConsistencySampler(problem.sde), grid, settings, denoises=False)


def mean_flow(problem: Problem) -> Configured:
    """The MeanFlow sampler of config.sampling.few_steps, down to time 0, where no noise is left."""
    last_step(problem.options)
    num_steps = problem.options.few_steps.num_steps
    settings = {"num_steps": num_steps, "grid": problem.grid_name(), "noise_removal": False}
    grid = problem.grid(num_steps).at[-1].set(0.0)
    return Configured(MeanFlowSampler(problem.sde), grid, settings, denoises=False)


def common_settings(problem: Problem, grid: str = "") -> dict[str, Any]:
    """The settings that every sampler depends on; `grid` is the name of its grid, if it has one."""
    options = problem.options
    dynamic = options.threshold == "dynamic"
    used = {"threshold_quantile": dynamic, "start_images": options.start_images}
    return {
        "t_start": problem.first_time(grid),
        "eps": options.eps,
        "noise_removal": options.noise_removal,
        "threshold": options.threshold,
        **{name: options[name] for name, on in used.items() if on},
        **{f"grid_{name}": options.grid[name] for name in OF_GRID.get(grid, ())},
    }


SAMPLERS: dict[str, Callable[[Problem], Configured]] = {
    "pc": predictor_corrector,
    "pc_published": published,
    "ode": probability_flow,
    "sde": reverse_sde,
    "edm": edm,
    "consistency": consistency,
    "mean_flow": mean_flow,
    **dict.fromkeys(EXPONENTIAL, exponential),
}


def needs_errors(options: Any) -> bool:
    """Whether the sampler is built from the score model's denoising errors."""
    optimal = options.sampler == "pc" and options.pc.predictor == OPTIMAL
    return optimal or options.grid.name == "dp"


def begins_in_noise(options: Any) -> bool:
    """Whether the sampler needs only the flow's velocity, which is finite at T, and neither the log-SNR nor a division by alpha."""
    in_time = options.sampler == "ode" and options.ode.variable == "t"
    return in_time or options.sampler == "mean_flow"


def configure(
    options: Any, sde: SDE, variance: OptimalVariance | None = None, whole: bool = False
) -> Configured:
    """Build the sampler that config.sampling describes.

    `variance` holds the score model's denoising errors, required where `needs_errors`. `whole`: its grid covers all times up to
    the latest, as for encoding images (`Problem.first_time`).

    Raises:
      ConfigError: saying what was given, what was expected and what to do.
    """
    whole = whole or SECTIONS.get(options.sampler) == "few_steps"  # all times of the training
    problem = Problem(options, sde, variance, begins_in_noise(options), whole)
    configured = choose("sampling.sampler", options.sampler, SAMPLERS)(problem)
    own = configured.settings  # the sampler's own settings come first and override the common ones
    common = common_settings(problem, own.get("grid", ""))
    return configured._replace(settings={**own, **common, **own})
