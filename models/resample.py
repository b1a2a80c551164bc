"""Resampling images by a factor of two, FIR filtered or naive.

A signal must be low-pass filtered before it is decimated, and after zeros are inserted between its samples, or
it is aliased. NCSN++ (Song et al. 2021, Appendix H, "FIR") uses the filter [1, 3, 3, 1] of StyleGAN2 (Karras et
al. 2020b) for this; DDPM++ averages and repeats pixels.

Every filter here is separable, so it is applied as two passes of a one-dimensional filter, each a short sum of
shifted, strided slices (polyphase form: the zeros that upsampling inserts are neither stored nor multiplied). In
XLA this fuses into one kernel, needs no transposes in NHWC, and has a cheap gradient; a depthwise convolution on
CPU has none of these advantages.

Conventions. Images are (b, h, w, c). A filter is given as a row of taps, is scaled to sum to 1, and acts as
a true convolution (flipped); upsampling multiplies by 4 to make up for the inserted zeros. Padding is that of
StyleGAN2's `upfirdn`, which keeps an even filter centred.
"""

import functools
import operator
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from score_sde.shapes import Array, Pixels

Image = Pixels
Kernel = Float[Array, "k k c o"]

_SPATIAL_AXES = (1, 2)
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def naive_upsample_2d(x: Image) -> Float[Array, "b 2*h 2*w c"]:
    """Doubles the resolution: every pixel becomes a 2x2 block."""
    b, h, w, c = x.shape
    # A broadcast and a reshape; `jnp.repeat` makes a gather, whose gradient is a slow scatter.
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
    return x.reshape(b, 2 * h, 2 * w, c)


def naive_upsample_conv_2d(x: Image, kernel: Kernel) -> Float[Array, "b 2*h 2*w o"]:
    """A 3x3 convolution of the naively upsampled image, at the upsampled resolution.

    Along each axis two of the three taps fall on the same pixel of x:

        y[2 m]     = k[0] x[m - 1] + (k[1] + k[2]) x[m],
        y[2 m + 1] = (k[0] + k[1]) x[m] + k[2] x[m + 1],

    so four 2x2 convolutions of x suffice, with 16 multiplications in place of 36. On a CPU this halves the time. On an
    accelerator, where it would be four small kernels and a pass over their outputs, the plain form is used.
    """
    return lax.platform_dependent(x, kernel, cpu=_conv_by_phases, default=_conv_of_upsampled)


def _conv_of_upsampled(x: Image, kernel: Kernel) -> Array:
    x = naive_upsample_2d(x)
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_DIMENSIONS)


def _conv_by_phases(x: Image, kernel: Kernel) -> Array:
    def halves(k: Array) -> tuple[Array, Array]:
        """The two taps each of even and of odd outputs, along the first axis."""
        return jnp.stack([k[0], k[1] + k[2]]), jnp.stack([k[0] + k[1], k[2]])

    def phase(row: int, column: int) -> Array:
        taps = halves(halves(kernel)[row].swapaxes(0, 1))[column].swapaxes(0, 1)
        pads = [(1 - row, row), (1 - column, column)]
        return lax.conv_general_dilated(x, taps, (1, 1), pads, dimension_numbers=_DIMENSIONS)

    b, h, w, _ = x.shape
    rows = [jnp.stack([phase(row, column) for column in (0, 1)], axis=3) for row in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, kernel.shape[-1])


