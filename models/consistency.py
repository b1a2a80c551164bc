"""Consistency functions, which map x_t to the point of its flow trajectory at the smallest time eps (Song et al. 2023, Sec. 3).

    f(x_t, t) = x_eps on the trajectory of the probability flow,    f(x, eps) = x.

The velocity v at x_t, which every parameterization gives, determines an image and a noise,

    x_0_hat = (sigma' x - sigma v) / w,    eps_hat = (alpha v - alpha' x) / w,    w = alpha sigma' - sigma alpha',

and f = alpha(eps) x_0_hat + sigma(eps) eps_hat is the state at eps that they compose: a DDIM step of any length. At
t = eps the coefficient of x is 1 and that of v is 0, so every network satisfies the boundary condition. With EDM's preconditioning

    f = c_skip x + c_out F,    c_out = sigma_d (t - eps) / sqrt(sigma_d^2 + t^2),    c_skip = (sigma_d^2 + eps t) / (sigma_d^2 + t^2),

where c_out is that of Song et al. 2023, App. C, and c_skip equals theirs up to terms of order eps.
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
    """The state alpha(s) x_0_hat + sigma(s) eps_hat at s, for the image and noise that x and its velocity at t determine.

    On the straight path this is x - (t - s) v. Where s = t it is x itself, to the bit.
    """
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    alpha_rate, sigma_rate = sde.alpha_rate(t), sde.sigma_rate(t)
    w = alpha * sigma_rate - sigma * alpha_rate
    kept = (sde.alpha(s) * sigma_rate - sde.sigma(s) * alpha_rate) / w
    moved = (sde.sigma(s) * alpha - sde.alpha(s) * sigma) / w
    # At s = t they are 1 and 0, but a fused multiply-add may round them.
    kept, moved = jnp.where(t == s, 1.0, kept), jnp.where(t == s, 0.0, moved)
    return expand(kept, x) * x + expand(moved, x) * velocity


@flax.struct.dataclass
class ConsistencyModel(ScoreWrapper):
    """A network as a model of the consistency function to eps. It has no score: that of its parameterization is meaningless.

    A call of `consistency` costs one network evaluation.
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
    """The error message for a caller that asks a consistency model for its score."""
    return (
        "training.task='consistency': a consistency model predicts where the probability flow ends and has no score, hence no likelihood, no "
        "guidance and no other sampler; sample from it with --mode sample --sampler consistency"
    )


def consistency_of(model: Any) -> Any:
    """Return the consistency function (x, t) -> x_eps of a model.

    Raises:
      ConfigError: the model is not a consistency model.
    """
    found = getattr(model, "consistency", None)
    if found is None:
        raise ConfigError(
            "sampling.sampler='consistency' samples from a network trained with training.task='consistency'; use another sampler, or "
            "such a network"
        )
    return found


def average_velocity_of(model: Any) -> Any:
    """Return the average velocity (x, r, t) -> (x - x_r) / (t - r) of a model.

    Raises:
      ConfigError: the model has none.
    """
    found = getattr(model, "average_velocity", None)
    if found is None:
        raise ConfigError(
            "sampling.sampler='mean_flow' samples from a network trained with training.task='mean_flow'; use another sampler, or such "
            "a network"
        )
    return found
