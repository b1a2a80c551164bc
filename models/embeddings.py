"""Embeddings of the noise level, which map one number per image to a vector.

`positional_embedding` and Fourier features have sines first, then cosines; `time_features`, for ADM and the transformers,
has cosines first. They are always computed in at least float32: the arguments reach hundreds of radians, where one unit in
the last place of float32 already changes a feature by 1e-5, and one of bfloat16 by more than a period.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Num

from score_sde.shapes import Array, PerImage


def positional_embedding(labels: PerImage, dim: int) -> Float[Array, "b {dim}"]:
    """Sinusoids of a time label at geometric frequencies (Vaswani et al. 2017; Ho et al. 2020).

        omega_k = 10000^(-k / (dim // 2 - 1)),  k = 0 ... dim // 2 - 1

    Args:
        labels: time labels; real numbers, roughly in 0 ... 1000. Labels between the integers interpolate.
        dim: number of features, at least 4. An odd number is padded with a column of zeros at the end.

    Returns:
        [sin(omega label), cos(omega label)].
    """
    half = dim // 2
    # In NumPy, hence in float64, so that frequencies are rounded only once, whatever the dtype of the network.
    frequencies = np.exp(-np.log(10_000.0) * np.arange(half) / (half - 1))
    angles = labels[:, None] * jnp.asarray(frequencies, labels.dtype)[None, :]
    features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return jnp.pad(features, ((0, 0), (0, dim % 2)))


def time_features(labels: PerImage, dim: int) -> Float[Array, "b {dim}"]:
    """Sinusoids of a time label in the convention of transformers: cosines first, frequencies 10000^(-k / (dim // 2)).

    Args:
        labels: time labels; real numbers, roughly in 0 ... 1000.
        dim: number of features, even.

    Returns:
        [cos(omega label), sin(omega label)].
    """
    half = dim // 2
    frequencies = 10_000.0 ** (-np.arange(half) / half)
    angles = labels[:, None] * jnp.asarray(frequencies, labels.dtype)[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class GaussianFourierProjection(nn.Module):
    """Random Fourier features of the log noise level (Tancik et al. 2020; Song et al. 2021, App. H).

        [sin(2 pi W ln sigma), cos(2 pi W ln sigma)],  W ~ N(0, scale^2), never trained

    W is a parameter, so that checkpoints contain it, but no gradient reaches it.
    """

    embedding_size: int
    scale: float = 16.0

    @nn.compact
    def __call__(self, log_sigma: PerImage) -> Float[Array, "b 2*{self.embedding_size}"]:
        W = self.param("W", nn.initializers.normal(self.scale), (self.embedding_size,), jnp.float32)
        angles = log_sigma[:, None] * lax.stop_gradient(W)[None, :] * (2 * np.pi)
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def sigma_of_label(
    labels: PerImage, sigma_min: float, sigma_max: float, num_scales: int
) -> PerImage:
    """The noise level sigma of a label of the discrete VE process: label 0 is sigma_max, the last is sigma_min.

    The levels are geometric. A fractional label is truncated; one outside 0 ... num_scales - 1 gives NaN rather than the
    sigma of another label.
    """
    levels = np.exp(np.linspace(np.log(sigma_max), np.log(sigma_min), num_scales))
    return looked_up(jnp.asarray(levels, labels.dtype), labels)


def looked_up(table: Float[Array, "n *row"], labels: Num[Array, "b"]) -> Float[Array, "b *row"]:
    """The rows of `table` at the labels, truncated to integers; NaN outside of 0 ... len(table) - 1."""
    # Negative indices would count from the end, as in NumPy: replace them by one past it.
    index = jnp.where(labels < 0, table.shape[0], labels).astype(jnp.int32)
    return table.at[index].get(mode="fill", fill_value=jnp.nan)
