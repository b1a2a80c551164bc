"""ADM's classifier in the published code's numbers (tests/golden/peers/adm_classifier.npz), and what it says of noisy images."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.models.noisy_classifier import NoisyClassifier, NoisyClassifierNetwork, of_label
from score_sde.sde_lib import VE, VP

GOLDEN = Path(__file__).parents[1] / "golden" / "peers" / "adm_classifier.npz"


def norm(part):
    return {"scale": part["weight"], "bias": part["bias"]}


def conv(part):
    return {"kernel": part["weight"].transpose(2, 3, 1, 0), "bias": part["bias"]}


def dense(part):
    """Of a linear layer, or a convolution over one position."""
    weight = part["weight"].reshape(part["weight"].shape[:2])
    return {"kernel": weight.T, "bias": part["bias"]}


def block(part):
    first, level, second = part["in_layers"], part["emb_layers"], part["out_layers"]
    return {
        "GroupNorm_0": norm(first["0"]),
        "Conv_0": conv(first["2"]),
        "Dense_0": dense(level["1"]),
        "GroupNorm_1": norm(second["0"]),
        "Conv_1": conv(second["3"]),
    }


def attention(part):
    return {
        "GroupNorm_0": norm(part["norm"]),
        "Dense_0": dense(part["qkv"]),
        "Dense_1": dense(part["proj_out"]),
    }


def converted(tree):
    """The published parameters under our names."""
    blocks, pool = tree["input_blocks"], tree["out"]["2"]
    middle = tree["middle_block"]
    return {
        "Dense_0": dense(tree["time_embed"]["0"]),
        "Dense_1": dense(tree["time_embed"]["2"]),
        "Conv_0": conv(blocks["0"]["0"]),
        "ResBlock_0": block(blocks["1"]["0"]),
        "ResBlock_1": block(blocks["2"]["0"]),
        "ResBlock_2": block(blocks["3"]["0"]),
        "Attention_0": attention(blocks["3"]["1"]),
        "ResBlock_3": block(middle["0"]),
        "Attention_1": attention(middle["1"]),
        "ResBlock_4": block(middle["2"]),
        "GroupNorm_0": norm(tree["out"]["0"]),
        "AttentionPool_0": {
            "positions": pool["positional_embedding"].T,
            "Dense_0": dense(pool["qkv_proj"]),
            "Dense_1": dense(pool["c_proj"]),
        },
    }


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        arrays = {name: file[name] for name in file.files}
    tree = {}
    for name, array in arrays.items():
        if name.startswith("state_dict/"):
            *path, last = name.removeprefix("state_dict/").split(".")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[last] = array
    return arrays, tree


def network(options):
    return NoisyClassifierNetwork(
        options["image_size"],
        num_classes=options["out_channels"],
        width=options["model_channels"],
        ch_mult=tuple(options["channel_mult"]),
        num_res_blocks=options["num_res_blocks"],
        attn_resolutions=tuple(
            options["image_size"] // n for n in options["attention_resolutions"]
        ),
        head_channels=options["num_head_channels"],
        dropout=options["dropout"],
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_published_numbers(x64, golden, dtype):
    """Logits, their gradient, and that of ln p(y | x_t): float32 to the tolerance of the file's notes, float64 to round-off."""
    arrays, tree = golden
    net = network(json.loads(str(arrays["config_json"])))
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), converted(tree))
    x = jnp.asarray(arrays["x"].transpose(0, 2, 3, 1), dtype)
    t, y = jnp.asarray(arrays["t"], dtype), jnp.asarray(arrays["y"], jnp.int32)

    @jax.jit
    def outputs(params, x):
        def logits(x):
            return net.apply({"params": params}, x, t)

        out, pullback = jax.vjp(logits, x)
        log_probability, of_y = jax.vjp(lambda x: of_label(jax.nn.log_softmax(logits(x)), y), x)
        (slope,) = pullback(jnp.asarray(arrays["cotangent"], dtype))
        (guide,) = of_y(jnp.ones(len(y), dtype))
        return out, slope, log_probability, guide

    names = ("out", "grad_x", "log_prob", "grad_log_prob")
    for name, got in zip(names, outputs(params, x), strict=True):
        expected = arrays[f"{name}_f64"]
        expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
        tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype] * np.abs(expected).max()
        assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=name)


def test_published_size(golden):
    """The same arrays, so as many parameters, which a fresh network has too; its last layers of blocks begin at 0."""
    arrays, tree = golden
    net = network(json.loads(str(arrays["config_json"])))
    x = jnp.zeros((1, 8, 8, 3))
    fresh = jax.eval_shape(lambda: net.init(jax.random.key(0), x, jnp.ones(1)))["params"]
    shapes, expected = (jax.tree.map(jnp.shape, part) for part in (fresh, converted(tree)))
    assert shapes == expected
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(fresh)) == 168_714


def test_what_the_network_is_told_of_a_noisy_image():
    """999 t/T and an image of the same size at any noise, under VE too; a class that is none has all of the probability."""
    seen = []

    def apply(variables, x, noise_input, keys):
        seen.append((x, noise_input))
        return jnp.zeros((len(x), 3)) + jnp.arange(3.0)[None]

    x, t = 2.0 * jnp.ones((4, 2, 2, 1)), jnp.array([0.01, 0.4, 1.0, 1.0])
    for sde in (VP(), VE(0.01, 50.0)):
        found = NoisyClassifier({}, apply, sde).log_probability(x, t, jnp.array([0, 2, 3, -1]))
        expected = np.log(np.exp([0.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum())
        assert_allclose(found, [*expected, 0.0, np.nan], rtol=1e-6)
    assert_allclose(seen[0][0], x, rtol=1e-5)
    assert_allclose(
        seen[1][0][:, 0, 0, 0], 2.0 / np.sqrt(1 + (0.01 * 5000.0 ** np.asarray(t)) ** 2), rtol=1e-5
    )
    assert_allclose(seen[0][1], 999 * t, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("width=48: the levels have", {"width": 48}),
        ("head_channels=24 divides not all", {"head_channels": 24}),
        ("ch_mult=\\(\\)", {"ch_mult": ()}),
        ("needs a multiple of 4", {"image_size": 6, "ch_mult": (1, 1, 1)}),
        ("num_classes=1: expected 2 or more", {"num_classes": 1}),
    ],
)
def test_what_is_no_network_is_refused(words, options):
    with pytest.raises(ConfigError, match=words):
        NoisyClassifierNetwork(**{"image_size": 8, "ch_mult": (1, 2), **options})
