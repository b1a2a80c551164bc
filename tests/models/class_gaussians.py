"""An exact conditional score model: a Gaussian for each class, and one without a class."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array

from score_sde.models.exact import GaussianScore, KnownImage
from score_sde.sde_lib import SDE, expand


@flax.struct.dataclass
class ClassGaussians(KnownImage):
    """Data N(means[k], variances[k] I) of class k; the last is of no class."""

    means: Array
    variances: Array
    sde: SDE = flax.struct.field(pytree_node=False)
    condition: Any = ()

    evaluations = 1

    @property
    def unconditional(self):
        none = len(self.means) - 1
        return self.given(jax.tree.map(lambda label: jnp.full_like(label, none), self.condition))

    def given(self, condition):
        return dataclasses.replace(self, condition=condition)

    def __call__(self, x, t):
        centred, variance, _ = self.components(x, t)
        return -centred / variance

    def denoised(self, x, t):
        centred, variance, label = self.components(x, t)
        kept = expand(self.sde.alpha(t) * self.variances[label], x) / variance
        return expand(self.means[label], x) + kept * centred

    def components(self, x, t):
        label = self.condition["label"] if self.condition else jnp.full(len(x), -1)
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        mean, variance = alpha * self.means[label], alpha**2 * self.variances[label] + sigma**2
        return x - expand(mean, x), expand(variance, x), label

    def alone(self, k, d):
        """The law of class k as a model without conditions, of x (b, d)."""
        mean, variance = self.means[k], self.variances[k]
        return GaussianScore(jnp.full(d, mean), jnp.full(d, variance), jnp.eye(d), self.sde)


def labels(*given):
    return {"label": jnp.asarray(given, jnp.int32)}
