"""`Problem`, the inputs that a sampler is built from, with its times and last step; and `Configured`, the result."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.samplers.grids import AUTO, BASED_ON_LOG_SNR, GRIDS, build_grid
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.record import Sampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Points

USUAL_STEPS = 1000  # usual number of steps of the reverse SDE
FASTEST = 50.0  # |f| times the length of time, up to which equal steps of t are suitable: 10 for VP
LITTLE_SIGNAL = -10.1  # lowest log-SNR of the grids that are based on it; that of VP at T is -10.05
SAME_NOISE = 1e-3  # relative difference of sigma at the first time to that of the prior
SEEN = 0.04  # standard deviation of visible noise: five of 256 levels in [-1, 1]


class Configured(NamedTuple):
    """A sampler that is ready to run."""

    sampler: Sampler
    grid: Points
    """Its times; an adaptive sampler uses only the first and the last."""
    settings: dict[str, Any]
    """The settings that the samples depend on, for the record."""
    denoises: bool
    """Whether a Tweedie step follows, so that E[x_0 | x_eps] is returned."""
    adaptive: bool = False
    """Whether it chooses its own times between the first and the last."""
    any_time: bool = True
    """Whether it evaluates the score at times between the levels of a discretely trained network."""
    note: str = ""
    """A note for the caller to print on options that were set but are not used; empty if none."""


class Problem(NamedTuple):
    """The inputs that a sampler is built from."""

    options: Any
    """config.sampling."""
    sde: SDE
    variance: OptimalVariance | None
    """The score model's denoising errors: see generation/denoising_errors.py."""
    from_noise: bool = False
    """Whether it can start at T even if the log-SNR is infinite there."""
    whole: bool = False
    """Whether every grid covers all times up to `latest`, as for encoding images."""

    @property
    def latest(self) -> float:
        """The latest time at which the sampler can start."""
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

    def first_time(self, grid: str) -> float:
        """The first time of the grid of this name: `t_start`, or from the prior on a grid based on the log-SNR one with a little signal.

        Where alpha is 5e-5, as at the end of `cosine`, the data prediction magnifies an error of the network's noise 20,000 times, and
        the first of a few long steps in the log-SNR extrapolate it. The prior is as good an approximation where a little signal
        is left, if sigma is the same there, unlike that of `linear` or VE.
        """
        if self.options.t_start or self.whole or grid not in BASED_ON_LOG_SNR:
            return self.t_start
        time = self.sde.time_of_log_snr(jnp.asarray(LITTLE_SIGNAL))
        first = min(float(time), self.t_start)
        ratio = float(self.sde.sigma(jnp.asarray(first)) / self.sde.prior_std)
        return first if abs(ratio - 1) <= SAME_NOISE else self.t_start

    @property
    def small_steps(self) -> str:
        """The grid that `auto` selects for steps of the reverse SDE or the flow: uniform, unless the drift is too large at the start.

        Where alpha goes to 0, as for `cosine`, its rate f is unbounded. The first of equal steps then multiplies x by the inverse of
        a small ratio of alphas, or by 1 + |f| dt, and the error of the network's noise with it. No later step corrects that: not
        of an ODE, nor of an SDE with a network whose noise prediction is bounded. The choice does not depend on the number of steps.
        """
        return "log_snr" if self.starts_fast else "uniform"

    @property
    def first_rate(self) -> float:
        """|f| at the first time, times the length of time."""
        fastest = jnp.abs(self.sde.drift_coefficient(jnp.asarray(self.t_start)))
        return float(fastest * (self.t_start - self.options.eps))

    @property
    def starts_fast(self) -> bool:
        """Whether alpha changes too fast at the first time for equal steps of t: as it goes to 0, much faster than on average.

        For VP the first rate is twice the average, whatever beta_max; for `trigonometric` fifty times.
        """
        ends = self.sde.log_alpha(jnp.asarray([self.options.eps, self.t_start]))
        average = float(ends[0] - ends[1])
        most = FASTEST if self.first_rate > 10 * average else USUAL_STEPS
        return not self.first_rate <= most

    @property
    def ends_in_noise(self) -> bool:
        """Whether the last of 1,000 equal steps of t would start from visible noise: for `edm`, where t is sigma, from sigma = .08.

        No later step repairs what such a step leaves: Euler's adds noise of sqrt(2) sigma, an ancestral step a blur.
        """
        eps = self.options.eps
        times = jnp.asarray([eps + (self.t_start - eps) / USUAL_STEPS, eps])
        before, after = jnp.exp(-0.5 * self.sde.log_snr(times))
        return bool(before - after > SEEN)

    def grid_name(self, suited: str = "uniform") -> str:
        """sampling.grid.name, or for AUTO the grid that suits the sampler, except equal steps of t where the last would be too long."""
        name = choose("sampling.grid.name", self.options.grid.name, (AUTO, *GRIDS))
        if name != AUTO:
            return name
        return "rho" if suited == "uniform" and self.ends_in_noise else suited

    def grid(self, num_steps: int, suited: str = "uniform") -> Points:
        """The time grid of sampling.grid with this number of steps."""
        name = self.grid_name(suited)
        return build_grid(
            name,
            self.options.grid,
            self.sde,
            self.first_time(name),
            self.options.eps,
            num_steps,
            self.variance,
        )

    def ends(self) -> Points:
        """The first and last time only, for samplers that choose the times in between."""
        return jnp.asarray([self.t_start, self.options.eps])


def last_step(options: Any, ways: tuple[str, ...] = ("tweedie",), by: str = "") -> str:
    """How samples are denoised at the end: by one of the `ways` that the sampler supports, or "none".

    `by` describes the sampler in the error message, in place of sampling.sampler.

    Raises:
      ConfigError: sampling.noise_removal_by is not one of the `ways`.
    """
    if options.noise_removal_by not in ways:
        raise ConfigError(
            f"sampling.noise_removal_by={options.noise_removal_by!r}: {by or f'sampling.sampler={options.sampler!r}'} supports "
            f"{' and '.join(ways)}; only the steps of pc have a predictor_mean"
        )
    return options.noise_removal_by if options.noise_removal else "none"
