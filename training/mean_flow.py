"""MeanFlow (Geng et al. 2025): the average velocity of the probability flow, one number per image.

With x_r where the flow takes x_t from t back to r, the average velocity and what it is learnt by are

    u(x_t, r, t) = (x_t - x_r) / (t - r),    u = v - (t - r) (v . grad u + du/dt)    (Eq. 3 and 6),

the second being the first, times t - r, differentiated along the path of velocity v. The loss has the velocity v_c of the path of an
image and its noise in place of v, whose mean given x_t is v, and no gradient through the derivative, which is one product with the Jacobian:

    L = w R[(u - stop_gradient(v_c - (t - r) (v_c . grad u + du/dt)))^2]    (Eq. 10).

Where r = t this is flow matching. For the exact u what is left is (v - v_c)(1 - (t - r) grad u), the part of v_c that x_t does not tell,
as the flow from t to r shrinks it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.keys import TrainingKeys
from score_sde.sde_lib import expand
from score_sde.shapes import Array, Images, Keys, PerImage
from score_sde.training.losses import FlowMatching, of_image
from score_sde.training.objective import Objective

OFFSET = 1e-3
"""c of the weight (e + c)^-p (Eq. 22 there)."""


@dataclasses.dataclass(frozen=True)
class MeanFlow(FlowMatching):
    """The loss of pairs of times r <= t; called as flow matching is, at r = t, it is that.

    Args:
      ratio: of images with r < t: the later and the earlier of two times of the density. For the others r = t.
      power: p of (e + c)^-p, by which the squared error e of an image is weighted, without a gradient.

    Cost: one evaluation of the network with a gradient, and one product with its Jacobian.
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
        """At the times that u picks, and where `apart` (b,) beside those of u_other."""
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
        """R of the error of u(x_t, r, t), the other factors being 1."""
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
    """Draws the pairs: by keys of each image's own, split off that of its time."""

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
        """The u (b,) of each image's other time, and whether that is not the first."""

        def other(key: Array) -> tuple[Array, Array]:
            other, apart = jax.random.split(jax.random.fold_in(key, 1))
            return jax.random.uniform(other), jax.random.bernoulli(apart, self.loss.ratio)

        return jax.vmap(other)(keys.time)

    def noisiest(self, u: Array, keys: TrainingKeys) -> Array:
        u_other, apart = self.others(keys)
        return jnp.where(apart, jnp.maximum(u, u_other), u)
