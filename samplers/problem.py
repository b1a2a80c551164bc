"""What a sampler is built from, and what is built: the times that config.sampling gives it, and its last step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.samplers.grids import AUTO, GRIDS, build_grid
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.record import Sampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Points

USUAL_STEPS = 1000  # of the reverse SDE
FASTEST = 50.0  # |f| times the length of time, of a process that equal steps of t suit: 10 for VP
SEEN = 0.04  # the standard deviation of noise that an eye sees: five levels of 256 in [-1, 1]


class Configured(NamedTuple):
    """A sampler, ready to be run."""

    sampler: Sampler
    grid: Points
    """Its times; an adaptive sampler takes the ends."""
    settings: dict[str, Any]
    """What it depends on, for the record."""
    denoises: bool
    """A Tweedie step follows: E[x_0 | x_eps] is returned."""
    adaptive: bool = False
    """It chooses its times between the first and the last."""
    any_time: bool = True
    """It asks for the score at times between the levels of a discretely trained network."""
    note: str = ""
    """What was set and is not read, for whoever draws to say; empty if nothing."""


class Problem(NamedTuple):
    """What a sampler is built from."""

    options: Any
    """config.sampling."""
    sde: SDE
    variance: OptimalVariance | None
    """The score model's denoising errors: see generation/denoising_errors.py."""
    from_noise: bool = False
    """It can begin at T, also where the log-SNR is infinite there."""

    @property
    def latest(self) -> float:
        """The latest time at which it can begin."""
        return self.sde.T if self.from_noise else self.sde.signal_end

    @property
    def t_start(self) -> float:
        """sampling.t_start, or the latest time if that is 0."""
        options, T = self.options, self.latest
        t_start = options.t_start or T
        if not options.eps < t_start <= T:
            raise ConfigError(
                f"sampling.t_start={options.t_start}: expected a time between sampling.eps={options.eps} and T={T}, "
                "or 0 for T"
            )
        return t_start

    @property
    def small_steps(self) -> str:
        """The grid that suits steps of the reverse SDE or the flow, for `auto`: uniform, unless time is too fast at its start.

        Where alpha goes to 0, as in `cosine`, its rate f is unbounded. The first of equal steps then divides x by a small
        ratio of alphas, or multiplies it by 1 + |f| dt, and with it the error of the network's noise, which no later step of an ODE
        mends and a bounded network of an SDE does not either. The grid does not depend on the number of steps.
        """
        return "log_snr" if self.starts_fast else "uniform"

    @property
    def starts_fast(self) -> bool:
        """Whether alpha changes too fast at the first time for equal steps of t."""
        fastest = jnp.abs(self.sde.drift_coefficient(jnp.asarray(self.t_start)))
        return not fastest * (self.t_start - self.options.eps) <= FASTEST

    @property
    def ends_in_noise(self) -> bool:
        """Whether the last of equal steps of t leads out of noise that is seen: of 1,000 of `edm`, whose t is sigma, from sigma = .08.

        What such a step leaves, no further one mends: Euler's adds noise of sqrt(2) sigma, an ancestral one a blur.
        """
        eps = self.options.eps
        times = jnp.asarray([eps + (self.t_start - eps) / USUAL_STEPS, eps])
        before, after = jnp.exp(-0.5 * self.sde.log_snr(times))
        return bool(before - after > SEEN)

    def grid_name(self, suited: str = "uniform") -> str:
        """sampling.grid.name, or for AUTO the one that suits the sampler: not equal steps of t where the last would be too long."""
        name = choose("sampling.grid.name", self.options.grid.name, (AUTO, *GRIDS))
        if name != AUTO:
            return name
        return "rho" if suited == "uniform" and self.ends_in_noise else suited

    def grid(self, num_steps: int, suited: str = "uniform") -> Points:
        """num_steps steps of sampling.grid."""
        return build_grid(
            self.grid_name(suited),
            self.options.grid,
            self.sde,
            self.t_start,
            self.options.eps,
            num_steps,
            self.variance,
        )

    def ends(self) -> Points:
        """The first and last time only, of samplers that choose those between."""
        return jnp.asarray([self.t_start, self.options.eps])


def last_step(options: Any, ways: tuple[str, ...] = ("tweedie",), by: str = "") -> str:
    """How the samples are denoised at the end: by one of the ways that the sampler has, or "none". `by` names another than the options'."""
    if options.noise_removal_by not in ways:
        raise ConfigError(
            f"sampling.noise_removal_by={options.noise_removal_by!r}: {by or f'sampling.sampler={options.sampler!r}'} has "
            f"{' and '.join(ways)}; only the steps of pc have a predictor_mean"
        )
    return options.noise_removal_by if options.noise_removal else "none"
