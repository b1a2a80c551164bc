"""A conditional flow for dequantization noise: u = sigmoid(y), with y from logistic noise by affine couplings.

    e = logit(a), a uniform;   y = g(e; v);   u = sigmoid(y)
    ln q(u|v) = ln f(e) - ln |det dg/de| - ln f(y),   f(y) = sigmoid(y) sigmoid(-y)

because f is both the density of e and du/dy. Each coupling maps every other number, on a checkerboard over rows, columns
and channels, to exp(s) y + b, where s and b depend on the numbers that stay and on v; the next one maps the others. The Jacobian is
triangular and its determinant is exact, whatever precision s and b are computed in. The last layer of each coupling is
initialized to zero, hence y = e: the flow starts as uniform noise with ln q = 0.

Only this direction is needed: noise is drawn together with its density, and the density of a given u is never evaluated. For a
density that varies little across a cell, q ~ exp(g u), the numbers s and b of a pixel fit the slope and the curvature of ln q.
Flow++ uses mixtures of logistics in their place (Ho et al. 2019, Sec. 3.2), with the same bound.
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

MAX_LOG_SCALE = 2.0  # of one coupling: limits the effect of a bad update on the following couplings
# Half the spacing of float32 uniform numbers; replaces 0, whose logit is infinite.
SMALLEST = 2.0**-24


def checkerboard(shape: tuple[int, ...], parity: int) -> Bool[np.ndarray, "h w c"]:
    """Mask that is True where row + column + channel has this parity."""
    return np.indices(shape).sum(axis=0) % 2 == parity


def log_logistic(y: Elements) -> Elements:
    """ln f(y) = ln sigmoid(y) + ln sigmoid(-y), without overflow at either end."""
    return nn.log_sigmoid(y) + nn.log_sigmoid(-y)


def conv(features: int, zero: bool = False) -> nn.Conv:
    """A 3x3 convolution that keeps the resolution."""
    init = nn.initializers.zeros if zero else nn.initializers.lecun_normal()
    return nn.Conv(features, (3, 3), kernel_init=init)


def features(images: Stored, num_levels: int, dtype: DTypeLike) -> Float[Array, "b h w 9*c+2"]:
    """Features of integer-level images that the noise is conditioned on.

    How the density varies within a level depends on differences of a few levels, which appear in 2v/(L - 1) - 1 only at the scale
    of 2/L. So the features include the deviation of v from the mean of its neighborhood, in units of 2 and of 16 levels, and v as
    the phase of waves of 8, 32 and 128 levels (Kingma et al. 2021, VDM, App. C, for the same reason). Two channels hold the
    coordinates of the pixel, which a convolution cannot infer.
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
    """The network whose output, computed from the features of the image, is an input to all couplings."""

    width: int

    @nn.compact
    def __call__(self, seen: Pixels) -> Float[Array, "b h w {self.width}"]:
        return nn.swish(conv(self.width)(nn.swish(conv(self.width)(seen))))


class Coupling(nn.Module):
    """One affine coupling: transforms the numbers off `parity`, given those of that parity and the context."""

    width: int
    parity: int

    @nn.compact
    def __call__(self, y: Pixels, context: Float[Array, "b h w f"]) -> tuple[Pixels, Pixels]:
        """Return the transformed y' and ln dy'/dy of each number."""
        stays = jnp.asarray(checkerboard(y.shape[1:], self.parity))[None]
        seen = jnp.where(stays, jnp.tanh(0.5 * y), 0.0)  # 2u - 1
        h = nn.swish(conv(self.width)(jnp.concatenate([seen, context], axis=-1)))
        shift, log_scale = jnp.split(conv(2 * y.shape[-1], zero=True)(h), 2, axis=-1)
        log_scale = MAX_LOG_SCALE * jnp.tanh(log_scale / MAX_LOG_SCALE)
        moved = jnp.exp(log_scale) * y + shift
        return jnp.where(stays, y, moved), jnp.where(stays, 0.0, log_scale)


class DequantizationFlow(nn.Module):
    """The flow (v, e) -> (u, ln q(u|v)).

    Args:
      num_levels: L of the images.
      width: channels of the convolutions.
      depth: number of couplings, at least 2 so that every number is transformed.
    """

    num_levels: int
    width: int
    depth: int

    @nn.compact
    def __call__(self, images: Stored, e: Pixels) -> tuple[Pixels, PerImage]:
        """Return u and ln q in nats, for images of integer levels and logistic noise e."""
        context = Context(self.width)(features(images, self.num_levels, e.dtype))
        y, log_slope = e, jnp.zeros_like(e)
        for k in range(self.depth):
            y, log_scale = Coupling(self.width, k % 2)(y, context)
            log_slope = log_slope + log_scale
        log_q = log_logistic(e) - log_slope - log_logistic(y)
        return nn.sigmoid(y), jnp.sum(log_q.reshape(log_q.shape[0], -1), axis=1)


def init_params(flow: DequantizationFlow, shape: tuple[int, ...], key: OneKey) -> Any:
    """Initialize the parameters for images of shape (h, w, c); apply `jax.eval_shape` to get only their shapes."""
    return flow.init(key, jnp.zeros((1, *shape), jnp.int32), jnp.zeros((1, *shape)))["params"]


@flax.struct.dataclass
class FlowDequantizer:
    """The flow with its parameters. For the same key it transforms the noise of the uniform dequantizer."""

    params: Any
    flow: DequantizationFlow = flax.struct.field(pytree_node=False)

    def __call__(self, images: Stored, keys: Keys) -> tuple[Pixels, PerImage]:
        a = jnp.maximum(uniform(images, keys), SMALLEST)
        e = jnp.log(a) - jnp.log1p(-a)
        return cast(tuple[Array, Array], self.flow.apply({"params": self.params}, images, e))
