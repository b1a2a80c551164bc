"""The U-Net with a transformer of simple diffusion, of which only a description is published.

Its blocks are tested against published arrays in test_adm.py and test_transformers.py; here, their composition and its size.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.configs.subvp_digits import get_config
from score_sde.errors import ConfigError
from score_sde.models.adm_blocks import ResBlock
from score_sde.models.dit import DiTBlock
from score_sde.models.networks import build_network
from score_sde.models.simple_uvit import SimpleUViT
from tests.models.published_arrays import FAST_COMPILE, number_of_parameters
from tests.models.test_network_promises import drawn

OF_8 = {"image_size": 8, "nf": 32, "num_res_blocks": 2, "patch_size": 1, "num_heads": 2}
NETWORK = SimpleUViT(**OF_8, ch_mult=(1,), width=8, depth=1, dropout=0.0)
X = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
TIMES = jnp.array([3.0, 700.0])


def conv3(inputs, outputs):
    return 9 * inputs * outputs + outputs


def linear(inputs, outputs):
    return inputs * outputs + outputs


def size(network, tokens):
    """Written out layer by layer, from the description."""
    w, r = network.width, int(network.width * network.mlp_ratio)
    widths = [network.nf * mult for mult in network.ch_mult]
    numbers = network.patch_size**2 * network.num_channels

    def res(inputs, outputs):
        shortcut = linear(inputs, outputs) if inputs != outputs else 0
        norms = 2 * inputs + 2 * outputs
        return (
            norms
            + conv3(inputs, outputs)
            + linear(w, 2 * outputs)
            + conv3(outputs, outputs)
            + shortcut
        )

    n = network.num_res_blocks
    down = sum(
        res(before, width) + (n - 1) * res(width, width)
        for before, width in zip([widths[0], *widths], widths, strict=False)
    )
    after = [*widths[1:], widths[-1]]
    up = sum(
        res(before + width, width) + (n - 1) * res(2 * width, width)
        for before, width in zip(after, widths, strict=True)
    )
    block = linear(w, 3 * w) + linear(w, w) + linear(w, r) + linear(r, w) + linear(w, 6 * w)
    middle = linear(widths[-1], w) + tokens * w + network.depth * block + linear(w, widths[-1])
    time = linear(256, w) + linear(w, w) + (network.num_classes + 1) * w * bool(network.num_classes)
    ends = conv3(numbers, widths[0]) + 2 * widths[0] + conv3(widths[0], numbers)
    return time + ends + down + middle + up


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"image_size": 32, "ch_mult": (1, 2), "width": 64, "depth": 3, "num_heads": 4}, 16),
        ({"image_size": 64, "patch_size": 4, "num_res_blocks": 2, "num_classes": 10}, 1),
        pytest.param(
            {"image_size": 256, "ch_mult": (1, 2, 4), "width": 1024, "depth": 16, "num_heads": 16},
            256,
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)  # fmt: skip
def test_the_number_of_parameters_is_that_of_the_description(options, tokens):
    network = SimpleUViT(**options)
    assert number_of_parameters(network) == size(network, tokens)


@pytest.fixture(scope="module")
def seen():
    """Random parameters, and what each layer gives of two images."""
    params = drawn(NETWORK)
    run = jax.jit(
        lambda: NETWORK.apply(params, X, TIMES, capture_intermediates=True),
        compiler_options=FAST_COMPILE,
    )
    out, layers = run()
    given = {
        name: of["__call__"][0]
        for name, of in layers["intermediates"].items()
        if name != "__call__"
    }
    return out, given, params["params"]


def test_blocks_are_put_together_as_described(seen):
    """The transformer receives means and adds to them; in the up path, skips are concatenated in reverse order."""
    out, given, params = seen

    def block(name, h):
        return ResBlock(32).apply({"params": params[name]}, h, given["time"], None)

    def close(name, expected):
        assert_allclose(given[name], expected, rtol=1e-4, atol=1e-4)

    close("down_0_1", block("down_0_1", block("down_0_0", given["first"])))
    means = np.asarray(given["down_0_1"]).reshape(2, 4, 2, 4, 2, 32).mean((2, 4))
    tokens = means.reshape(2, 16, 32) @ np.asarray(params["tokens"]["kernel"])
    tokens = tokens + np.asarray(params["tokens"]["bias"])
    close("tokens", tokens)
    tokens = tokens + np.asarray(params["pos_embed"])
    middle = DiTBlock(2, 32).apply({"params": params["middle_0"]}, tokens, given["time"])
    close("middle_0", middle)
    low = means + np.asarray(given["features"]).reshape(2, 4, 4, 32)
    h = jnp.asarray(np.kron(low, np.ones((1, 2, 2, 1))), jnp.float32)
    close("up_0_0", block("up_0_0", jnp.concatenate([h, given["down_0_1"]], -1)))
    joined = jnp.concatenate([given["up_0_0"], given["down_0_0"]], -1)
    close("up_0_1", block("up_0_1", joined))
    assert_allclose(out, given["last"], rtol=1e-6)


def test_all_pixels_see_all_and_the_level(seen):
    """One corner affects the opposite one, 8 pixels away, only through attention; and only within its image."""
    params = {"params": seen[2]}

    def corner(x, times):
        return NETWORK.apply(params, x, times)[0, 7, 7, 0]

    of_image, of_time = jax.jit(jax.grad(corner, argnums=(0, 1)), compiler_options=FAST_COMPILE)(
        X, TIMES
    )
    assert np.abs(of_image[0, 0, 0]).max() > 1e-6
    assert of_time[0] != 0
    assert not of_image[1].any()
    assert of_time[1] == 0


def test_a_new_network_outputs_zero():
    first = jax.jit(NETWORK.init_with_output, compiler_options=FAST_COMPILE)
    assert not first(jax.random.key(0), X, TIMES)[0].any()


def test_the_digits_variant_is_such_a_network():
    network = build_network(get_config("simple_uvit"))
    assert isinstance(network, SimpleUViT)
    assert number_of_parameters(network) == size(network, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch_size": 8}, r"8x8 pixels, in patches of 8, 1 times, .*; use model.patch_size=1 or 2 or 4$"),
        (
            {"ch_mult": (1, 1, 1, 1)},
            r"; use as many levels in model.ch_mult as 1 or 2 or 3$",
        ),
        ({"patch_size": 3}, r"model.patch_size=3 does not divide images of 8x8 pixels"),
        ({"nf": 48}, r"model.nf=48: .* use a multiple of 32"),
        ({"ch_mult": ()}, r"model.ch_mult=\(\): expected an integer"),
        ({"num_heads": 3}, r"model.num_heads=3 does not divide model.width=8"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_such_network_is_refused(options, words):
    fields = {**OF_8, "ch_mult": (1,), "width": 8, "depth": 1}
    with pytest.raises(ConfigError, match=words):
        SimpleUViT(**fields | options)
