"""Named samplers with all settings chosen but the number of steps: their fields of config.sampling, and the cost of a step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from score_sde.options import choose
from score_sde.samplers.configured import configure
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.fixed_steps import FIXED_SOLVERS
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.problem import Configured
from score_sde.samplers.sde import SDE_SOLVERS
from score_sde.sde_lib import SDE

TOLERANCES = (0.5, 0.2, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A sampler with everything chosen but its number of steps and its grid, or its tolerance."""

    name: str
    group: str
    """config.sampling.<group> holds its num_steps, and its tolerances if it has any."""
    settings: dict[str, Any]
    """Fields of config.sampling."""
    order: int
    """Order of convergence; weak order for stochastic samplers."""
    evaluations: int
    """Evaluations of the score model per step."""
    first: int = 0
    """Additional evaluations, once per run."""
    stochastic: bool = False
    denoises: bool = True
    """Whether one more evaluation may remove the noise left at its end."""
    grid: str = ""
    """Its own grid, where the one shared by the others does not suit it; empty otherwise."""

    @property
    def adaptive(self) -> bool:
        return self.settings.get(f"{self.group}.steps") == "adaptive"

    def with_steps(self, num_steps: int, grid: str = "uniform") -> Run:
        fields = {f"{self.group}.num_steps": num_steps, **on(grid)}
        return Run(self, self.settings | fields, grid)

    def with_tolerance(self, tolerance: float) -> Run:
        fields = {f"{self.group}.{name}": tolerance for name in ("rtol", "atol")} | on("auto")
        return Run(self, self.settings | fields, f"tolerance {tolerance:g}")

    def steps_within(self, budget: int) -> int:
        """The largest number of steps that the budget of evaluations covers; 0 or less if it covers none."""
        return (budget - self.first) // self.evaluations

    def runs(self, budgets: Sequence[int], grids: Sequence[str]) -> Iterator[Run]:
        """For each budget the most steps that it covers, on each grid; for adaptive samplers one run per tolerance instead."""
        if self.adaptive:
            yield from map(self.with_tolerance, TOLERANCES)
            return
        for budget in budgets:
            num_steps = self.steps_within(budget)
            if num_steps > 0:
                yield from (self.with_steps(num_steps, grid) for grid in grids)


def on(grid: str) -> dict[str, Any]:
    """Fields of config.sampling that select a grid by name; they clear grid.times unless the grid is "times"."""
    return {"grid.name": grid} if grid == "times" else {"grid.name": grid, "grid.times": ()}


class Run(NamedTuple):
    """An entry with its steps chosen."""

    entry: Entry
    settings: dict[str, Any]
    steps: str
    """What determines its steps, as text: the name of a grid or a tolerance."""

    def build(self, options: Any, sde: SDE, variance: OptimalVariance | None = None) -> Configured:
        """Build the sampler from `options` (a config.sampling), overridden by these settings."""
        options = options.copy_and_resolve_references()
        options.update_from_flattened_dict(self.settings)
        return configure(options, sde, variance)


def ode(solver: str, order: int, variable: str = "t", adaptive: bool = False) -> Entry:
    """Entry of an ODE solver, with fixed or adaptive steps."""
    cost = FIXED_SOLVERS[solver]
    settings = {
        "sampler": "ode",
        "ode.solver": solver,
        "ode.variable": variable,
        "ode.steps": "adaptive" if adaptive else "grid",
    }
    words = [solver, "adaptive" if adaptive else "", "" if variable == "t" else f"in {variable}"]
    name = " ".join(filter(None, words))
    return Entry(name, "ode", settings, order, cost.attempt, cost.first)


def exponential(method: str, eta: float = 0.0) -> Entry:
    """Entry of an exponential integrator."""
    cost = EXPONENTIAL[method]
    settings = {"sampler": method, "exponential.eta": eta, "exponential.steps": "grid"}
    name = f"{method} eta={eta:g}" if eta else method
    return Entry(name, "exponential", settings, cost.order, cost.evaluations, 0, bool(eta))


def edm(s_churn: float = 0.0) -> Entry:
    """Entry of EDM's sampler."""
    name = f"edm churn={s_churn:g}" if s_churn else "edm"
    return Entry(
        name, "edm", {"sampler": "edm", "edm.s_churn": s_churn}, 2, 2, stochastic=bool(s_churn)
    )


def pc(predictor: str, corrector: str = "none") -> Entry:
    """Entry of a predictor with a corrector."""
    corrected = corrector != "none"
    settings = {
        "sampler": "pc",
        "pc.predictor": predictor,
        "pc.corrector": corrector,
        "n_steps_each": 1,
    }
    name = f"{predictor} + {corrector}" if corrected else predictor
    return Entry(name, "pc", settings, 1, 1 + corrected, stochastic=True)


def sde(solver: str, order: int) -> Entry:
    """Entry of an SDE solver."""
    settings = {"sampler": "sde", "sde.solver": solver, "sde.steps": "grid"}
    return Entry(
        f"sde {solver}", "sde", settings, order, SDE_SOLVERS[solver].evaluations, stochastic=True
    )


def few_steps(sampler: str, grid: str, stochastic: bool = False) -> Entry:
    """Entry of a sampler of networks trained for few steps. Its error is that of the network, whatever the order of the steps."""
    settings = {"sampler": sampler}
    return Entry(sampler, "few_steps", settings, 1, 1, 0, stochastic, denoises=False, grid=grid)


ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        ode("euler", 1),
        ode("heun", 2),
        ode("bosh3", 3),
        ode("tsit5", 5),
        ode("dopri8", 8),
        ode("heun", 2, "log_ratio"),
        ode("dopri5", 5, adaptive=True),
        ode("dopri5", 5, "log_ratio", adaptive=True),
        edm(),
        *map(exponential, EXPONENTIAL),
        pc("euler_maruyama"),
        pc("reverse_diffusion"),
        pc("ancestral_sampling"),
        pc("ancestral_sampling_posterior"),
        pc("ancestral_sampling_optimal"),
        pc("reverse_diffusion", "langevin"),
        sde("euler", 1),
        sde("heun", 2),
        sde("sea", 1),
        sde("sra1", 2),
        sde("shark", 2),
        exponential("ddim", eta=1.0),
        exponential("dpm_solver_pp_2m", eta=1.0),
        edm(s_churn=10.0),
    )
}
"""Samplers for any score model."""

FEW_STEPS: dict[str, Entry] = {
    entry.name: entry
    for entry in (few_steps("consistency", "rho", stochastic=True), few_steps("mean_flow", "uniform"))
}  # fmt: skip
"""Samplers for networks trained for few steps."""


@functools.cache
def set_by_entries() -> set[str]:
    """Fields of config.sampling that a run of a list sets, whatever their values in the config."""
    found = set[str]()
    for entry in (*ENTRIES.values(), *FEW_STEPS.values()):
        found |= {*(entry.with_tolerance(1.0) if entry.adaptive else entry.with_steps(1)).settings}
    return found - {"grid.times"}  # which a run on the grid "times" reads


def choose_entries(names: Sequence[str]) -> list[Entry]:
    """The entries with these names, or all of ENTRIES if none is given.

    Raises:
      ConfigError: an unknown name.
    """
    return [choose("--samplers", name, ENTRIES) for name in names or ENTRIES]
