"""Rematerialization changes only what is stored for the gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.ddpm import DDPM
from score_sde.models.dit import DiT
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.rin import RIN
from score_sde.models.simple_uvit import SimpleUViT
from score_sde.models.uvit import UViT

SHAPE = {"image_size": 4, "num_channels": 1}
LEVELS = {"ch_mult": (1, 2), "num_res_blocks": 1, "dropout": 0.3}
TINY = {**SHAPE, **LEVELS, "attn_resolutions": (2,)}
TOKENS = {**SHAPE, "patch_size": 1, "width": 8, "depth": 2, "num_heads": 2}
LATENTS = {"num_latents": 2, "latent_width": 8, "latent_depth": 1}
NETWORKS = {
    "ncsnpp": (NCSNpp, {**TINY, "nf": 8}),
    "ncsnpp of ddpm blocks": (NCSNpp, {**TINY, "nf": 8, "resblock_type": "ddpm"}),
    "ddpm": (DDPM, {**TINY, "nf": 32}),
    "dit": (DiT, TOKENS),
    "uvit": (UViT, TOKENS),
    "simple_uvit": (SimpleUViT, {**TOKENS, **LEVELS, "nf": 32}),
    "rin": (RIN, {**TOKENS, **LATENTS}),
}
BLOCKS = ("Resnet", "Attn", "block", "in_", "mid_", "out_", "down_", "middle_", "up_")
"""How the names of residual and attention blocks begin."""
X = jax.random.normal(jax.random.key(1), (2, 4, 4, 1))
TIMES, KEYS = jnp.array([3.0, 500.0]), jax.random.split(jax.random.key(2), 2)


@pytest.fixture(params=NETWORKS)
def pair(request):
    network, options = NETWORKS[request.param]
    return [network(**options, remat=remat) for remat in (False, True)]


def loss(network):
    return lambda params: jnp.mean(network.apply({"params": params}, X, TIMES, (), KEYS) ** 2)


def rematerialised(program):
    return str(program).count("remat")


def test_the_same_parameters_and_every_block_again(pair):
    """By name and in order, so that published weights can be loaded."""
    plain, again = (
        jax.eval_shape(network.init, jax.random.key(0), X, TIMES)["params"] for network in pair
    )
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    assert list(plain) == list(again)
    assert jax.tree.leaves(plain) == jax.tree.leaves(again)
    programs = [jax.make_jaxpr(loss(network))(plain) for network in pair]
    blocks = [name for name in plain if name.startswith(BLOCKS)]
    assert [rematerialised(program) for program in programs] == [0, len(blocks)]
    assert blocks


class OneBlock(NCSNpp):
    """A residual block and attention."""

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        h = self._block(4)(jnp.repeat(x, 4, axis=-1), noise_input[:, None], dropout_keys)
        return self._attended(h, None)


def test_the_gradient_of_a_block():
    compare([OneBlock(**TINY, nf=8, resblock_type="ddpm", remat=remat) for remat in (False, True)])


@pytest.mark.slow
def test_the_gradient_of_a_network(pair):
    compare(pair)


def compare(pair):
    """With dropout on; a few ulp, since the two programs fuse differently."""
    params = jax.jit(pair[0].init)(jax.random.key(0), X, TIMES)["params"]
    # The last layers begin at nothing, so that hardly any gradient would pass.
    params = jax.tree.map(lambda p: p + 0.1, params)
    (value, gradient), (value_again, gradient_again) = (
        jax.jit(jax.value_and_grad(loss(network)))(params) for network in pair
    )
    np.testing.assert_allclose(value, value_again, rtol=1e-6)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradient))
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest)
