"""The sampler that a config names, with its times and what it depends on.

Building it is the check: whatever cannot work raises ValueError here, before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
from jax import Array

from models.score import ScoreModel
from samplers.adaptive import AdaptiveSolver, Solver
from samplers.correctors import CORRECTORS
from samplers.fixed_steps import GridSolver
from samplers.grids import build_grid
from samplers.noise import Noise
from samplers.ode import ProbabilityFlow
from samplers.predictor_corrector import PredictorCorrector
from samplers.predictors import PREDICTORS
from samplers.published import PublishedPredictorCorrector
from samplers.record import Samples
from sde_lib import SDE

AXIS = "images"  # of the devices that share a batch


class Sampler(Protocol):
    """One batch of samples: see SteppedSampler.__call__ for the arguments."""

    def __call__(
        self,
        score: ScoreModel,
        grid: Array,
        noise: Noise,
        like: Array,
        x_start: Array | None = None,
        keep_path: bool = False,
    ) -> Samples: ...


class Configured(NamedTuple):
    """A sampler, ready to be run."""

    sampler: Sampler
    grid: Array
    """Its times; an adaptive sampler takes the ends."""
    settings: dict[str, Any]
    """What it depends on, for the record."""
    denoises: bool
    """A Tweedie step follows: E[x_0 | x_eps] is returned."""
    adaptive: bool = False
    """It chooses its times between the first and the last."""
    any_time: bool = True
    """It asks for the score at times between the levels of a discretely trained network."""


def choose(field: str, value: str, table: dict[str, Any]) -> Any:
    if value not in table:
        raise ValueError(f"{field}={value!r} is unknown; choose one of {', '.join(table)}")
    return table[value]


def first_time(options: Any, sde: SDE) -> float:
    """sampling.t_start, or T if that is 0."""
    t_start = options.t_start or sde.T
    if not options.eps < t_start <= sde.T:
        raise ValueError(
            f"sampling.t_start={options.t_start}: expected a time between sampling.eps={options.eps} and "
            f"T={sde.T}, or 0 for T"
        )
    return t_start


def time_grid(options: Any, sde: SDE, num_steps: int) -> Array:
    """num_steps steps of sampling.grid."""
    return build_grid(options.grid, sde, first_time(options, sde), options.eps, num_steps)


def ends(options: Any, sde: SDE) -> Array:
    """The first and last time only, of samplers that choose those between."""
    return jnp.asarray([first_time(options, sde), options.eps])


def last_step(options: Any, ways: tuple[str, ...] = ("tweedie",)) -> str:
    """How the samples are denoised at the end: by one of the ways that the sampler has, or "none"."""
    if options.noise_removal_by not in ways:
        raise ValueError(
            f"sampling.noise_removal_by={options.noise_removal_by!r}: sampling.sampler={options.sampler!r} has "
            f"{' and '.join(ways)}; only the steps of pc have a predictor_mean"
        )
    return options.noise_removal_by if options.noise_removal else "none"


def predictor_corrector(options: Any, sde: SDE) -> Configured:
    pc = options.pc
    last = last_step(options, ("tweedie", "predictor_mean"))
    sampler = PredictorCorrector(
        sde,
        predictor=choose("sampling.pc.predictor", pc.predictor, PREDICTORS),
        corrector=choose("sampling.pc.corrector", pc.corrector, CORRECTORS),
        snr=options.snr,
        corrector_steps=options.n_steps_each,
        last_noise=last != "predictor_mean",
    )
    grid = time_grid(options, sde, pc.num_steps)
    settings = {**pc_settings(options), "grid": options.grid.name}
    return Configured(sampler, grid, settings, last == "tweedie", any_time=False)


def pc_settings(options: Any) -> dict[str, Any]:
    return {
        "predictor": options.pc.predictor,
        "corrector": options.pc.corrector,
        "num_steps": options.pc.num_steps,
        "snr": options.snr,
        "n_steps_each": options.n_steps_each,
    }


def published(options: Any, sde: SDE) -> Configured:
    if options.grid.name != "uniform" or options.t_start:
        raise ValueError(
            f"sampling.grid.name={options.grid.name!r}, sampling.t_start={options.t_start} with "
            "sampling.sampler='pc_published': its times are part of what it reproduces; use --sampler pc, or leave "
            "both as they are"
        )
    sampler = PublishedPredictorCorrector(
        sde,
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


ODE_STEPS: dict[str, Callable[[Any], Solver]] = {
    "adaptive": lambda ode: AdaptiveSolver(ode.solver, ode.rtol, ode.atol),
    "grid": lambda ode: GridSolver(ode.solver),
}
STEP_SIZES = {"batch": False, "image": True}


def step_settings(group: Any, grid: str) -> dict[str, Any]:
    """What the steps of a solver depend on."""
    return {
        "adaptive": {"rtol": group.rtol, "atol": group.atol, "step_size": group.step_size},
        "grid": {"num_steps": group.num_steps, "grid": grid},
    }[group.steps]


def probability_flow(options: Any, sde: SDE) -> Configured:
    ode = options.ode
    make = choose("sampling.ode.steps", ode.steps, ODE_STEPS)
    each_image = choose("sampling.ode.step_size", ode.step_size, STEP_SIZES)
    grid = time_grid(options, sde, ode.num_steps) if ode.steps == "grid" else ends(options, sde)
    settings = {
        "solver": ode.solver,
        "variable": ode.variable,
        **step_settings(ode, options.grid.name),
    }
    sampler = ProbabilityFlow(sde, make(ode), ode.variable, each_image)
    tweedie = last_step(options) == "tweedie"
    return Configured(sampler, grid, settings, tweedie, adaptive=ode.steps == "adaptive")


SAMPLERS: dict[str, Callable[[Any, SDE], Configured]] = {
    "pc": predictor_corrector,
    "ode": probability_flow,
    "pc_published": published,
}


def configure(options: Any, sde: SDE) -> Configured:
    """The sampler that `config.sampling` describes.

    Raises:
      ValueError: saying what was given, what was expected and what to do.
    """
    build = choose("sampling.sampler", options.sampler, SAMPLERS)
    configured = build(options, sde)
    common = {"t_start": first_time(options, sde), "eps": options.eps}
    settings = {**configured.settings, **common, "noise_removal": options.noise_removal}
    return configured._replace(settings=settings)
