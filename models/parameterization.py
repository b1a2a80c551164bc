"""What a network is told about time and what its output means.

| training             | the network is given                     | score                          |
|----------------------|------------------------------------------|--------------------------------|
| continuous, noise    | 999 t / T                                | -out / sigma(t)                |
| continuous, score    | sigma(t) (Fourier embeddings take ln)    | out                            |
| discrete DDPM chain  | the level of the same log-SNR            | -out / sigma(t)                |
| discrete SMLD chain  | round((T - t)(N - 1) / T), 0 = most noise | out                            |

VP, sub-VP and by default every other process predict noise; VE predicts the score, with the division by
sigma inside the network (`model.scale_by_sigma`). 999 gives continuous models the label range of DDPM with
1000 scales, whatever the number of sampling steps; it is a convention that published weights depend on.

The rows are those of score_sde's `get_score_fn` but for the third, where the published code differs between
its samplers: `model.discrete_labels` has both of its ways.
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
    """A network trained with the DDPM loss on the integer levels of a chain.

    The chain and the process agree in no time but in noise: alpha^2 at the last level is 6.5 % below that at
    T. So a time is answered at the level of the same log-SNR, interpolated between the table's; for a process
    that preserves variance alpha and sigma agree as well. Below the first level the label stays 0.
    """

    sde: SDE
    chain: Chain

    def condition(self, t: Array) -> Array:
        levels = jnp.arange(self.chain.num_scales, dtype=t.dtype)
        log_snrs = 2.0 * (jnp.log(self.chain.alphas) - jnp.log(self.chain.sigmas))
        # jnp.interp takes ascending points, and the log-SNR falls with the level.
        return jnp.interp(-self.sde.log_snr(t), -log_snrs.astype(t.dtype), levels)

    def score(self, out: Array, t: Array) -> Array:
        return -out / expand(self.sde.sigma(t), out)

    def condition_at_level(self, level: Array) -> Array:
        return level.astype(jnp.float32)

    def score_at_level(self, out: Array, level: Array) -> Array:
        return -out / expand(self.chain.sigmas[level], out)


@dataclasses.dataclass(frozen=True)
class PublishedPCNoisePrediction(DiscreteNoisePrediction):
    """As the published predictor-corrector asks: at the label t (N - 1), which is a fraction, but with the
    sigma of the level below it."""

    def condition(self, t: Array) -> Array:
        return t * (self.chain.num_scales - 1) / self.sde.T

    def score(self, out: Array, t: Array) -> Array:
        return self.score_at_level(out, self.condition(t).astype(jnp.int32))


@dataclasses.dataclass(frozen=True)
class PublishedODENoisePrediction(DiscreteNoisePrediction):
    """As the published ODE sampler and likelihood ask, which take every network for a continuous one."""

    def condition(self, t: Array) -> Array:
        return MAX_LABEL * t / self.sde.T


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
DISCRETE_NOISE: dict[str, type[DiscreteNoisePrediction]] = {
    "matched": DiscreteNoisePrediction,
    "published_pc": PublishedPCNoisePrediction,
    "published_ode": PublishedODENoisePrediction,
}


def build_parameterization(config: Any, sde: SDE) -> Any:
    """The parameterization of `config` for networks of this process.

    Raises:
      NoDiscreteForm: `training.continuous=False` for a process without a published chain.
      ValueError: `model.discrete_labels` is unknown.
    """
    labels = config.model.discrete_labels
    if labels not in DISCRETE_NOISE:
        raise ValueError(
            f"model.discrete_labels={labels!r} is unknown; choose one of {', '.join(DISCRETE_NOISE)}"
        )
    if config.training.continuous:
        return CONTINUOUS[sde.predicts](sde)
    chain = sde.chain(config.model.num_scales)
    if sde.predicts == "score":
        return DiscreteScorePrediction(sde, chain)
    return DISCRETE_NOISE[labels](sde, chain)
