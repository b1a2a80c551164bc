"""Group normalisation (Wu and He 2018), with a faster way to compute its statistics on CPUs.

    y = scale (x - mean) / sqrt(var + eps) + bias,

where mean and var are taken over the pixels and channels of each group of adjacent channels in each image.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.shapes import Array, Pixels

EPSILON = 1e-6
Means = Float[Array, "b 1 1 c"]


class GroupNorm(nn.Module):
    """Group normalisation with the parameters of `flax.linen.GroupNorm`, and statistics in float32 or wider.

    `groups` must divide the number of channels.
    """

    groups: int
    dtype: DTypeLike | None = None
    """Dtype of the output; None: that of the statistics."""
    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x: Pixels) -> Float[Array, "b h w c"]:
        c = x.shape[-1]
        scale, bias = (
            self.param(name, initial, (c,), jnp.float32)[None, None, None, :]
            for name, initial in (("scale", nn.initializers.ones), ("bias", nn.initializers.zeros))
        )
        y = normalised(x, scale, bias, self.groups, self.epsilon)
        return y.astype(self.dtype or y.dtype)


@partial(jax.jit, static_argnames=("groups", "epsilon"))
def normalised(
    x: Pixels, scale: Array, bias: Array, groups: int, epsilon: float = EPSILON
) -> Float[Array, "b h w c"]:
    """Compute y in float32 or wider. Jitted so that the dozens of norms in a network are traced once per shape."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    # E[x^2] - E[x]^2 would save a pass, but cancels in float32 where |mean| >> std: at mean 1e4, std 1 nothing is left.
    centred = x - group_mean(x, groups)
    variance = group_mean(jnp.square(centred), groups)
    return centred * (lax.rsqrt(variance + epsilon) * scale) + bias


def group_mean(x: Pixels, groups: int) -> Means:
    """The mean over the pixels and channels of each group, repeated for all channels of the group.

    XLA's CPU compiler fuses the broadcast of a group's mean to its channels into every loop that reads it, and a loop that
    looks up channel // size for each element is not vectorised. It does not fuse matrix products, so on CPUs one does the
    broadcast, and a norm takes half the time (docs/speed.md). On an accelerator it would be one more kernel.
    """
    by_channel, by_group = (partial(f, groups=groups) for f in (_by_channel, _by_group))
    return lax.platform_dependent(x, cpu=by_channel, default=by_group)


def _by_channel(x: Pixels, groups: int) -> Means:
    b, c = x.shape[0], x.shape[-1]
    means = x.mean(axis=(1, 2)).reshape(b, groups, c // groups).mean(axis=2)
    group = jnp.arange(c) // (c // groups)
    member = (jnp.arange(groups)[:, None] == group[None, :]).astype(x.dtype)
    # Each sum has only one nonzero term, so the copy is exact, whatever the order of summation and the batch size.
    return jnp.dot(means, member, precision="highest")[:, None, None, :]


def _by_group(x: Pixels, groups: int) -> Means:
    b, h, w, c = x.shape
    means = x.reshape(b, h, w, groups, c // groups).mean(axis=(1, 2, 4))
    copied = jnp.broadcast_to(means[:, :, None], (b, groups, c // groups))
    return copied.reshape(b, 1, 1, c)
