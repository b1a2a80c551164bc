"""A Monte Carlo estimate of a bound on -ln P(v), which training minimizes and comparison reports."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from jax import Array, vmap
from jax.random import normal

from score_sde.keys import TrainingKeys, image_keys
from score_sde.likelihood.bound import bound_sample
from score_sde.likelihood.dequantization.dequantizer import Dequantizer
from score_sde.models.score import ScoreModel
from score_sde.sde_lib import SDE
from score_sde.spaces import Space, build_space
from score_sde.training.draws import low_discrepancy


@dataclasses.dataclass(frozen=True)
class IntegerImageBound:
    """The variational bound of the reverse SDE (likelihood/bound.py) for images dequantized with noise from q."""

    sde: SDE
    space: Space  # a space of integer levels
    eps: float  # the time at which the density is evaluated

    def __call__(
        self,
        dequantizer: Dequantizer,
        score: ScoreModel,
        images: Array,
        key: Array,
        places: Array,
        of: int,
    ) -> Array:
        """One unbiased estimate of E_q[bound on -ln p(x(v + u)) + ln q(u|v)] per image, in nats of x, (b,).

        Args:
          images: integer levels (b, h, w, c).
          key: the random key of a set of `of` images, for everything that is drawn.
          places: positions of these images in that set, int32 (b,); the times of the set are equally spaced in log-SNR.

        Cost: one evaluation of the score per image.
        """
        keys = image_keys(TrainingKeys, key, places)
        u, log_q = dequantizer(images, keys.dequantization)
        x0 = self.space.encode_with(images, u)
        z = vmap(lambda key: normal(key, x0.shape[1:]))(keys.noise)
        t = low_discrepancy(key, keys.time, places, of)
        return bound_sample(score, self.sde, x0, t, z, self.eps) + log_q

    def bits_per_dim(self, nats: np.ndarray, dimension: int) -> np.ndarray:
        """Convert values of `__call__`, in nats, to bits/dim for images of `dimension` numbers."""
        offset = self.space.bits_per_dim_offset
        assert offset is not None  # every space of integer levels has one
        return np.asarray(nats, np.float64) / (dimension * math.log(2)) + offset


def build_bound(config: Any, sde: SDE) -> IntegerImageBound:
    """Build the bound on integer images that a dequantization flow is trained on."""
    return IntegerImageBound(sde, build_space(config), config.likelihood.eps)
