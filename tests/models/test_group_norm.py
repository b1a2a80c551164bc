"""Group normalization against Flax's, and its statistics on each kind of machine."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.models.group_norm import GroupNorm, _by_channel, _by_group, group_mean

GROUPS = 4
MEANS = {"by channel": _by_channel, "by group": _by_group}


def draws(dtype=np.float64):
    """Images (b, h, w, c) of channels that differ in mean and size, scale and bias, and two directions of x."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 6, 24)) * rng.uniform(0.5, 2, 24) + rng.standard_normal(24)
    params = {"scale": rng.uniform(0.5, 2, 24), "bias": rng.standard_normal(24)}
    v, w = rng.standard_normal((2, *x.shape))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (x, params, v, w))


def test_values_and_derivatives_are_those_of_flax():
    """In float64; forward tangents and backward cotangents, of images and of parameters."""
    with jax.enable_x64(True):
        x, params, v, w = draws()
        found = []
        for norm in (GroupNorm(GROUPS), nn.GroupNorm(GROUPS, epsilon=1e-6)):

            def f(x, params, norm=norm):
                return norm.apply({"params": params}, x)

            y, pullback = jax.vjp(f, x, params)
            _, tangent = jax.jvp(lambda x, f=f: f(x, params), (x,), (v,))
            found.append((y, tangent, pullback(w)))
        for got, expected in zip(*map(jax.tree.leaves, found), strict=True):
            assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", MEANS)
def test_means_of_groups(name):
    """The channels of a group are adjacent; each image has its own statistics."""
    with jax.enable_x64(True):
        x, *_ = draws()
        got = MEANS[name](x, GROUPS)
        for group in range(GROUPS):
            channels = slice(6 * group, 6 * group + 6)
            for i in range(len(x)):
                expected = np.full((1, 1, 6), np.mean(x[i, :, :, channels]))
                assert_allclose(got[i, :, :, channels], expected, rtol=1e-13)


def test_each_platform_takes_its_own():
    """Lowered for each platform: the matrix product used on CPUs would be an extra kernel elsewhere."""
    x, *_ = draws(np.float32)
    traced = jax.jit(lambda x: group_mean(x, GROUPS)).trace(x)
    products = {
        platform: "dot_general" in traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "cuda", "tpu")
    }
    assert products == {"cpu": True, "cuda": False, "tpu": False}


def test_a_mean_far_beyond_the_standard_deviation():
    """Mean 1e4 and std 1 in float32, where E[x^2] - E[x]^2 cancels completely; 1e4 itself is rounded to 1e-3 std."""
    x, params, *_ = draws(np.float32)
    x = x / jnp.std(x) + 1e4
    with jax.enable_x64(True):
        exact = GroupNorm(GROUPS).apply(
            {"params": params}, jnp.asarray(np.asarray(x, np.float64) - 1e4)
        )
    got = GroupNorm(GROUPS).apply({"params": params}, x)
    assert got.dtype == jnp.float32
    assert_allclose(got, exact, atol=5e-3)


def test_bfloat16_comes_out_of_statistics_in_float32():
    """The mean of two adjacent bfloat16 numbers lies between them and is not representable in bfloat16."""
    x = jnp.asarray(np.where(np.arange(256) % 2, 1 + 2**-7, 1), jnp.bfloat16)
    x = jnp.broadcast_to(x.reshape(1, 16, 16, 1), (1, 16, 16, 4))
    params = {"scale": jnp.ones(4), "bias": jnp.zeros(4)}
    y = GroupNorm(1, jnp.bfloat16).apply({"params": params}, x)
    assert y.dtype == jnp.bfloat16
    # eps = 1e-6 against a variance of 2^-16 takes 3 % off.
    assert_allclose(np.abs(np.asarray(y, np.float32)), 1 / np.sqrt(1 + 2**16 * 1e-6), atol=0.01)
