"""Conversion between levels and the model's range; the unit of bits/dim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from score_sde.data.scaling import (
    bits_per_dim_offset,
    dequantize,
    flip_horizontally,
    scale,
    slope,
    to_levels,
    to_levels_truncated,
    to_unit,
    unscale,
)
from score_sde.errors import ConfigError
from score_sde.spaces import PixelSpace

LEVELS = (2, 16, 17, 256, 1000, 65536)
# Zero, the smallest and largest float32 below 1 that a generator gives, and the middle.
NOISE = np.array([0.0, 2.0**-24, 0.5, 1 - 2.0**-23, 1 - 2.0**-24], np.float32)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("num_levels", LEVELS)
def test_dequantized_levels_come_back_exactly(num_levels, centered):
    images, u = np.meshgrid(np.arange(num_levels, dtype=np.uint16), NOISE, indexing="ij")

    @jax.jit
    def there_and_back(images, u):
        y = dequantize(images, u, num_levels)
        return y, to_levels(scale(y, centered), num_levels, centered, dequantized=True)

    y, back = there_and_back(images, jnp.asarray(u))
    np.testing.assert_array_equal(back, images)
    assert back.dtype == (jnp.uint8 if num_levels <= 256 else jnp.uint16)
    assert y.min() >= 0
    assert y.max() < 1
    # Within the stated margin of (v + u)/L and three roundings below 1, each of half of 2^-24: of the sum, of 1/L,
    # by which a compiler multiplies, and of the product.
    exact = (images.astype(np.float64) + u) / num_levels
    np.testing.assert_allclose(y, exact, rtol=0, atol=2.0**-22 + 3 * 2.0**-25)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("num_levels", LEVELS)
def test_undequantized_levels_come_back_exactly(num_levels, centered):
    images = jnp.arange(num_levels, dtype=jnp.uint16)
    y = to_unit(images, num_levels)
    assert (y[0], y[-1], y.dtype) == (0.0, 1.0, jnp.float32)
    back = to_levels(scale(y, centered), num_levels, centered, dequantized=False)
    np.testing.assert_array_equal(back, images)


@pytest.mark.parametrize("num_levels", LEVELS)
def test_without_dequantization_the_nearest_level_is_taken(num_levels):
    levels = np.arange(num_levels)
    for error in (-0.48, 0.48):  # at 65,536 levels a float32 near 1 is off by 0.004 of a level
        y = jnp.clip((levels + error) / (num_levels - 1), -0.1, 1.1)
        np.testing.assert_array_equal(to_levels(y, num_levels, False, dequantized=False), levels)


def test_with_dequantization_a_level_owns_its_interval():
    y = jnp.array([0.0, 0.999 / 17, 1.001 / 17, 15.999 / 17, 16.001 / 17, 0.99999])
    np.testing.assert_array_equal(to_levels(y, 17, False, dequantized=True), [0, 0, 1, 15, 16, 16])


@pytest.mark.parametrize("num_levels", LEVELS)
@pytest.mark.parametrize("dequantized", [True, False])
def test_values_outside_the_range_are_clipped(num_levels, dequantized):
    # Fewer levels than 256 as well, where the conversion to uint8 does not happen to clip.
    top = num_levels - 1
    x = jnp.array([-7.0, -1.0, 1.0, 7.0])
    np.testing.assert_array_equal(to_levels(x, num_levels, True, dequantized), [0, 0, top, top])


def test_rounding_is_unbiased_on_average():
    # Uniform y: rounding and flooring by intervals give levels of mean 127.5 each in their own convention;
    # truncating 255 y, the published habit, gives 127.
    y = (jnp.arange(2_550_000) + 0.5) / 2_550_000
    assert np.mean(to_levels(y, 256, False, dequantized=False)) == pytest.approx(127.5, abs=1e-2)
    assert np.mean(to_levels(y, 256, False, dequantized=True)) == pytest.approx(127.5, abs=1e-2)


def test_the_published_rule_cuts_the_fraction_off():
    """As NumPy's conversion of 255 y to uint8: white slightly below 1 becomes 254, and 127.5 becomes 127."""
    y = np.array([-0.1, 0.0, 0.001, 0.5, 0.9999, 1.0, 1.2])
    expected = [0, 0, 0, 127, 254, 255, 255]
    for centered in (True, False):
        x = jnp.asarray(2 * y - 1 if centered else y)
        np.testing.assert_array_equal(to_levels_truncated(x, 256, centered), expected)


def test_scale_has_the_stated_ends_and_inverse():
    y = jnp.array([0.0, 0.25, 1.0])
    np.testing.assert_array_equal(scale(y, True), [-1.0, -0.5, 1.0])
    np.testing.assert_array_equal(scale(y, False), y)
    for centered in (True, False):
        np.testing.assert_array_equal(unscale(scale(y, centered), centered), y)
        assert jax.grad(lambda v, c=centered: scale(v, c))(0.3) == slope(centered)


