"""RIN against its description: a NumPy reimplementation, its size and cost by layers, and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import erf, softmax

from score_sde.configs.subvp_digits import get_config
from score_sde.errors import ConfigError
from score_sde.models.dit import DiT
from score_sde.models.networks import build_network
from score_sde.models.rin import RIN
from tests.models.published_arrays import FAST_COMPILE, number_of_parameters
from tests.models.test_network_promises import drawn

OF_8 = {"image_size": 8, "patch_size": 4, "width": 8, "num_heads": 2, "depth": 2}
LATENTS = {"num_latents": 3, "latent_width": 12, "latent_depth": 2}
NETWORK = RIN(**OF_8 | {"num_heads": 4} | LATENTS, num_classes=3)
SMALLER = NETWORK.copy(depth=1, latent_depth=1)
X = np.random.default_rng(1).standard_normal((2, 8, 8, 3))
TIMES, LABELS = np.array([3.0, 700.0]), np.array([2, 0])
CONDITION = {"label": jnp.asarray(LABELS, jnp.int32)}


@pytest.fixture(scope="module")
def params():
    """Every parameter at random, in float32."""
    return jax.tree.map(np.asarray, drawn(NETWORK)["params"])


@pytest.fixture(scope="module")
def apply():
    """The network of these two images, times and labels, compiled once."""
    run = jax.jit(
        lambda params, x, times: NETWORK.apply({"params": params}, x, times, CONDITION),
        compiler_options=FAST_COMPILE,
    )
    return lambda params, x=X, times=TIMES: np.asarray(
        run(params, jnp.asarray(x, jnp.float32), jnp.asarray(times, jnp.float32))
    )


def affine(layer, x):
    return x @ np.float64(layer["kernel"]) + np.float64(layer["bias"])


def normed(layer, x):
    std = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) / std * np.float64(layer["scale"]) + layer["bias"]


def attended(layer, x, source):
    """One image and one head at a time."""
    q, k, v = (affine(layer[name], of) for name, of in (("q", x), ("k", source), ("v", source)))
    out, d = np.zeros_like(q), q.shape[-1] // 4
    for image in range(len(q)):
        for head in range(4):
            of = image, slice(None), slice(head * d, (head + 1) * d)
            out[of] = softmax(q[of] @ k[of].T / np.sqrt(d), axis=-1) @ v[of]
    return affine(layer["proj"], out)


def layer_in_numpy(layer, x, source=None):
    h = normed(layer["norm1"], x)
    x = x + attended(layer["attn"], h, h if source is None else source)
    hidden = affine(layer["mlp"]["fc1"], normed(layer["norm2"], x))
    return x + affine(layer["mlp"]["fc2"], hidden * (1 + erf(hidden / np.sqrt(2))) / 2)


def in_numpy(params, x):
    """The network of width 8 in float64: patches of 4x4 pixels, four heads, two blocks."""
    angles = TIMES[:, None] * 10_000.0 ** (-np.arange(128) / 128)
    hidden = affine(params["time"]["mlp_0"], np.concatenate([np.cos(angles), np.sin(angles)], -1))
    time = affine(params["time"]["mlp_2"], hidden / (1 + np.exp(-hidden)))
    learnt = np.repeat(np.float64(params["latents"]), 2, axis=0)
    label = np.float64(params["label_emb"]["table"])[LABELS]
    z = np.concatenate([label[:, None], time[:, None], learnt], 1)
    corners = [(0, 0), (0, 4), (4, 0), (4, 4)]
    patches = np.stack([x[:, i : i + 4, j : j + 4].reshape(2, -1) for i, j in corners], 1)
    tokens = normed(params["patch_norm"], affine(params["patch_embed"]["proj"], patches))
    tokens = tokens + np.float64(params["pos_embed"])
    for block in range(2):
        z = layer_in_numpy(params[f"block_{block}_read"], z, tokens)
        for layer in range(2):
            z = layer_in_numpy(params[f"block_{block}_compute_{layer}"], z)
        tokens = layer_in_numpy(params[f"block_{block}_write"], tokens, z)
    patches = affine(params["head"], normed(params["norm"], tokens))
    out = np.zeros_like(x)
    for n, (i, j) in enumerate(corners):
        out[:, i : i + 4, j : j + 4] = patches[:, n].reshape(2, 4, 4, 3)
    return out


def test_output_and_derivative_are_those_of_the_description(params):
    """In float64; the directional derivative by central differences, whose error is of second order in the step."""
    along, step = np.random.default_rng(2).standard_normal(X.shape), 1e-4
    differences = in_numpy(params, X + step * along) - in_numpy(params, X - step * along)
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), params)

        def run(x):
            return NETWORK.apply({"params": exact}, x, jnp.asarray(TIMES), CONDITION)

        out, derivative = jax.jit(
            lambda x, v: jax.jvp(run, (x,), (v,)), compiler_options=FAST_COMPILE
        )(X, along)
    assert out.dtype == "float64"
    assert_allclose(out, in_numpy(params, X), rtol=1e-10, atol=1e-10)
    assert_allclose(derivative, differences / (2 * step), rtol=1e-5, atol=1e-5)


def with_pieces(params, name, changed):
    """Parameters with another array or layer in one place, of a path with slashes."""
    first, _, rest = name.partition("/")
    new = changed(params[first]) if not rest else with_pieces(params[first], rest, changed)
    return {**params, first: new}


def test_tokens_of_the_image_have_their_order_from_their_positions_alone(params, apply):
    order = np.array([2, 0, 3, 1])
    moved = with_pieces(params, "pos_embed", lambda of: of[:, order])
    patches = np.asarray(NETWORK.patches(X))[:, order]
    out = NETWORK.patches(apply(moved, NETWORK.image(patches)))
    assert_allclose(out, np.asarray(NETWORK.patches(apply(params)))[:, order], atol=1e-5)
    unmoved = NETWORK.patches(apply(params, NETWORK.image(patches)))
    assert np.abs(unmoved - out).max() > 1e-2


def test_latents_have_no_order(params, apply):
    moved = with_pieces(params, "latents", lambda of: of[:, [2, 0, 1]])
    assert_allclose(apply(moved), apply(params), atol=1e-5)
    other = with_pieces(params, "latents", lambda of: 2 * of)
    assert np.abs(apply(other) - apply(params)).max() > 1e-2


def test_what_is_not_written_is_not_seen(params, apply):
    """If the attention of every write is 0, no token depends on the latents, the time or another token."""
    mute = params
    for block in (0, 1):
        mute = with_pieces(
            mute, f"block_{block}_write/attn/proj", lambda of: jax.tree.map(np.zeros_like, of)
        )
    out = apply(mute)
    np.testing.assert_array_equal(apply(mute, times=TIMES + 100), out)
    np.testing.assert_array_equal(
        apply(with_pieces(mute, "latents", lambda of: of + 1)),
        out,
    )
    elsewhere = X.copy()
    elsewhere[:, :4, :4] += 1
    changed = apply(mute, elsewhere) != out
    assert changed[:, :4, :4].any()
    assert not changed[:, 4:].any()
    # With it all see all, and the time; only of their own image.
    elsewhere[1] = X[1]
    changed = np.abs(apply(params, elsewhere) - apply(params))
    assert changed[0, 4:, 4:].max() > 1e-3
    assert changed[1].max() == 0
    assert np.abs(apply(params, times=TIMES + 100) - apply(params)).max() > 1e-3


def test_a_new_network_outputs_zero():
    begun = jax.jit(SMALLER.init_with_output, compiler_options=FAST_COMPILE)
    assert not begun(jax.random.key(0, impl="rbg"), X, TIMES)[0].any()


def linear(inputs, outputs):
    return inputs * outputs + outputs


def size(network, tokens):
    """Written out layer by layer, from the description."""
    w, z, a = network.width, network.latent_width, min(network.width, network.latent_width)
    numbers = network.patch_size**2 * network.num_channels

    def layer(own, other, shared):
        hidden = int(own * network.mlp_ratio)
        attention = linear(own, shared) + 2 * linear(other, shared) + linear(shared, own)
        return 4 * own + attention + linear(own, hidden) + linear(hidden, own)

    block = layer(z, w, a) + network.latent_depth * layer(z, z, z) + layer(w, z, a)
    told = linear(256, z) + linear(z, z) + bool(network.num_classes) * (network.num_classes + 1) * z
    ends = linear(numbers, w) + 2 * w + tokens * w + 2 * w + linear(w, numbers)
    return told + network.num_latents * z + network.depth * block + ends


CIFAR = {"image_size": 32, "width": 256, "latent_width": 512, "num_heads": 16}


@pytest.mark.parametrize(
    ("options", "tokens", "count"),
    [
        ({**OF_8, **LATENTS}, 4, 16_804),
        ({**CIFAR, "depth": 3, "latent_depth": 2, "num_classes": 10}, 256, 29_703_948),
        (
            {"image_size": 64, "patch_size": 8, "width": 512, "depth": 4, "num_heads": 16},
            64,
            152_336_576,
        ),
    ],
    ids=["tiny", "cifar10", "imagenet64"],
)
def test_the_number_of_parameters_is_that_of_the_description(options, tokens, count):
    network = RIN(**options)
    assert number_of_parameters(network) == size(network, tokens) == count


def operations(network, side):
    """Of one image, as XLA counts them."""
    sized = network.copy(image_size=side)
    x, t = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, side, side, 3), (1,)))
    params = jax.eval_shape(sized.init, jax.random.key(0), x, t)
    return jax.jit(sized.apply).lower(params, x, t).cost_analysis()["flops"]


def test_the_cost_is_linear_in_the_number_of_pixels():
    """For 4, 16 and 64 tokens the cost has a slope but no curvature, unlike a transformer's; the constant part depends on the latents only."""
    few, more, many = (operations(SMALLER, side) for side in (8, 16, 32))
    assert_allclose((many - more) / (more - few), (64 - 16) / (16 - 4), rtol=1e-6)
    of_dit = [operations(DiT(**OF_8 | {"depth": 1}), side) for side in (8, 16, 32)]
    assert (of_dit[2] - of_dit[1]) / (of_dit[1] - of_dit[0]) > 4.2
    # A further layer of the latents costs the same beside any image.
    deeper = [operations(SMALLER.copy(latent_depth=2), side) for side in (8, 16)]
    assert deeper[1] - more == deeper[0] - few > 0


def test_the_digits_variant_is_such_a_network():
    network = build_network(get_config("rin"))
    assert isinstance(network, RIN)
    assert number_of_parameters(network) == size(network, 64)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 3}, r"num_heads=3 does not divide both model.width=8 and model.latent_width=12; use one of 1, 2, 4$"),
        ({"num_heads": 8}, r"num_heads=8 does not divide both"),
        ({"patch_size": 3}, r"model.patch_size=3 does not divide images of 8x8 pixels"),
        ({"num_latents": 0}, r"model.num_latents=0: expected a positive integer"),
        ({"latent_width": 2}, r"model.latent_width=2: expected 4 or more"),
        ({"latent_depth": 0}, r"model.latent_depth=0: expected a positive integer"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_such_network_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        RIN(**OF_8 | LATENTS | options)
