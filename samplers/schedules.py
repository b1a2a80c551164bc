"""Time grids of few steps that lose least of the likelihood (Watson et al. 2021).

The bound on the negative log-likelihood of ancestral sampling is a sum over its steps of

    L(t -> s) = E KL( q(x_s | x_t, x_0) || the model's step ) / d    in nats,

plus a term at T and one at the last time, which do not depend on the times in between. Both distributions are Gaussian. In
the terms of optimal_variance.py, the first has variance beta~, the second some v, and the mean square difference of their
means is the missed variance, so

    L(t -> s) = 1/2 [ (beta~ + missed) / v - 1 + ln(v / beta~) ],

which is 1/2 ln(sigma*^2 / beta~) for v = sigma*^2. The best K steps among n given times are therefore a shortest path.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from score_sde.errors import ConfigError
from score_sde.samplers.optimal_variance import missed_variance, posterior_variance
from score_sde.sde_lib import SDE
from score_sde.shapes import Broadcast

Line = Float[np.ndarray, "n"]
Costs = Float[np.ndarray, "n n"]
Variance = Callable[[SDE, Broadcast, Broadcast], Broadcast]
"""(sde, t, s) -> v, elementwise: the variance of the noise that a step from t to s adds."""


def forward_variance(sde: SDE, t: Broadcast, s: Broadcast) -> Broadcast:
    """tau^2, the variance used by predictors.ancestral_forward."""
    return sde.variance_between(s, t)


def step_costs(sde: SDE, times: Line, errors: Line, variance: Variance) -> Costs:
    """L(t_i -> t_j) in nats per dimension, float64; infinite where j >= i.

    Args:
      times: (n,), increasing.
      errors: m = E|eps - eps_hat|^2 / d at each time, (n,).
      variance: that of the sampler: `forward_variance`, `posterior_variance` or the method of an `OptimalVariance`.
    """
    start, end = np.tril_indices(len(times), -1)
    t, s = jnp.asarray(times)[start], jnp.asarray(times)[end]
    best = posterior_variance(sde, t, s)
    given = variance(sde, t, s)
    missed = missed_variance(sde, t, s, jnp.asarray(errors)[start])
    costs = np.full((len(times), len(times)), np.inf)
    costs[start, end] = 0.5 * ((best + missed) / given - 1.0 + jnp.log(given / best))
    return costs


def shortest_path(costs: Costs, num_steps: int) -> tuple[Integer[np.ndarray, "_"], float]:
    """The cheapest path from the last time to the first in exactly `num_steps` steps, and its cost.

    Watson et al. 2021, Alg. 1: O(num_steps n^2), on the host.

    Args:
      costs: of the step between every two of n times, (n, n), as returned by `step_costs`.

    Returns:
      The indices of its times, (num_steps + 1,), from n - 1 down to 0; and the sum of its costs.

    Raises:
      ConfigError: fewer than one step, or more than the times allow.
    """
    if not 1 <= num_steps < len(costs):
        raise ConfigError(
            f"{num_steps} steps along {len(costs)} times: expected 1 to {len(costs) - 1}"
        )
    best, choices = costs[:, 0], []  # from each time to the first, initially in one step
    for _ in range(num_steps - 1):
        through = costs + best[None, :]
        choices.append(np.argmin(through, axis=1))
        best = np.min(through, axis=1)
    path = [len(costs) - 1]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return np.array([*path, 0]), float(best[-1])


def best_times(
    sde: SDE, times: Line, errors: Line, variance: Variance, num_steps: int
) -> Float[np.ndarray, "{num_steps}+1"]:
    """The grid of `num_steps` steps, from the last of increasing times to the first, that loses least."""
    path, _ = shortest_path(step_costs(sde, times, errors, variance), num_steps)
    return np.asarray(times)[path]