def naive_downsample_2d(x: Image) -> Float[Array, "b h//2 w//2 c"]:
    """Halves the resolution: the mean of every 2x2 block."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


def upsample_2d(x: Image, taps: Sequence[float]) -> Float[Array, "b 2*h 2*w c"]:
    """Doubles the resolution: inserts a zero after each pixel, filters, and multiplies by 4."""
    excess = len(taps) - 2
    before = (excess + 1) // 2 + 1
    weights = 2 * _normalised(taps)
    for axis in _SPATIAL_AXES:
        x = _upsample_axis(x, weights, axis, before)
    return x


def downsample_2d(x: Image, taps: Sequence[float]) -> Float[Array, "b h//2 w//2 c"]:
    """Halves the resolution: filters, then keeps every second pixel."""
    excess = len(taps) - 2
    return _fir(x, taps, pads=((excess + 1) // 2, excess // 2), stride=2)


def conv_downsample_2d(
    x: Image, kernel: Kernel, taps: Sequence[float]
) -> Float[Array, "b h//2 w//2 o"]:
    """Filters, then applies `kernel` at stride 2 without padding: the filter step does all of the padding."""
    excess = len(taps) - 2 + kernel.shape[0] - 1
    x = _fir(x, taps, pads=((excess + 1) // 2, excess // 2))
    return lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=_DIMENSIONS)


def upsample_conv_2d(
    x: Image, kernel: Kernel, taps: Sequence[float]
) -> Float[Array, "b 2*h 2*w o"]:
    """Inserts a zero after each pixel, applies `kernel` (unflipped), filters, and multiplies by 4.

    The published PyTorch code raises an error here (slices with a negative step). This is the definition of the
    published JAX code; the tests compare it with a plain NumPy version.
    """
    reach = kernel.shape[0] - 1
    excess = len(taps) - 2 - reach
    x = lax.conv_general_dilated(
        x, kernel, (1, 1), [(reach, reach)] * 2, lhs_dilation=(2, 2), dimension_numbers=_DIMENSIONS
    )
    return 4 * _fir(x, taps, pads=((excess + 1) // 2 + 1, excess // 2 + 1))


def _normalised(taps: Sequence[float]) -> np.ndarray:
    """The taps, flipped for use in a correlation and scaled to sum to 1."""
    flipped = np.asarray(taps, np.float64)[::-1]
    return flipped / flipped.sum()


def _fir(x: Image, taps: Sequence[float], pads: tuple[int, int], stride: int = 1) -> Array:
    """Zero-pads both spatial axes by `pads`, filters, and keeps every `stride`-th pixel."""
    weights = _normalised(taps)
    for axis in _SPATIAL_AXES:
        padded = _pad_axis(x, axis, *pads)
        outputs = (padded.shape[axis] - len(taps)) // stride + 1
        # float(): a Python number is weakly typed, so the image keeps its dtype.
        x = _add_up(
            float(weight) * _slice_axis(padded, axis, tap, outputs, stride)
            for tap, weight in enumerate(weights)
        )
    return x


def _upsample_axis(x: Image, weights: np.ndarray, axis: int, before: int) -> Array:
    """Zero insertion and filtering along one axis, without storing the zeros.

    Let z be x with a zero after each sample and `before` zeros in front: z[before + 2 m] = x[m]. The
    output y[2 m + r] = sum_j weights[j] z[2 m + r + j] has nonzero terms only where r + j - before is even,
    so phase r is x filtered with half of the taps, at the shifts (r + j - before) / 2.
    """
    length = x.shape[axis]
    margin = len(weights) // 2 + 1
    padded = _pad_axis(x, axis, margin, margin)
    phases = [
        _add_up(
            float(weight) * _slice_axis(padded, axis, margin + (phase + tap - before) // 2, length)
            for tap, weight in enumerate(weights)
            if (phase + tap - before) % 2 == 0
        )
        for phase in (0, 1)
    ]
    shape = x.shape[:axis] + (2 * length,) + x.shape[axis + 1 :]
    return jnp.stack(phases, axis=axis + 1).reshape(shape)


def _add_up(terms: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, terms)


def _pad_axis(x: Array, axis: int, before: int, after: int) -> Array:
    # lax.pad also crops where a pad is negative, as it is for a filter shorter than the convolution's reach.
    config = [(before, after, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def _slice_axis(x: Array, axis: int, start: int, length: int, stride: int = 1) -> Array:
    return lax.slice_in_dim(x, start, start + (length - 1) * stride + 1, stride, axis)
