"""An exact score model with a condition image: Gaussian data given a measurement of them."""

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from score_sde.sde_lib import SDE, VP


@flax.struct.dataclass
class GaussianGivenImage:
    """Data N(mean, covariance), told A^T (sigma_y^2 I + A A^T)^{-1} y, from which y = A x + sqrt(sigma_y^2 + s^2) n is taken back."""

    mean: Any  # (d,)
    covariance: Any
    matrix: Any  # A, (m, d)
    back: Any  # what was told -> y, (m, d)
    variance: Any  # sigma_y^2
    sde: SDE = flax.struct.field(pytree_node=False)
    condition: Any = ()

    evaluations = 1

    @classmethod
    def of(cls, mean, covariance, a, std, sde):
        told = a.T @ np.linalg.inv(std**2 * np.eye(len(a)) + a @ a.T)
        return cls(mean, covariance, a, np.linalg.pinv(told), std**2, sde)

    def given(self, condition):
        return dataclasses.replace(self, condition=condition)

    def posterior(self, condition):
        """The means (b, d) and covariances (b, d, d) of the data given what is told."""
        told = condition["image"].reshape(len(condition["image"]), -1)
        level = condition.get("image_noise", jnp.zeros(len(told)))
        a, c = self.matrix, self.covariance
        s = (a @ c @ a.T)[None] + (self.variance + level**2)[:, None, None] * jnp.eye(len(a))[None]
        gain = jnp.swapaxes(
            jnp.linalg.solve(s, jnp.broadcast_to(a @ c, (len(told), *a.shape))), 1, 2
        )
        r = told @ self.back.T - (a @ self.mean)[None]
        return self.mean[None] + jnp.einsum("bdm,bm->bd", gain, r), c[None] - gain @ (a @ c)[None]

    def __call__(self, x, t):
        flat = x.reshape(len(x), -1)
        if self.condition:
            mean, covariance = self.posterior(self.condition)
        else:
            mean, covariance = self.mean[None], self.covariance[None]
        alpha, sigma = self.sde.alpha(t)[:, None], self.sde.sigma(t)[:, None]
        at = (
            alpha[..., None] ** 2 * covariance
            + sigma[..., None] ** 2 * jnp.eye(flat.shape[1])[None]
        )
        apart = (flat - alpha * mean)[..., None]
        return -jnp.linalg.solve(at, apart)[..., 0].reshape(x.shape)


class ExactNetwork(nn.Module):
    """The network that has learnt a law under VP: eps_hat = -sigma score. A subclass says which."""

    from_config = classmethod(lambda cls, config: cls())
    conditions = staticmethod(lambda config: ())
    null_condition = staticmethod(lambda condition: jax.tree.map(jnp.zeros_like, condition))

    def law(self):
        raise NotImplementedError

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        nothing = self.param("nothing", nn.initializers.zeros, ())
        t = noise_input / 999.0
        score = self.law().given(condition)(x, t)
        return nothing - VP().sigma(t)[:, None, None, None] * score
