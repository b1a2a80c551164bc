"""Dropout whose mask depends only on the key of the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from score_sde.models.ddpm import DDPM
from score_sde.models.layers import dropout, layer_keys
from score_sde.models.ncsnpp import NCSNpp

RATE = 0.1


def keys_of(images, seed=0):
    return jax.random.split(jax.random.key(seed), images)


def test_share_of_zeros_is_the_rate():
    """10^6 elements: the fraction of zeros has standard deviation 3e-4; five of them, false alarm 6e-7."""
    out = np.asarray(dropout(jnp.ones((10, 100, 100, 10)), RATE, keys_of(10)))
    assert abs((out == 0).mean() - RATE) < 1.5e-3
    assert_allclose(out[out != 0], 1 / (1 - RATE), rtol=1e-6)


def test_masks_of_images_and_layers_are_unrelated():
    """Two masks agree on a fraction (1-p)^2 + p^2 of the elements, to five standard deviations."""
    ones, keys = jnp.ones((2, 100, 100, 10)), layer_keys(keys_of(2), RATE)
    first, second = (np.asarray(dropout(ones, RATE, next(keys)) == 0) for _ in range(2))
    agreement = (1 - RATE) ** 2 + RATE**2
    for a, b in ((first[0], first[1]), (first[0], second[0])):
        assert abs((a == b).mean() - agreement) < 5 * np.sqrt(agreement * (1 - agreement) / a.size)


def test_mask_does_not_depend_on_the_batch():
    x, keys = jnp.ones((6, 4, 4, 3)), next(layer_keys(keys_of(6), RATE))
    whole = dropout(x, 0.5, keys)
    for part in (slice(0, 3), slice(3, 6)):
        assert_array_equal(dropout(x[part], 0.5, keys[part]), whole[part])
    order = jnp.array([5, 0, 3, 1, 4, 2])
    assert_array_equal(dropout(x, 0.5, keys[order]), whole[order])


def test_mask_does_not_depend_on_dtype_or_kind_of_key():
    x, keys = jnp.ones((3, 4, 4, 3)), keys_of(3)
    typed, raw = (next(layer_keys(k, RATE)) for k in (keys, jax.random.key_data(keys)))
    mask = dropout(x, 0.5, typed) == 0
    assert_array_equal(dropout(x, 0.5, raw) == 0, mask)
    assert_array_equal(dropout(x.astype(jnp.bfloat16), 0.5, typed) == 0, mask)
    with jax.enable_x64(True):
        assert_array_equal(dropout(x.astype(jnp.float64), 0.5, typed) == 0, mask)


def test_without_keys_or_rate_nothing_is_computed():
    x = jnp.ones((2, 4, 4, 3))
    assert dropout(x, RATE, None) is x
    assert dropout(x, 0.0, keys_of(2)) is x
    assert next(layer_keys(keys_of(2), 0.0)) is None


ONE_LEVEL = {"image_size": 4, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()}
NETWORKS = {
    "ncsnpp": NCSNpp(nf=8, dropout=0.5, **ONE_LEVEL),
    "ddpm": DDPM(nf=32, dropout=0.5, **ONE_LEVEL),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_trains_the_same_in_any_batch(name):
    network, images = NETWORKS[name], 4
    x = jax.random.normal(jax.random.key(1), (images, 4, 4, 3))
    noise_input, keys = jnp.linspace(1.0, 999.0, images), keys_of(images)
    shapes = jax.eval_shape(network.init, jax.random.key(2), x, noise_input)
    rng = np.random.default_rng(3)  # not init: the layers that start as zero would hide the masks
    params = jax.tree.map(lambda s: jnp.asarray(0.1 * rng.normal(size=s.shape), s.dtype), shapes)

    # -O0: compiling is nearly all the time here.
    apply = jax.jit(network.apply, compiler_options={"xla_backend_optimization_level": 0})
    whole = apply(params, x, noise_input, (), keys)
    # Same sums in another order of the batch: float32 rounding, while another mask moves the output by tenths.
    for part in (slice(0, 2), slice(2, 4)):
        assert_allclose(
            apply(params, x[part], noise_input[part], (), keys[part]), whole[part], atol=1e-5
        )
    for others in (
        apply(params, x, noise_input, (), keys_of(images, seed=9)),
        apply(params, x, noise_input),
    ):
        assert (jnp.abs(others - whole).max(axis=(1, 2, 3)) > 1e-2).all()
