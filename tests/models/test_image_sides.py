"""Non-square images: a network with transposed weights and images gives the transposed output."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import ConfigError
from score_sde.models.ddpm import DDPM
from score_sde.models.ncsnpp import NCSNpp

SMALL = {"num_channels": 2, "ch_mult": (1, 1), "num_res_blocks": 1, "attn_resolutions": (2,)}
NETWORKS = {
    "biggan": (NCSNpp, {"nf": 8, "fir": True, "progressive_input": "residual"}),
    "ddpm blocks": (NCSNpp, {"nf": 8, "fir": True, "resblock_type": "ddpm", "progressive": "output_skip"}),
    "ddpm": (DDPM, {"nf": 32}),
}  # fmt: skip


def turned(array):
    """Of images (b, h, w, c)."""
    return np.swapaxes(array, 1, 2)


def turned_weights(params):
    """Rows and columns of the kernels (3, 3, in, out) exchanged."""
    return jax.tree.map(lambda w: np.swapaxes(w, 0, 1) if w.ndim == 4 else w, params)


def compiled(network):
    apply = jax.jit(network.apply, compiler_options={"xla_backend_optimization_level": 0})
    return lambda params, x: np.asarray(apply(params, x, jnp.array([0.3, 0.8])))


@pytest.mark.parametrize(
    "name", ["biggan", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ddpm blocks", "ddpm"))]
)  # fmt: skip
def test_a_network_turned_over_gives_the_answer_turned_over(name):
    """Attention is at the level where the shorter side has two pixels, the second one, whichever side is shorter."""
    kind, options = NETWORKS[name]
    wide, high = (
        kind(image_size=h, image_width=w, **SMALL, **options) for h, w in ((4, 8), (8, 4))
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 8, 2)).astype(np.float32)
    shapes = jax.eval_shape(wide.init, jax.random.key(0), x, jnp.ones(2))
    params = jax.tree.map(lambda s: 0.3 * rng.normal(size=s.shape).astype(s.dtype), shapes)
    expected, of_high = compiled(wide)(params, x), compiled(high)
    assert expected.shape == (2, 4, 8, 2)
    scale = np.abs(expected).max()
    found = turned(of_high(turned_weights(params), turned(x)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * scale)
    unturned = turned(of_high(params, turned(x)))
    assert np.abs(unturned - expected).max() > 0.01 * scale


@pytest.mark.parametrize(("h", "w"), [(8, 0), (8, 16), (16, 8)])
def test_attention_is_where_the_shorter_side_says(h, w):
    network = NCSNpp(image_size=h, image_width=w, nf=8, ch_mult=(1, 1, 1), attn_resolutions=(8, 2))
    levels = [np.zeros((1, h >> level, (w or h) >> level, 8)) for level in range(3)]
    assert [network.attends(h) for h in levels] == [True, False, True]


@pytest.mark.parametrize(
    ("h", "w", "message"),
    [
        (8, 10, r"images have 8x10 pixels, .* multiple of 4.*\(for example 10 to 8 or 12\)"),
        (10, 8, r"images have 10x8 pixels, .* multiple of 4.*\(for example 10 to 8 or 12\)"),
        (16, 8, r"attn_resolutions=\(16,\): .* of 16x8 pixels have 8, 4, 2, so sizes not in this list would have no attention"),
    ],
)  # fmt: skip
def test_a_side_that_does_not_fit_is_refused(h, w, message):
    with pytest.raises(ConfigError, match=message):
        NCSNpp(image_size=h, image_width=w, nf=8, ch_mult=(1, 1, 1), attn_resolutions=(16,))


@pytest.mark.parametrize("size", [0, -8])
def test_a_size_of_nothing_is_refused(size):
    with pytest.raises(ConfigError, match=f"data.image_size={size}: expected a positive number"):
        NCSNpp(image_size=size, nf=8)
