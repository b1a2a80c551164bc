"""Group normalisation (Wu and He 2018), whose statistics a CPU gets in an order of its own.

    y = scale (x - mean) / sqrt(var + eps) + bias,

mean and var, of each image and each group of adjoining channels, over pixels and the group's channels.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.shapes import Array, Pixels

EPSILON = 1e-6


class GroupNorm(nn.Module):
    """GroupNorm with statistics in float32 or more, and the parameters of `flax.linen.GroupNorm`. `groups` divide the channels."""

    groups: int
    dtype: DTypeLike | None = None
    """Of the output; None: that of the statistics."""

    @nn.compact
    def __call__(self, x: Pixels) -> Float[Array, "b h w c"]:
        c = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (c,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (c,), jnp.float32)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        # E[x^2] - E[x]^2 would save a pass, and cancels in float32 wherever |mean| >> std: at mean 1e4, std 1 nothing is left.
        centred = x - group_mean(x, self.groups)
        variance = group_mean(jnp.square(centred), self.groups)
        scale, bias = (p[None, None, None, :] for p in (scale, bias))
        y = centred * (lax.rsqrt(variance + EPSILON) * scale) + bias
        return y.astype(self.dtype or y.dtype)


def group_mean(x: Pixels, groups: int) -> Float[Array, "b 1 1 c"]:
    """The mean over an image's pixels and the channels of a group, for each channel of it.

    XLA's compiler for CPUs fuses the copying of a group's mean to its channels into every loop that reads it, and a loop
    that looks up channel // size for each element is not vectorised: a norm took three times as long. It fuses no matrix
    product, so there one sums over the groups and copies at once. An accelerator would pay for it with a kernel more.
    """

    def by_channel(x: Array) -> Array:
        group = jnp.arange(x.shape[-1]) // size
        of_same_group = (group[:, None] == group[None, :]).astype(x.dtype)
        sums = jnp.dot(x.mean(axis=(1, 2)), of_same_group, precision="highest")
        return (sums / size)[:, None, None]

    def by_group(x: Array) -> Array:
        b, h, w, c = x.shape
        means = x.reshape(b, h, w, groups, size).mean(axis=(1, 2, 4))
        return jnp.broadcast_to(means[..., None], (b, groups, size)).reshape(b, 1, 1, c)

    size = x.shape[-1] // groups
    return lax.platform_dependent(x, cpu=by_channel, default=by_group)
