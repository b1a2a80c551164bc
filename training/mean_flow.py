"""The MeanFlow loss (Geng et al. 2025), which trains the average velocity of the probability flow; one number per image.

Let x_r be the point to which the flow takes x_t from t back to r. The average velocity, and the identity by which it is learned, are

    u(x_t, r, t) = (x_t - x_r) / (t - r),    u = v - (t - r) (v . grad u + du/dt)    (Eq. 3 and 6),

where the second follows by multiplying the first by t - r and differentiating along the flow's trajectory with velocity v. The loss
replaces v by the conditional velocity v_c of an image and its noise, whose mean given x_t is v. The derivative is a single
Jacobian-vector product, and no gradient passes through it:

    L = w R[(u - stop_gradient(v_c - (t - r) (v_c . grad u + du/dt)))^2]    (Eq. 10).

For r = t this is flow matching. For the exact u the remaining error is (v - v_c)(1 - (t - r) grad u): the part of v_c that x_t does not
determine, contracted by the flow from t to r.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.keys import TrainingKeys
from score_sde.sde_lib import expand
from score_sde.shapes import Array, Images, Keys, PerImage
from score_sde.training.draws import uniform
from score_sde.training.losses import FlowMatching, of_image
from score_sde.training.objective import Objective

OFFSET = 1e-3
"""The constant c of the weight (e + c)^-p (Eq. 22 of the paper)."""


@dataclasses.dataclass(frozen=True)
class MeanFlow(FlowMatching):
    """The loss at pairs of times r <= t; calling it directly gives flow matching, the case r = t.

    Args:
      ratio: the fraction of images with r < t, where t and r are the later and the earlier of two times from the density. The others
        have r = t.
      power: p of the weight (e + c)^-p of an image's squared error e; no gradient passes through the weight.

    Cost: one network evaluation with a gradient, and one Jacobian-vector product.
    """

    ratio: float = 0.25
    power: float = 0.0

    def of_pairs(
        self,
        score_model: Any,
        x0: Images,
        u: PerImage,
        u_other: PerImage,
        apart: Array,
        z: Images,
        dropout_keys: Keys | None = None,
    ) -> PerImage:
        """Return the loss with t and r the later and earlier of the times selected by u and u_other, or both by u unless `apart` (b,)."""
        one, other = self.times.at(u), self.times.at(u_other)
        t = jnp.where(apart, jnp.maximum(one, other), one)
        r = jnp.where(apart, jnp.minimum(one, other), one)
        weight = self._weight(one) * jnp.where(apart, self._weight(other), 1.0)
        error = self.of_interval(score_model, x0, r, t, z, dropout_keys)
        return weight * error * jax.lax.stop_gradient(error + OFFSET) ** -self.power

    def _weight(self, t: PerImage) -> PerImage:
        return self.times.correction(t) * self.weighting(t)

    def of_interval(
        self,
        score_model: Any,
        x0: Images,
        r: PerImage,
        t: PerImage,
        z: Images,
        dropout_keys: Keys | None = None,
    ) -> PerImage:
        """Return R of the squared error of u(x_t, r, t), without weights."""
        given = () if dropout_keys is None else (dropout_keys,)

        def average(x: Images, t: PerImage) -> Images:
            return score_model.average_velocity(x, r, t, *given)

        mean, sigma = self.sde.marginal(x0, t)
        v = self.sde.velocity(x0, z, t)
        x = mean + expand(sigma, x0) * z
        u, rate = jax.jvp(average, (x, t), (v, jnp.ones_like(t)))
        target = jax.lax.stop_gradient(v - expand(t - r, x) * rate)
        return of_image(jnp.square(u - target), self.reduce_mean)


@dataclasses.dataclass(frozen=True)
class MeanFlowObjective(Objective):
    """Samples the pairs of times, using keys derived from each image's time key."""

    loss: MeanFlow

    def loss_of(
        self,
        model: Any,
        x0: Array,
        u: Array,
        z: Array,
        keys: TrainingKeys,
        dropout_keys: Array | None,
    ) -> Array:
        u_other, apart = self.others(keys)
        return self.loss.of_pairs(model, x0, u, u_other, apart, z, dropout_keys)

    def others(self, keys: TrainingKeys) -> tuple[Array, Array]:
        """The u (b,) of the second time of each image, and whether it differs from the first."""

        def other(key: Array) -> tuple[Array, Array]:
            other, apart = jax.random.split(jax.random.fold_in(key, 1))
            return uniform(other), jax.random.bernoulli(apart, self.loss.ratio)

        return jax.vmap(other)(keys.time)

    def noisiest(self, u: Array, keys: TrainingKeys) -> Array:
        u_other, apart = self.others(keys)
        return jnp.where(apart, jnp.maximum(u, u_other), u)
