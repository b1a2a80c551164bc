"""Consistency functions: where the probability flow takes x_t at a first time eps (Song et al. 2023, Sec. 3).

    f(x_t, t) = x_eps along the flow's path,    f(x, eps) = x.

A network that says the velocity v of x_t, as every parameterization does, says an image and a noise with it,

    x_0_hat = (sigma' x - sigma v) / w,    eps_hat = (alpha v - alpha' x) / w,    w = alpha sigma' - sigma alpha',

and f is alpha(eps) x_0_hat + sigma(eps) eps_hat, the state that the two make at eps: a step of DDIM, whatever its length. The
coefficient of x is 1 at t = eps and that of v 0, so every network keeps the boundary. With EDM's preconditioning

    f = c_skip x + c_out F,    c_out = sigma_d (t - eps) / sqrt(sigma_d^2 + t^2),    c_skip = (sigma_d^2 + eps t) / (sigma_d^2 + t^2),

where c_out is that of Song et al. 2023, App. C, and c_skip theirs but for terms of order eps.
"""

from __future__ import annotations

from typing import Any

import flax.struct
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreWrapper, flow_velocity, velocity_of
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, Keys, PerImage


def state_at(sde: SDE, x: Images, velocity: Images, t: PerImage, s: PerImage) -> Images:
    """The state at s of the image and the noise of which x and its velocity at t are made: alpha(s) x_0_hat + sigma(s) eps_hat.

    On the straight path x - (t - s) v. x itself, to the bit, where s = t.
    """
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    alpha_rate, sigma_rate = sde.alpha_rate(t), sde.sigma_rate(t)
    w = alpha * sigma_rate - sigma * alpha_rate
    kept = (sde.alpha(s) * sigma_rate - sde.sigma(s) * alpha_rate) / w
    moved = (sde.sigma(s) * alpha - sde.alpha(s) * sigma) / w
    # A fused multiply and add may round the two, where they are 1 and 0.
    kept, moved = jnp.where(t == s, 1.0, kept), jnp.where(t == s, 0.0, moved)
    return expand(kept, x) * x + expand(moved, x) * velocity


@flax.struct.dataclass
class ConsistencyModel(ScoreWrapper):
    """A network's model of the consistency function to the time eps. It has no score: that of its own parameterization means nothing.

    Cost: one evaluation.
    """

    sde: SDE = flax.struct.field(pytree_node=False)
    eps: float = flax.struct.field(pytree_node=False)

    def consistency(self, x: Images, t: PerImage, dropout_keys: Keys | None = None) -> Images:
        """f(x, t), in the units of x."""
        native = velocity_of(self.model)
        given = () if dropout_keys is None else (dropout_keys,)
        v = flow_velocity(self.sde, self.model, x, t) if native is None else native(x, t, *given)
        return state_at(self.sde, x, v, t, jnp.full_like(t, self.eps))

    def __call__(self, x: Images, t: PerImage) -> Images:
        raise ConfigError(no_score())


def no_score() -> str:
    """What is said to whom asks a consistency model for its score."""
    return (
        "training.task='consistency': a consistency model says where the probability flow ends and has no score, hence no likelihood, no "
        "guidance and no other sampler; draw from it by --mode sample --sampler consistency"
    )


def consistency_of(model: Any) -> Any:
    """The consistency function (x, t) -> x_eps of a model.

    Raises:
      ConfigError: it is none.
    """
    found = getattr(model, "consistency", None)
    if found is None:
        raise ConfigError(
            "sampling.sampler='consistency' draws from a network trained by training.task='consistency'; take another sampler, or "
            "such a network"
        )
    return found


def average_velocity_of(model: Any) -> Any:
    """The average velocity (x, r, t) -> (x - x_r) / (t - r) of a model.

    Raises:
      ConfigError: it knows none.
    """
    found = getattr(model, "average_velocity", None)
    if found is None:
        raise ConfigError(
            "sampling.sampler='mean_flow' draws from a network trained by training.task='mean_flow'; take another sampler, or such "
            "a network"
        )
    return found
