"""The integer image of a sample, and the x_0 of an image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.configs.digits import digits_config
from score_sde.errors import ConfigError
from score_sde.generation.sampled_score import check_rounding, check_sampled_score
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space


@pytest.mark.parametrize(
    ("dequantized", "truncate", "level"),
    # 0.1998 and 0.99 are levels 50.9 and 252.4 of [0, 255], and lie in the intervals of levels 51 and 253 of 256.
    [
        (False, False, [51, 252]),
        (True, False, [51, 253]),
        (False, True, [50, 252]),
    ],
)
def test_levels_follow_the_config(dequantized, truncate, level):
    config = get_config()
    config.data.centered = False
    config.data.uniform_dequantization = dequantized
    config.sampling.truncate = truncate
    decoded = build_space(config).decode(jnp.array([[[[0.1998, 0.99]]]]))
    np.testing.assert_array_equal(decoded, [[[level]]])


def test_dequantized_levels_are_not_truncated():
    """floor(255 (v + u)/256) is v - 1 if u < v/255; real numbers are not truncated."""
    config = get_config()
    config.data.uniform_dequantization = config.sampling.truncate = True
    with pytest.raises(ConfigError, match="truncate=True with data.uniform_dequantization=True"):
        check_sampled_score(config, build_sde(config), build_space(config))
    config.data.num_levels = 0
    check_rounding(config)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("dequantized", [True, False])
def test_levels_become_what_becomes_them_again(centered, dequantized):
    """Every level of the digits, with and without dequantization, centered and not."""
    images = jnp.arange(16).reshape(1, 4, 4, 1)
    config = digits_config("vp")
    config.data.update(centered=centered, uniform_dequantization=dequantized)
    space = build_space(config)
    x = np.asarray(space.encode_middle(images))
    np.testing.assert_array_equal(space.decode(x), images)
    low, high = space.range
    assert low <= x.min() < x.max() <= high
    assert (low, high) == ((-1, 1) if centered else (0, 1))
    drawn = np.asarray(space.encode(images, jax.random.split(jax.random.key(0), 1)))
    np.testing.assert_array_equal(space.decode(drawn), images)
    if dequantized:  # the middle of the cells, (level + 1/2) / 17
        np.testing.assert_allclose((x - low) / (high - low), (images + 0.5) / 17, rtol=1e-5)
        assert np.abs(drawn - x).max() > 0.1 / 17 * (high - low)
    else:
        np.testing.assert_array_equal(drawn, x)


def test_the_offset_is_that_of_uniform_data():
    """Uniform levels cost log2 L bits per pixel for any range: their density is 1 over the width of the range."""
    for centered in (True, False):
        config = digits_config("vp")
        config.data.centered = centered
        space = build_space(config)
        width = space.range[1] - space.range[0]
        assert np.log2(width) + space.bits_per_dim_offset == pytest.approx(np.log2(17))


def test_real_numbers_stay_and_have_no_range():
    config = get_config()
    config.data.num_levels = 0
    space = build_space(config)
    assert space.range is None
    x = jnp.linspace(-3, 3, 8).reshape(1, 2, 2, 2)
    np.testing.assert_allclose(space.decode(space.encode_middle(x)), x, rtol=1e-6)
