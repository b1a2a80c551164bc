"""Resampling against the published code and against explicit zero insertion, padding and convolution."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.models import resample

GOLDEN = Path(__file__).parents[1] / "golden" / "op_resample.npz"
TAPS = [(1, 1), (1, 2, 1), (1, 3, 3, 1), (1, 2, 3, 4), (1, 4, 6, 5, 2), (1, 5, 10, 9, 4, 2)]
# float32 against float32 sums of at most 9 x 16 products of order 1.
TOLERANCE = {"rtol": 1e-5, "atol": 2e-6}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


@pytest.mark.parametrize("case", ["k0", "k1", "k2"])
def test_published_fir_resampling(golden, case):
    taps = tuple(golden[f"{case}/kernel"].tolist())
    x, w = nhwc(golden["x"]), golden["w"].transpose(2, 3, 1, 0)
    for name in ("upsample_2d", "downsample_2d"):
        assert_allclose(
            getattr(resample, name)(x, taps), nhwc(golden[f"{case}/{name}"]), **TOLERANCE
        )
    got = resample.conv_downsample_2d(x, w, taps)
    assert_allclose(got, nhwc(golden[f"{case}/conv_downsample_2d"]), **TOLERANCE)


def test_published_naive_resampling(golden):
    for name in ("naive_upsample_2d", "naive_downsample_2d"):
        assert_allclose(getattr(resample, name)(nhwc(golden["x"])), nhwc(golden[name]), **TOLERANCE)


# The definitions, as directly as NumPy can state them: loops over taps, in float64.


def correlate(x, kernel):
    """VALID correlation of (b, h, w, c) with (k, l, c, o)."""
    k, length = kernel.shape[:2]
    rows, columns = x.shape[1] - k + 1, x.shape[2] - length + 1
    out = np.zeros((x.shape[0], rows, columns, kernel.shape[3]))
    for i in range(k):
        for j in range(length):
            out += x[:, i : i + rows, j : j + columns] @ kernel[i, j]
    return out


def fir(x, kernel2d, pads):
    """Pads, then a true convolution of every channel with one two-dimensional kernel."""
    x = np.pad(x, ((0, 0), pads, pads, (0, 0)))
    depthwise = kernel2d[::-1, ::-1, None, None] * np.eye(x.shape[-1])
    return correlate(x, depthwise)


def insert_zeros(x):
    """A zero after each pixel."""
    b, h, w, c = x.shape
    out = np.zeros((b, 2 * h, 2 * w, c))
    out[:, ::2, ::2] = x
    return out


def outer(taps):
    kernel2d = np.outer(taps, taps).astype(float)
    return kernel2d / kernel2d.sum()


def test_plain_definition_is_the_published_one(golden):
    """The reference implementation itself, with a kernel that is not separable."""
    x, kernel = nhwc(golden["x"]), golden["raw_kernel"]
    padded = np.pad(insert_zeros(x), ((0, 0), (2, 1), (2, 1), (0, 0)))
    depthwise = kernel[::-1, ::-1, None, None] * np.eye(3)
    assert_allclose(correlate(padded, depthwise), nhwc(golden["raw_up2_down1_pad21"]), **TOLERANCE)
    down = fir(x, kernel, (1, 1))[:, ::2, ::2]
    assert_allclose(down, nhwc(golden["raw_up1_down2_pad11"]), **TOLERANCE)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(size=(2, 6, 8, 3))


@pytest.fixture(scope="module")
def kernel():
    return np.random.default_rng(1).normal(size=(3, 3, 3, 5))


@pytest.mark.parametrize("taps", TAPS, ids=str)
def test_fir_resampling_is_its_definition(image, kernel, taps):
    n = len(taps)
    with jax.enable_x64(True):
        up = resample.upsample_2d(jnp.asarray(image), taps)
        down = resample.downsample_2d(jnp.asarray(image), taps)
        conv_down = resample.conv_downsample_2d(jnp.asarray(image), jnp.asarray(kernel), taps)
    assert up.shape == (2, 12, 16, 3)
    assert down.shape == (2, 3, 4, 3)
    assert conv_down.shape == (2, 3, 4, 5)

    pads = ((n - 1) // 2 + 1, (n - 2) // 2)
    assert_allclose(up, fir(insert_zeros(image), 4 * outer(taps), pads), atol=1e-12)
    pads = ((n - 1) // 2, (n - 2) // 2)
    assert_allclose(down, fir(image, outer(taps), pads)[:, ::2, ::2], atol=1e-12)
    pads = ((n + 1) // 2, n // 2)
    expected = correlate(fir(image, outer(taps), pads), kernel)[:, ::2, ::2]
    assert_allclose(conv_down, expected, atol=1e-12)


@pytest.mark.parametrize("taps", TAPS, ids=str)
def test_upsampling_convolution_is_its_definition(image, kernel, taps):
    """The operation on which the published PyTorch code raises."""
    with jax.enable_x64(True):
        got = resample.upsample_conv_2d(jnp.asarray(image), jnp.asarray(kernel), taps)
    between = insert_zeros(image)[:, :-1, :-1]
    spread = correlate(np.pad(between, ((0, 0), (2, 2), (2, 2), (0, 0))), kernel)
    assert spread.shape == (2, 13, 17, 5)
    excess = len(taps) - 4
    pads = ((excess + 1) // 2 + 1, excess // 2 + 1)
    assert_allclose(got, fir(spread, 4 * outer(taps), pads), atol=1e-12)
    assert got.shape == (2, 12, 16, 5)


@pytest.mark.parametrize("taps", TAPS, ids=str)
def test_brightness_is_kept(taps):
    """A constant image stays constant away from the border, where zeros enter.

    Not for every filter when upsampling: even and odd taps must have equal sums, else stripes appear.
    """
    ones = jnp.ones((1, 16, 16, 1))
    middle = resample.downsample_2d(ones, taps)[:, 3:-3, 3:-3]
    assert_allclose(middle, 1, rtol=1e-6)
    if sum(taps[::2]) == sum(taps[1::2]):
        assert_allclose(resample.upsample_2d(ones, taps)[:, 6:-6, 6:-6], 1, rtol=1e-6)


def test_dtype_is_kept():
    x = jnp.ones((1, 4, 4, 2), jnp.bfloat16)
    w = jnp.ones((3, 3, 2, 2), jnp.bfloat16)
    for out in (
        resample.upsample_2d(x, (1, 3, 3, 1)),
        resample.downsample_2d(x, (1, 3, 3, 1)),
        resample.conv_downsample_2d(x, w, (1, 3, 3, 1)),
        resample.upsample_conv_2d(x, w, (1, 3, 3, 1)),
        resample.naive_upsample_2d(x),
        resample.naive_downsample_2d(x),
    ):
        assert out.dtype == jnp.bfloat16


@pytest.mark.parametrize("sides", [(4, 6), (1, 2)])
def test_convolution_of_the_naively_upsampled_image(sides):
    """Equal to the plain form used on other machines: values and both gradients, in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, kernel = rng.standard_normal((2, *sides, 5)), rng.standard_normal((3, 3, 5, 7))
        out, pullback = jax.vjp(resample.naive_upsample_conv_2d, x, kernel)
        large = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
        padded = np.pad(large, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        assert_allclose(out, np.einsum("bhwcij,ijco->bhwo", windows, kernel), atol=1e-12)

        g = rng.standard_normal(out.shape)
        of_x, of_kernel = pullback(jnp.asarray(g))
        assert_allclose(of_kernel, np.einsum("bhwcij,bhwo->ijco", windows, g), atol=1e-12)
        # The transpose of a linear map: <g, A v> = <A^T g, v> for every v.
        v = rng.standard_normal(x.shape)
        pushed = resample.naive_upsample_conv_2d(jnp.asarray(v), jnp.asarray(kernel))
        assert_allclose(np.vdot(of_x, v), np.vdot(g, pushed), rtol=1e-12)


def test_phases_are_for_cpus_alone():
    """On an accelerator there is a single convolution."""
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    traced = jax.jit(resample.naive_upsample_conv_2d).trace(x, kernel)
    counts = [
        traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.convolution")
        for platform in ("cpu", "cuda", "tpu")
    ]
    assert counts == [4, 1, 1]
