"""Attention and the networks with it in bfloat16: which products have bfloat16 operands, and what is rounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.adm import ADM
from score_sde.models.attention import attended
from score_sde.models.dit import DiT
from score_sde.models.rin import RIN
from score_sde.models.uvit import UViTBlock

TOKENS = {"image_size": 4, "patch_size": 2, "width": 8, "depth": 1, "num_heads": 2}
LATENTS = {"num_latents": 2, "latent_width": 8, "latent_depth": 1}
LEVEL = {"image_size": 4, "nf": 32, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": (4,)}
# With their layers that are in float32: embeddings of the noise level, and the last ones.
NETWORKS = {
    "dit": (DiT(**TOKENS), {"t_embedder", "final_layer"}),
    "rin": (RIN(**TOKENS, **LATENTS), {"time", "head"}),
    "adm": (ADM(**LEVEL, head_channels=8), {"time_embed_0", "time_embed_2", "emb_layers_1", "out_2"}),
}  # fmt: skip
ATTENTIONS = {"dit": 1, "rin": 3, "adm": 4}
PRODUCTS = ("dot_general", "conv_general_dilated")


def products(jaxpr, within=()):
    """The matrix products and convolutions of a program, each with the names of the layers around it."""
    for equation in jaxpr.eqns:
        around = (*within, *str(equation.source_info.name_stack).split("/"))
        if equation.primitive.name in PRODUCTS:
            yield set(around), equation
        for parameter in equation.params.values():
            if hasattr(parameter, "jaxpr"):
                yield from products(parameter.jaxpr, around)


def is_of_a_batch(equation):
    """Not by a kernel, which all images share."""
    return equation.primitive.name == "dot_general" and equation.params["dimension_numbers"][1][0]


@pytest.mark.parametrize("name", NETWORKS)
def test_products_take_bfloat16_and_logits_are_float32(name):
    network, accurate = NETWORKS[name]
    network = network.copy(dtype="bfloat16")
    x, t = jnp.zeros((1, 4, 4, 3)), jnp.ones(1)
    params = jax.eval_shape(network.init, jax.random.key(0), x, t)
    found = list(products(jax.make_jaxpr(network.apply)(params, x, t).jaxpr))
    for layers, equation in found:
        operands = {v.aval.dtype.name for v in equation.invars}
        assert operands == {"float32" if layers & accurate else "bfloat16"}, layers
    attention = [e.outvars[0].aval.dtype.name for _, e in found if is_of_a_batch(e)]
    assert attention == ["float32", "bfloat16"] * ATTENTIONS[name]


def test_only_the_weights_and_the_result_are_rounded(x64):
    """To eight bits, each by at most 2^-8 of itself; logits of 20 in bfloat16 would be off by up to .06."""
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 64, 2, 16)), jnp.bfloat16) for _ in "qkv")
    q = 4 * q
    exact = [part.astype(jnp.float64) for part in (q, k, v)]
    logits = jnp.einsum("bqhd,bkhd->bhqk", *exact[:2]) / 4
    assert 15 < jnp.abs(logits).max() < 30
    expected, largest = attended(*exact), attended(*exact[:2], jnp.abs(exact[2]))
    error = jnp.abs(attended(q, k, v) - expected)
    # The rounding of the result is of the sum with rounded weights; 1e-5: sums in float32.
    assert (error <= 2**-8 * (1 + 2**-8) * largest + 2**-8 * jnp.abs(expected) + 1e-5).all()
    # In float32 both are as good as their sums.
    single = [part.astype(jnp.float32) for part in (q, k, v)]
    np.testing.assert_allclose(attended(*single), expected, rtol=0, atol=1e-5)


def test_equal_logits_give_the_mean(x64):
    """And one far above the others its value alone; both in the dtype given."""
    v = jnp.asarray(np.random.default_rng(1).normal(size=(1, 5, 2, 3)))
    q = jnp.ones((1, 1, 2, 3))
    mean = attended(q, jnp.ones_like(v), v)
    np.testing.assert_allclose(mean[:, 0], v.mean(axis=1), rtol=1e-14)
    alone = attended(q, jnp.zeros_like(v).at[:, 3].set(1e3), v)
    np.testing.assert_array_equal(alone[:, 0], v[:, 3])
    assert mean.dtype == jnp.float64


def test_the_sum_of_uvits_blocks_stays_float32():
    """Also where a skip is merged by a layer in bfloat16."""
    block = UViTBlock(2, 8, False, jnp.bfloat16)
    x = jnp.ones((1, 3, 8))
    out, _ = jax.eval_shape(block.init_with_output, jax.random.key(0), x, x)
    assert out.dtype == jnp.float32
