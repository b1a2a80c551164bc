"""The predictor-corrector loop of the published code, reproduced exactly (score_sde's `get_pc_sampler`).

Published figures come from it, and this file exists to reproduce them; otherwise use predictor_corrector.py. The
differences:

- N times from T to eps, and at each of them the corrector first, then the predictor;
- steps of the published chain of N levels (DDPM for VP, SMLD for VE) at the index trunc(t (N - 1) / T), and
  Euler-Maruyama steps of length T/N, which is not the spacing of the times;
- the Langevin step size comes from norms averaged over the batch, so an image depends on the others in it;
- "denoising" omits the noise of the last predictor step, and has no effect if the predictor is "none".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel, score_at
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import batch_times
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE, Chain, NoDiscreteForm
from score_sde.shapes import Images, Index, Points, Scalar


class Level(NamedTuple):
    """One step of a discretized process at a given time, x_{i+1} = a x_i + G z, with the other quantities that the updates use."""

    a: Scalar
    variance: Scalar
    """G^2."""
    ancestral_std: Scalar
    """Standard deviation of the noise that ancestral sampling adds."""


def chain_level(chain: Chain, sde: SDE, t: Scalar) -> Level:
    """The level of a published chain at time t, with a truncated index."""
    i = (t * (chain.num_scales - 1) / sde.T).astype(jnp.int32)
    return Level(chain.step_alphas[i], jnp.square(chain.step_sigmas[i]), chain.ancestral_sigmas[i])


def euler_level(sde: SDE, t: Scalar, dt: float) -> Level:
    """An Euler-Maruyama step of length dt; without a chain ancestral sampling is refused, so its standard deviation is NaN."""
    a, variance = 1.0 + sde.drift_coefficient(t) * dt, sde.diffusion_squared(t) * dt
    return Level(a, variance, jnp.full_like(variance, jnp.nan))


Update = Callable[[Level, Images, Images, Images], tuple[Images, Images]]
"""(level, x, score, z) -> x and its mean after one predictor step."""


def reverse_diffusion(level: Level, x: Images, score: Images, z: Images) -> tuple[Images, Images]:
    """One step of the published reverse diffusion predictor: the state and its mean."""
    mean = (2.0 - level.a) * x + level.variance * score
    return mean + jnp.sqrt(level.variance) * z, mean


def probability_flow(level: Level, x: Images, score: Images, z: Images) -> tuple[Images, Images]:
    """Reverse diffusion of the probability-flow ODE: half the score, no noise."""
    mean = (2.0 - level.a) * x + 0.5 * level.variance * score
    return mean, mean


def ancestral_sampling(level: Level, x: Images, score: Images, z: Images) -> tuple[Images, Images]:
    """Ancestral sampling with DDPM's variance beta for VP and SMLD's posterior variance for VE: the state and its mean."""
    mean = (x + level.variance * score) / level.a
    return mean + level.ancestral_std * z, mean


# Steps of the process's chain, if it has one. Euler-Maruyama is reverse diffusion of the Euler-Maruyama discretization.
PREDICTORS: dict[str, Update | None] = {
    "euler_maruyama": reverse_diffusion,
    "reverse_diffusion": reverse_diffusion,
    "ancestral_sampling": ancestral_sampling,
    "probability_flow": probability_flow,
    "none": None,
}
CORRECTORS = ("langevin", "ald", "none")


class State(NamedTuple):
    """The state x, and its mean before the noise of the last predictor step was added."""

    x: Images
    mean: Images


@dataclasses.dataclass(frozen=True)
class PublishedPredictorCorrector(SteppedSampler):
    """The published sampler with `num_scales` = N steps, one at each level of the chain.

    With `axis_name` (under pmap) the norms of the Langevin step are also averaged over that axis, as in the published JAX
    code.

    Raises:
      ConfigError: an unknown name, nothing to do, or what the published code cannot do either: ancestral sampling or a
        corrector for a process without a chain.
    """

    sde: SDE
    predictor: str
    corrector: str
    num_scales: int
    snr: float = 0.16
    corrector_steps: int = 1
    noise_removal: bool = True
    axis_name: str | None = None

    fewest_times = 1  # a step is taken at each time, the last one included

    def __post_init__(self):
        for field, value, choices in (
            ("predictor", self.predictor, PREDICTORS),
            ("corrector", self.corrector, CORRECTORS),
        ):
            if value not in choices:
                raise ConfigError(
                    f"sampling.pc.{field}={value!r} is not one of the published sampler's: "
                    f"{', '.join(choices)}; --sampler pc has more"
                )
        if self.predictor == self.corrector == "none":
            raise ConfigError("sampling.pc.predictor and sampling.pc.corrector are both 'none'")
        needs_chain = self.predictor == "ancestral_sampling" or self.corrector != "none"
        if needs_chain and self.chain is None:
            raise ConfigError(
                f"{type(self.sde).__name__} has no published chain, which the published "
                f"{self.predictor} with corrector {self.corrector} needs; use --sampler pc, which does not"
            )

    @property
    def chain(self) -> Chain | None:
        """The published chain of N levels; None for a process that has none."""
        try:
            return self.sde.chain(self.num_scales)
        except NoDiscreteForm:
            return None

    def times(self, eps: float) -> Points:
        """The N times from T, or where the signal ends, to eps, both included."""
        return jnp.linspace(self.sde.signal_end, eps, self.num_scales)

    def num_steps(self, grid: Points) -> int:
        """The number of steps: one at each time of the grid, including the last."""
        return grid.shape[0]

    def nfe(self, num_steps: int) -> int:
        """Evaluations of the score model. The published count includes one per step for the predictor even if it is "none"."""
        correct = 0 if self.corrector == "none" else self.corrector_steps
        return num_steps * (correct + int(self.predictor != "none"))

    def begin(self, x: Images) -> State:
        return State(x, x)

    def step(self, score: ScoreModel, grid: Points, noise: Noise, k: Index, state: State) -> State:
        """Take the corrector steps, then the predictor step, all at grid[k]."""
        x = self.correct(score, grid[k], noise, k, state.x)
        return self.predict(score, grid[k], noise(k, 0, x), x)

    def predict(self, score: ScoreModel, t: Scalar, z: Images, x: Images) -> State:
        update = PREDICTORS[self.predictor]
        if update is None:
            return State(x, x)
        chain = None if self.predictor == "euler_maruyama" else self.chain
        if chain is None:
            level = euler_level(self.sde, t, self.sde.signal_end / self.num_scales)
        else:
            level = chain_level(chain, self.sde, t)
        return State(*update(level, x, score_at(score, x, batch_times(x, t)), z))

    def correct(self, score: ScoreModel, t: Scalar, noise: Noise, k: Index, x: Images) -> Images:
        if self.corrector == "none":
            return x
        alpha = jnp.square(chain_level(self.sde.chain(self.num_scales), self.sde, t).a)
        for j in range(self.corrector_steps):
            z = noise(k, 1 + j, x)
            gradient = score_at(score, x, batch_times(x, t))
            length = self.sde.sigma(t) if self.corrector == "ald" else self._ratio(z, gradient)
            step = 2.0 * alpha * jnp.square(self.snr * length)
            x = x + step * gradient + jnp.sqrt(2.0 * step) * z
        return x

    def _ratio(self, z: Images, gradient: Images) -> Scalar:
        """Mean norm of the noise divided by the mean norm of the score, over the batch and all devices."""

        def mean_norm(a: Images) -> Scalar:
            norm = jnp.mean(jnp.linalg.norm(a.reshape(a.shape[0], -1), axis=1))
            return norm if self.axis_name is None else jax.lax.pmean(norm, self.axis_name)

        return mean_norm(z) / mean_norm(gradient)

    def result(self, state: State) -> Images:
        return state.mean if self.noise_removal else state.x
