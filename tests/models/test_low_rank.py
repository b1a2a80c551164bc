"""Low-rank updates: the output of layers with them, and their numbers of parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.errors import ConfigError
from score_sde.models.layers import NIN
from score_sde.models.low_rank import LowRank, count, first_adapters, merged, target_shapes
from score_sde.models.networks import build_network
from score_sde.training.state import init_params

EVERY = "(kernel|weight|W)$"


def random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def of_layer(name, kernel, bias, A, B):
    bias_name = "b" if name == "W" else "bias"
    return {"L": {name: kernel, bias_name: bias}}, {"L": {name: {"A": A, "B": B}}}


@pytest.mark.parametrize("kind", ["dense", "nin", "conv"])
def test_the_merged_layer_is_the_layer_beside_a_thin_one(kind):
    """The update is alpha / r = 3 / 2 times two successive layers, to r channels and then to the output channels."""
    x, B, bias = random(0, 2, 5, 6, 3), random(1, 2, 7), random(2, 7)
    sides = (3, 3) if kind == "conv" else ()
    A, kernel = random(3, *sides, 3, 2), random(4, *sides, 3, 7)
    if kind == "conv":
        layer, name, thin, wide = (
            nn.Conv(7, (3, 3)),
            "kernel",
            nn.Conv(2, (3, 3)),
            nn.Conv(7, (1, 1)),
        )
        beside = {"kernel": B[None, None], "bias": np.zeros(7)}
    elif kind == "nin":
        layer, name, thin, wide = NIN(7), "W", nn.Dense(2), nn.Dense(7)
        beside = {"kernel": B, "bias": np.zeros(7)}
    else:
        layer, name, thin, wide = nn.Dense(7), "kernel", nn.Dense(2), nn.Dense(7)
        beside = {"kernel": B, "bias": np.zeros(7)}
    params, adapters = of_layer(name, kernel, bias, A.reshape(-1, 2), B)
    h = thin.apply({"params": {"kernel": A, "bias": np.zeros(2)}}, x)
    expected = layer.apply({"params": params["L"]}, x) + 1.5 * wide.apply({"params": beside}, h)
    both = merged(params, adapters, LowRank(2, 3.0, EVERY).scale)
    # Round-off of sums of 27 products of size 1
    found = layer.apply({"params": both["L"]}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
    assert found.shape == (2, 5, 6, 7)
    # Inside a program it is the same as in NumPy.
    traced = jax.jit(lambda p, a: merged(p, a, 1.5))(params, adapters)
    np.testing.assert_allclose(traced["L"][name], both["L"][name], rtol=1e-6, atol=1e-6)
    change = (both["L"][name] - kernel).reshape(-1, 7).astype(np.float64)
    values = np.linalg.svd(change, compute_uv=False)
    assert values[1] > 0.1
    assert np.all(values[2:] < 1e-5)


PARAMS = {
    "Conv_0": {"bias": random(0, 5), "kernel": random(1, 3, 3, 4, 5)},
    "Dense_0": {"kernel": random(2, 6, 8)},
    "adaLN.1": {"kernel": random(3, 6, 8)},  # names of parts may have dots, as DiT's
}


def test_the_first_update_is_none_bit_for_bit():
    """A is random with variance 1 / m, determined by the key; B is 0, so at first only B has a gradient."""
    low_rank = LowRank(2, 8.0, EVERY)
    adapters = first_adapters(low_rank, PARAMS, jax.random.key(0))
    # By hand: r (k k in + out), r (in + out)
    assert count(adapters) == 2 * (9 * 4 + 5) + 2 * (6 + 8) + 2 * (6 + 8)
    jax.tree.map(np.testing.assert_array_equal, merged(PARAMS, adapters, 4.0), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, merged(PARAMS, adapters, 0.0), PARAMS)
    again = first_adapters(low_rank, PARAMS, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, again, adapters)
    assert not np.array_equal(
        adapters["Dense_0"]["kernel"]["A"], adapters["adaLN.1"]["kernel"]["A"]
    )

    def loss(adapters):
        updated = merged(PARAMS, adapters, low_rank.scale)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(updated))

    for place in jax.tree.leaves(jax.grad(loss)(adapters), is_leaf=lambda node: "A" in node):
        assert not np.any(place["A"])
        assert np.all(place["B"] != 0)
    wide = {"kernel": np.zeros((400, 400), np.float32)}
    A = first_adapters(LowRank(50, 1.0, "kernel"), wide, jax.random.key(1))["kernel"]["A"]
    # 20,000 normal numbers: the relative standard error of the variance is 1 %. A false alarm, 5 of these: 6e-7.
    assert 400 * np.var(A) == pytest.approx(1, abs=0.05)


def test_no_scale_is_no_update_and_two_updates_add_up():
    def updated(params, seed, scale):
        tree = {"Dense_0": {"kernel": {"A": random(seed, 6, 1), "B": random(seed + 1, 1, 8)}}}
        return merged(params, tree, scale)

    jax.tree.map(np.testing.assert_array_equal, updated(PARAMS, 5, 0.0), PARAMS)
    one, other = updated(PARAMS, 5, 0.5), updated(PARAMS, 7, -2.0)
    both = updated(updated(PARAMS, 5, 0.5), 7, -2.0)
    jax.tree.map(
        lambda b, o, t, p: np.testing.assert_allclose(b - p, (o - p) + (t - p), atol=1e-5),
        both, one, other, PARAMS,
    )  # fmt: skip
    assert np.array_equal(both["Conv_0"]["kernel"], PARAMS["Conv_0"]["kernel"])


@pytest.mark.parametrize(
    ("name", "chosen", "others"),
    [
        ("ncsnpp", "Conv_0.kernel AttnBlockpp_0.NIN_3.W", "ClassEmbedding_0.table"),
        ("dit", "blocks_0.attn.qkv.kernel x_embedder.proj.kernel", "y_embedder.table"),
        ("edm2", "enc_4x4_block0.attn_qkv.kernel out_conv.kernel", "out_gain"),
    ],
)
def test_every_layer_of_a_network_is_a_target(name, chosen, others):
    """But not tables of classes or positions, biases or norms."""
    config = get_config()
    config.data.image_size = 8
    config.model.update(name=name, nf=32, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(4,))
    config.model.update(num_classes=10, width=32, depth=1, num_heads=2, head_channels=16)
    config.model.patch_size = 2
    params = jax.eval_shape(lambda: init_params(config, build_network(config)))
    found = {".".join(path) for path in target_shapes(LowRank(1, 1.0, EVERY), params)}
    assert set(chosen.split()) <= found
    assert not set(others.split()) & found
    attention = target_shapes(LowRank(1, 1.0, "qkv|proj|NIN"), params)
    assert 0 < len(attention) < len(found)


@pytest.mark.parametrize(
    ("low_rank", "message"),
    [
        (
            LowRank(1, 1.0, "Attn"),
            "targets='Attn' matches no kernel; .* the 3 names Conv_0.kernel, ",
        ),
        (LowRank(1, 1.0, "bias"), "targets='bias' matches no kernel"),
        (
            LowRank(1, 1.0, "Dense_["),
            r"targets='Dense_\[': unterminated character set .*expected a",
        ),
        (
            LowRank(4, 1.0, "Dense"),
            r"lora.rank=4: .* have 56 numbers, .* the 1 kernels .* 48; choose",
        ),
    ],
)
def test_what_cannot_be_updated_is_refused(low_rank, message):
    with pytest.raises(ConfigError, match=message):
        target_shapes(low_rank, PARAMS)
