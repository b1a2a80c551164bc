"""What a network is told about time and what its output means (score_sde's `get_score_fn`).

| training             | the network is given                     | score                          |
|----------------------|------------------------------------------|--------------------------------|
| continuous, noise    | 999 t / T                                | -out / sigma(t)                |
| continuous, score    | sigma(t) (Fourier embeddings take ln)    | out                            |
| discrete DDPM chain  | t (N - 1) / T, not rounded               | -out / sigma_j, j = trunc(.)   |
| discrete SMLD chain  | round((T - t)(N - 1) / T), 0 = most noise | out                            |

VP, sub-VP and by default every other process predict noise; VE predicts the score, with the division by
sigma inside the network (`model.scale_by_sigma`). 999 gives continuous models the label range of DDPM with
1000 scales, whatever the number of sampling steps; it is a convention that published weights depend on.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from sde_lib import SDE, Chain, expand

MAX_LABEL = 999.0


class Parameterization(Protocol):
    """Maps time to the network's conditioning and its output to a score. Hashable."""

    def condition(self, t: Array) -> Array:
        """What the network is given at times t (b,)."""
        ...

    def score(self, out: Array, t: Array) -> Array:
        """The score of the marginal at t, from the network's output there."""
        ...


@dataclasses.dataclass(frozen=True)
class NoisePrediction:
    """out = eps_hat, the noise of x_t = alpha x_0 + sigma eps."""

    sde: SDE

    def condition(self, t: Array) -> Array:
        return MAX_LABEL * t / self.sde.T

    def score(self, out: Array, t: Array) -> Array:
        return -out / expand(self.sde.sigma(t), out)


@dataclasses.dataclass(frozen=True)
class ScorePrediction:
    """out = score; the network is conditioned on sigma."""

    sde: SDE

    def condition(self, t: Array) -> Array:
        return self.sde.sigma(t)

    def score(self, out: Array, t: Array) -> Array:
        del t
        return out


@dataclasses.dataclass(frozen=True)
class DiscreteNoisePrediction:
    """A network trained with the DDPM loss on the integer levels of a chain."""

    sde: SDE
    chain: Chain

    def condition(self, t: Array) -> Array:
        return t * (self.chain.num_scales - 1) / self.sde.T

    def score(self, out: Array, t: Array) -> Array:
        return self.score_at_level(out, self.condition(t).astype(jnp.int32))

    def condition_at_level(self, level: Array) -> Array:
        return level.astype(jnp.float32)

    def score_at_level(self, out: Array, level: Array) -> Array:
        return -out / expand(self.chain.sigmas[level], out)


@dataclasses.dataclass(frozen=True)
class DiscreteScorePrediction:
    """A network trained with the SMLD loss; its labels count down from the largest noise."""

    sde: SDE
    chain: Chain

    def condition(self, t: Array) -> Array:
        return jnp.round((self.sde.T - t) * (self.chain.num_scales - 1) / self.sde.T)

    def score(self, out: Array, t: Array) -> Array:
        del t
        return out

    def condition_at_level(self, level: Array) -> Array:
        return (self.chain.num_scales - 1 - level).astype(jnp.float32)

    def score_at_level(self, out: Array, level: Array) -> Array:
        del level
        return out


CONTINUOUS: dict[str, Any] = {"noise": NoisePrediction, "score": ScorePrediction}
DISCRETE: dict[str, Any] = {"noise": DiscreteNoisePrediction, "score": DiscreteScorePrediction}


def build_parameterization(config: Any, sde: SDE) -> Any:
    """The parameterization of `config` for networks of this process.

    Raises:
      NoDiscreteForm: `training.continuous=False` for a process without a published chain.
    """
    if config.training.continuous:
        return CONTINUOUS[sde.predicts](sde)
    return DISCRETE[sde.predicts](sde, sde.chain(config.model.num_scales))
