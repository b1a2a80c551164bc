"""A conditional flow for the noise within a level: u = sigmoid(y), y from logistic noise by affine couplings.

    e = logit(a), a uniform;   y = g(e; v);   u = sigmoid(y)
    ln q(u|v) = ln f(e) - ln |det dg/de| - ln f(y),   f(y) = sigmoid(y) sigmoid(-y)

because f is both the density of e and du/dy. Each coupling moves every other number, on a checkerboard over rows, columns
and channels, to exp(s) y + b, with s and b from the numbers that stay and from v; the next one moves the others. The Jacobian is
triangular and its determinant exact, whatever arithmetic s and b were computed in. The last layer of each coupling starts at
zero: y = e, so that the flow starts as uniform noise with ln q = 0 and can only gain by training.

Only this direction is needed: noise is drawn with its density, and no u is ever asked for its own. For a density that varies
little across a cell, q ~ exp(g u), the two numbers s and b of a pixel fit the slope and the curvature of ln q. Flow++ has mixtures
of logistics in their place (Ho et al. 2019, Sec. 3.2), with the same bound.
"""

from __future__ import annotations

from typing import Any, cast

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from score_sde.likelihood.dequantization.dequantizer import uniform
from score_sde.shapes import Array, Elements, Keys, OneKey, PerImage, Pixels, Stored

MAX_LOG_SCALE = 2.0  # of one coupling: a bad update cannot throw the next ones out of range
# Half a step of float32 uniform numbers, in place of 0, whose logit is infinite.
SMALLEST = 2.0**-24


def checkerboard(shape: tuple[int, ...], parity: int) -> Bool[np.ndarray, "h w c"]:
    """True where row + column + channel has this parity."""
    return np.indices(shape).sum(axis=0) % 2 == parity


def log_logistic(y: Elements) -> Elements:
    """ln f(y) = ln sigmoid(y) + ln sigmoid(-y), without overflow at either end."""
    return nn.log_sigmoid(y) + nn.log_sigmoid(-y)


def conv(features: int, zero: bool = False) -> nn.Conv:
    """3x3 convolution that keeps the resolution."""
    init = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
    return nn.Conv(features, (3, 3), kernel_init=init)


def features(images: Stored, num_levels: int, dtype: DTypeLike) -> Float[Array, "b h w 9*c+2"]:
    """What the noise may depend on, from integer levels.

    Where a density lies within a level follows from differences of a few levels, of which 2v/(L - 1) - 1 would show a network
    2/L. So there are also: how far v is from the mean of its neighbourhood, in units of 2 and of 16 levels; and v itself as
    the phase of waves of 8, 32 and 128 levels (Kingma et al. 2021, VDM, App. C, for the same reason). Two channels say where a
    pixel is, which a convolution cannot tell.
    """
    v = images.astype(dtype)
    apart = v - nn.avg_pool(v, (3, 3), padding="SAME", count_include_pad=False)
    phases = [2.0 * jnp.pi * v / period for period in (8, 32, 128)]
    h, w = v.shape[1:3]
    rows, columns = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (h, w))
    places = jnp.asarray(np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1), dtype)
    return jnp.concatenate(
        [
            2.0 * v / (num_levels - 1) - 1.0,
            jnp.tanh(apart / 2.0),
            jnp.tanh(apart / 16.0),
            *map(jnp.sin, phases),
            *map(jnp.cos, phases),
            jnp.broadcast_to(places, (v.shape[0], h, w, 2)),
        ],
        axis=-1,
    )


class Context(nn.Module):
    """What all couplings see of the image, from its features."""

    width: int

    @nn.compact
    def __call__(self, seen: Pixels) -> Float[Array, "b h w {self.width}"]:
        return nn.swish(conv(self.width)(nn.swish(conv(self.width)(seen))))


class Coupling(nn.Module):
    """One affine coupling: the numbers of one parity move, by what those of the other and the context say."""

    width: int
    parity: int

    @nn.compact
    def __call__(self, y: Pixels, context: Float[Array, "b h w f"]) -> tuple[Pixels, Pixels]:
        """The moved y and ln dy'/dy of each number."""
        stays = jnp.asarray(checkerboard(y.shape[1:], self.parity))[None]
        seen = jnp.where(stays, jnp.tanh(0.5 * y), 0.0)  # 2u - 1
        h = nn.swish(conv(self.width)(jnp.concatenate([seen, context], axis=-1)))
        shift, log_scale = jnp.split(conv(2 * y.shape[-1], zero=True)(h), 2, axis=-1)
        log_scale = MAX_LOG_SCALE * jnp.tanh(log_scale / MAX_LOG_SCALE)
        moved = jnp.exp(log_scale) * y + shift
        return jnp.where(stays, y, moved), jnp.where(stays, 0.0, log_scale)


class DequantizationFlow(nn.Module):
    """e -> (u, ln q(u|v)).

    Args:
      num_levels: L, of the images.
      width: channels of the convolutions.
      depth: couplings, at least 2, for every number to be moved.
    """

    num_levels: int
    width: int
    depth: int

    @nn.compact
    def __call__(self, images: Stored, e: Pixels) -> tuple[Pixels, PerImage]:
        """u and ln q in nats, from images of integer levels and logistic noise e."""
        context = Context(self.width)(features(images, self.num_levels, e.dtype))
        y, log_slope = e, jnp.zeros_like(e)
        for k in range(self.depth):
            y, log_scale = Coupling(self.width, k % 2)(y, context)
            log_slope = log_slope + log_scale
        log_q = log_logistic(e) - log_slope - log_logistic(y)
        return nn.sigmoid(y), jnp.sum(log_q.reshape(log_q.shape[0], -1), axis=1)


def init_params(flow: DequantizationFlow, shape: tuple[int, ...], key: OneKey) -> Any:
    """The first parameters, for images of shape (h, w, c); for shapes only: `jax.eval_shape` of it."""
    return flow.init(key, jnp.zeros((1, *shape), jnp.int32), jnp.zeros((1, *shape)))["params"]


@flax.struct.dataclass
class FlowDequantizer:
    """The flow with its parameters. From the same key its noise starts from the uniform dequantizer's."""

    params: Any
    flow: DequantizationFlow = flax.struct.field(pytree_node=False)

    def __call__(self, images: Stored, keys: Keys) -> tuple[Pixels, PerImage]:
        a = jnp.maximum(uniform(images, keys), SMALLEST)
        e = jnp.log(a) - jnp.log1p(-a)
        return cast(tuple[Array, Array], self.flow.apply({"params": self.params}, images, e))