def test_published_offsets():
    assert bits_per_dim_offset(256, True) == 7
    assert bits_per_dim_offset(256, False) == 8


@pytest.mark.parametrize("centered", [2.0, 1.0, 1, None, "True"])
def test_one_convention(centered):
    """A slope of 1.0 passed by mistake would count as True and change the result by one bit per dimension."""
    x = jnp.zeros(3)
    for call in (
        lambda: slope(centered),
        lambda: scale(x, centered),
        lambda: unscale(x, centered),
        lambda: to_levels(x, 256, centered, True),
        lambda: to_levels_truncated(x, 256, centered),
        lambda: bits_per_dim_offset(17, centered),
        lambda: PixelSpace((1, 1, 3), 17, centered, True),
    ):
        with pytest.raises(ConfigError, match=f"^centered={centered!r}: expected True or False"):
            call()
    with pytest.raises(ConfigError, match="^dequantized="):
        to_levels(x, 256, True, centered)


def test_offset_of_real_values_is_the_unit_of_the_data():
    assert bits_per_dim_offset(None, False) == 0


@pytest.mark.parametrize("num_levels", LEVELS)
@pytest.mark.parametrize("centered", [True, False])
def test_bits_per_dim_do_not_depend_on_the_models_range(num_levels, centered):
    # A Gaussian density over z = v + u, in levels, seen by the model in x: the same bits either way.
    mean, std = 0.4 * num_levels, 0.2 * num_levels
    z = np.linspace(0.1, num_levels - 0.1, 9)
    in_levels = -scipy.stats.norm.logpdf(z, mean, std) / np.log(2)

    def to_x(levels):
        return scale(levels / num_levels, centered)

    std_x = to_x(mean + std) - to_x(mean)
    log_p = scipy.stats.norm.logpdf(to_x(z), to_x(mean), std_x)
    bits = -log_p / np.log(2) + bits_per_dim_offset(num_levels, centered)
    np.testing.assert_allclose(bits, in_levels, rtol=1e-12)


@pytest.mark.parametrize(("coarse", "finer"), [(2, 8), (17, 15), (256, 256)])
def test_levels_written_in_finer_ones_cost_the_finer_bits_more(coarse, finer):
    """Levels v of L become m v + w of m L with uniform w: log2 m more bits, under the same density on [0, 1)."""
    rng = np.random.default_rng(0)
    v, w = rng.integers(coarse, size=1000), rng.integers(finer, size=1000)
    u = rng.random(1000)

    def bits(levels, noise, num_levels):
        with jax.enable_x64(True):
            y = np.asarray(dequantize(jnp.asarray(levels), jnp.asarray(noise), num_levels))
        return -scipy.stats.beta.logpdf(y, 2, 3) / np.log(2) + bits_per_dim_offset(
            num_levels, False
        )

    # (v + (w + u)/m)/L = (m v + w + u)/(m L): the same point of [0, 1) but for the margins of the noise.
    one, other = bits(v, (w + u) / finer, coarse), bits(finer * v + w, u, coarse * finer)
    np.testing.assert_allclose(other - one, np.log2(finer), atol=0.05)
    np.testing.assert_allclose((other - one).mean(), np.log2(finer), atol=1e-4)


@pytest.mark.parametrize("num_levels", [1, 0, -4, 65537])
def test_levels_that_float32_does_not_resolve_are_refused(num_levels):
    x = jnp.zeros(3)
    for call in (
        lambda: dequantize(x, x, num_levels),
        lambda: to_unit(x, num_levels),
        lambda: to_levels(x, num_levels, True, dequantized=True),
        lambda: bits_per_dim_offset(num_levels, False),
    ):
        with pytest.raises(ValueError, match=f"^{num_levels} grey levels: expected 2 to 65536"):
            call()


@pytest.mark.parametrize("num_levels", LEVELS)
def test_uniform_images_cost_log2_levels(num_levels):
    # p(y) = 1 on [0, 1): no model beats log2 L bits on noise.
    assert bits_per_dim_offset(num_levels, False) == pytest.approx(np.log2(num_levels))


def test_real_values_pass_unchanged():
    x = jnp.array([[-3.0, 0.2, 5.0]])
    np.testing.assert_array_equal(dequantize(x, jnp.full_like(x, 0.5), None), x)
    np.testing.assert_array_equal(to_unit(x, None), x)
    np.testing.assert_array_equal(to_levels(x, None, False, dequantized=True), x)


def test_flips_only_the_chosen_images_left_to_right():
    images = jnp.arange(2 * 2 * 3, dtype=jnp.uint8).reshape(2, 2, 3, 1)
    flipped = jax.jit(flip_horizontally)(images, jnp.array([False, True]))
    np.testing.assert_array_equal(flipped[0], images[0])
    np.testing.assert_array_equal(flipped[1, :, :, 0], [[8, 7, 6], [11, 10, 9]])
    assert flipped.dtype == jnp.uint8
