"""Losses of consistency training and distillation (Song et al. 2023), as improved by Song & Dhariwal 2024 (iCT), one per image.

The time from eps to the end is divided into N intervals at equal steps of rho^(1/7), rho = sigma/alpha (Karras et al. 2022, Eq. 5).
Sample a time from the configured density, and let s and t be the lower and upper end of its interval. With the consistency function f,

    L = w / (rho_t - rho_s) M[f(x_t, t) - stop_gradient f(x_s, s)],    x_t = alpha_t x_0 + sigma_t z,

where M is a squared or pseudo-Huber distance. There are two ways to get the neighbor x_s of x_t:

    training        x_s = alpha_s x_0 + sigma_s z, with the same image and noise (Eq. 10)
    distillation    x_s from x_t by a step of Heun's method along the flow of a teacher's score (Eq. 8)

In distillation from the exact score, the exact f changes only by the error of that step, O(1/N^3). In training from data it also changes
by the part of z that x_t does not determine, and only the mean of this change vanishes as 1/N. The target is the network itself,
without an EMA (iCT, Sec. 3.2).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.models.score import bind, condition_of, predicted_noise
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Elements, Images, Keys, PerImage, Scalar
from score_sde.training.losses import of_image
from score_sde.training.times import Times
from score_sde.training.weightings import Weighting

POWER = 7.0
"""The exponent of the time grid: equal steps of rho^(1/7)."""


@dataclasses.dataclass(frozen=True)
class Intervals:
    """The division of time from eps to the end into N = `count` intervals; `count` may be traced."""

    sde: SDE
    eps: float
    count: Array | int

    def root(self, t: Elements) -> Elements:
        """Return rho^(1/7) at t."""
        return jnp.exp(-0.5 / POWER * self.sde.log_snr(t))

    def _ends(self, dtype: Any) -> tuple[Scalar, Scalar]:
        first, last = self.root(jnp.asarray([self.eps, self.sde.signal_end], dtype))
        return first, last

    def cut(self, number: Elements) -> Elements:
        """Return the lower end of interval `number`; for 0 this is bitwise eps, for N the end of time."""
        first, last = self._ends(number.dtype)
        root = first + number / self.count * (last - first)
        t = self.sde.time_of_log_snr(-2.0 * POWER * jnp.log(root))
        t = jnp.where(number == self.count, self.sde.signal_end, t)
        return jnp.where(number == 0, self.eps, t)

    def around(self, t: PerImage) -> tuple[PerImage, PerImage]:
        """Return the lower and the upper end of the interval that contains t."""
        first, last = self._ends(t.dtype)
        number = jnp.floor(self.count * (self.root(t) - first) / (last - first))
        number = jnp.clip(number, 0, self.count - 1)
        return self.cut(number), self.cut(number + 1)


def doubled(first: int, last: int, step: Array | int, n_iters: int) -> Array:
    """Return N = min(first 2^floor(k / K), last) for the update after k = `step` updates, int32 (iCT, Eq. 6).

    K is chosen so that the doublings, including the one to `last`, are spread evenly over training.
    """
    doublings = math.ceil(math.log2(last / first))
    times = jnp.minimum(step // max(n_iters // (doublings + 1), 1), doublings)
    return jnp.minimum(first * 2**times, last)


def heun(sde: SDE, score: Any, x: Images, t: PerImage, s: PerImage) -> Images:
    """Move x from t to s by one step of Heun's method in rho, for d(x/alpha)/drho = eps_hat; two evaluations of the score."""
    rho, rho_end = (jnp.exp(-0.5 * sde.log_snr(of)) for of in (t, s))
    rise, alpha_end = expand(rho_end - rho, x), expand(sde.alpha(s), x)
    hat = x / expand(sde.alpha(t), x)
    slope = predicted_noise(sde, score(x, t), t)
    end = hat + rise * slope
    slope_there = predicted_noise(sde, score(alpha_end * end, s), s)
    return alpha_end * (hat + 0.5 * rise * (slope + slope_there))


@dataclasses.dataclass(frozen=True)
class ConsistencyLoss:
    """The loss w M[f(x_t, t) - f(x_s, s)] / (rho_t - rho_s), with training times of any density.

    The objective is its mean over uniform times. The score model must have a method `consistency` (models/consistency.py).

    Args:
      intervals: the N time intervals.
      huber: c of the pseudo-Huber distance sqrt(R[d^2] + c^2 R[1]) - c sqrt(R[1]), divided by the square root of the dimension;
        0: R[d^2] itself.
      teacher: the score model to distill; None: training from data alone.

    Cost: two network evaluations, one of them with a gradient, and two evaluations of the teacher.
    """

    sde: SDE
    times: Times
    weighting: Weighting
    intervals: Intervals
    huber: float
    reduce_mean: bool
    teacher: Any = None

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        t = self.times.at(u)
        weight = self.times.correction(t) * self.weighting(t)
        return weight * self.between(score_model, x0, *self.intervals.around(t), z, dropout_keys)

    def between(
        self,
        score_model: Any,
        x0: Images,
        s: PerImage,
        t: PerImage,
        z: Images,
        dropout_keys: Keys | None = None,
    ) -> PerImage:
        """Return the loss of the interval from s to t, with w = 1."""
        given = () if dropout_keys is None else (dropout_keys,)
        x = self.noised(x0, t, z)
        target = score_model.consistency(self.neighbour(score_model, x, x0, s, t, z), s, *given)
        difference = score_model.consistency(x, t, *given) - jax.lax.stop_gradient(target)
        rho_s, rho_t = (jnp.exp(-0.5 * self.sde.log_snr(of)) for of in (s, t))
        return self.distance(difference) / (rho_t - rho_s)

    def noised(self, x0: Images, t: PerImage, z: Images) -> Images:
        mean, sigma = self.sde.marginal(x0, t)
        return mean + expand(sigma, x0) * z

    def neighbour(
        self, score_model: Any, x: Images, x0: Images, s: PerImage, t: PerImage, z: Images
    ) -> Images:
        """Return the neighbor x_s of x = x_t."""
        if self.teacher is None:
            return self.noised(x0, s, z)
        return heun(self.sde, bind(self.teacher, condition_of(score_model)), x, t, s)

    def distance(self, difference: Images) -> PerImage:
        """Return M of the difference of each image."""
        square = of_image(jnp.square(difference), self.reduce_mean)
        if not self.huber:
            return square
        c = self.huber if self.reduce_mean else self.huber * (0.5 * difference[0].size) ** 0.5
        return jnp.sqrt(square + c**2) - c

    def log_snr(self, u: PerImage) -> PerImage:
        return self.sde.log_snr(self.times.at(u))
