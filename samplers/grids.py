"""Time grids: num_steps + 1 decreasing times from T, or an earlier time, to eps, independent of the rule that steps along them.

A grid determines where a sampler with fixed steps spends its evaluations. Uniform times suit the reverse SDE; for the ODE
with few steps, equal steps of the log-SNR or of a power of the noise-to-signal ratio are better, as they are denser where
the noise is small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.samplers.schedules import best_times, forward_variance
from score_sde.sde_lib import SDE
from score_sde.shapes import Points, Scalar


def uniform_grid(t_start: float, t_end: float, num_steps: int) -> Points:
    """num_steps + 1 equally spaced times from t_start down to t_end, both included."""
    return jnp.linspace(t_start, t_end, num_steps + 1)


def power_grid(t_start: float, t_end: float, num_steps: int, power: float) -> Points:
    """Times whose power-th root is equally spaced; 2 is the quadratic spacing of Song et al. 2021a, App. D.2."""
    roots = jnp.linspace(t_start ** (1.0 / power), t_end ** (1.0 / power), num_steps + 1)
    return _between(roots**power, t_start, t_end)


def log_snr_grid(
    sde: SDE, t_start: float | Scalar, t_end: float | Scalar, num_steps: int
) -> Points:
    """Equal steps of the log-SNR from t_start to t_end (Lu et al. 2022, Sec. 3.4).

    If the log-SNR is infinite at t_start, the steps are those from `signal_end`, and the first one is longer; likewise for
    the other grids based on the log-SNR.
    """
    _check_end(t_end)
    ends = sde.log_snr(jnp.asarray([jnp.minimum(t_start, sde.signal_end), t_end]))
    log_snrs = jnp.linspace(ends[0], ends[1], num_steps + 1)
    return _between(sde.time_of_log_snr(log_snrs), t_start, t_end)


def noise_power_grid(sde: SDE, t_start: float, t_end: float, num_steps: int, rho: float) -> Points:
    """Equal steps of (sigma/alpha)^(1/rho) from t_start to t_end (Karras et al. 2022, Eq. 5, with rho = 7)."""
    _check_end(t_end)
    last = jnp.asarray([min(t_start, sde.signal_end), t_end])
    ends = jnp.exp(-0.5 / rho * sde.log_snr(last))
    roots = jnp.linspace(ends[0], ends[1], num_steps + 1)
    return _between(sde.time_of_log_snr(-2.0 * rho * jnp.log(roots)), t_start, t_end)


def _check_end(t_end: float | Scalar) -> None:
    """Refuse a last time at which the log-SNR is infinite; a traced one is not known yet."""
    if not isinstance(t_end, jax.core.Tracer) and not t_end > 0:
        raise ConfigError(
            f"t_end={t_end}: expected a time above 0 such as 1e-3, since the log-SNR is infinite at 0"
        )


def _between(times: Points, t_start: float | Scalar, t_end: float | Scalar) -> Points:
    """The times with both ends replaced by the given ones, which the formula reproduces only up to rounding."""
    return times.at[0].set(t_start).at[-1].set(t_end)


def cheapest_grid(
    sde: SDE, t_start: float, t_end: float, num_steps: int, candidates: int, errors: OptimalVariance
) -> Points:
    """The times, among `candidates` at equal steps of the log-SNR, that lose least of the likelihood (Watson et al. 2021)."""
    latest = min(t_start, sde.signal_end)
    fine = np.asarray(log_snr_grid(sde, latest, t_end, candidates - 1), np.float64)[::-1]
    at_fine = np.asarray(errors.error(sde, jnp.asarray(fine)))
    times = best_times(sde, fine, at_fine, forward_variance, num_steps)
    return _between(jnp.asarray(times), t_start, t_end)


Grid = Callable[[Any, SDE, float, float, int, Any], Points]
"""(options, sde, t_start, t_end, num_steps, denoising errors or None) -> (num_steps + 1,)."""

AUTO = "auto"  # the grid that suits the sampler (samplers/configured.py)
GRIDS: dict[str, Grid] = {
    "uniform": lambda options, sde, start, end, n, _: uniform_grid(start, end, n),
    "quadratic": lambda options, sde, start, end, n, _: power_grid(start, end, n, 2.0),
    "log_snr": lambda options, sde, start, end, n, _: log_snr_grid(sde, start, end, n),
    "rho": lambda options, sde, start, end, n, _: noise_power_grid(sde, start, end, n, options.rho),
    "times": lambda options, sde, start, end, n, _: jnp.asarray(options.times, jnp.float32),
    "dp": lambda options, sde, start, end, n, errors: cheapest_grid(
        sde, start, end, n, options.candidates, errors
    ),
}
BASED_ON_LOG_SNR = ("log_snr", "rho")


def build_grid(
    name: str,
    options: Any,
    sde: SDE,
    t_start: float,
    eps: float,
    num_steps: int,
    errors: OptimalVariance | None = None,
) -> Points:
    """Build the grid of this name, with the options of `config.sampling.grid`.

    It runs from t_start, which is T unless sampling starts from images, to eps. A list of times has its own number of steps,
    which must equal num_steps; "dp" chooses by the score model's denoising errors.

    Raises:
      ConfigError: an unknown name, a rho that is not positive, or times that do not decrease from t_start to eps.
    """
    build = choose("sampling.grid.name", name, GRIDS)
    if num_steps < 1:
        raise ConfigError(f"{num_steps} steps to sampling.eps: expected at least 1")
    if name == "rho" and not options.rho > 0:
        raise ConfigError(f"sampling.grid.rho={options.rho}: expected a positive number, such as 7")
    if options.times and name != "times":
        raise ConfigError(
            f"sampling.grid.times is used only with sampling.grid.name='times', not {name!r}; "
            "set that name, or remove the times"
        )
    if name == "times" and len(options.times) != num_steps + 1:
        raise ConfigError(
            f"sampling.grid.times has {len(options.times)} times, which are {len(options.times) - 1} steps, but "
            f"num_steps={num_steps}; change num_steps, or give {num_steps + 1} times"
        )
    if name == "dp" and not num_steps < options.candidates:
        raise ConfigError(
            f"sampling.grid.candidates={options.candidates}: expected more than the {num_steps} steps to choose for"
        )
    if name == "dp" and errors is None:
        raise ConfigError("sampling.grid.name='dp' needs the score model's denoising errors")
    grid = build(options, sde, t_start, eps, num_steps, errors)
    times = np.asarray(grid)
    ends_meet = np.allclose(times[[0, -1]], [t_start, eps], rtol=1e-6, atol=0)
    if not (np.all(np.diff(times) < 0) and ends_meet):
        raise ConfigError(
            f"the times of sampling.grid.name={name!r} must fall from {t_start} to sampling.eps={eps} "
            f"with every step, but they are {_in_words(times)}; use fewer steps, or another grid"
        )
    return grid


def _in_words(times: np.ndarray) -> str:
    """The times as text; of many only the first and last ones."""
    ends = [times] if len(times) <= 8 else [times[:4], times[-3:]]
    return ", ..., ".join(", ".join(f"{t:.7g}" for t in part) for part in ends)
