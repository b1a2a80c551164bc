"""Properties of the networks modeled on published PyTorch ones, for any weights.

Their outputs are tested against golden files (test_transformers.py, test_adm.py, test_edm_networks.py, test_edm2.py); test_networks.py tests
the same properties of NCSN++ and DDPM.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.models.adm import ADM
from score_sde.models.dit import DiT
from score_sde.models.edm2 import EDM2
from score_sde.models.edm_adm import EDMADM
from score_sde.models.edm_unet import EDMUNet
from score_sde.models.rin import RIN
from score_sde.models.simple_uvit import SimpleUViT
from score_sde.models.uvit import UViT

# Compiling is nearly all the time of these tests, and -O0 changes no formula.
FAST_COMPILE = {"xla_backend_optimization_level": 0}
X, TIME = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
TIMES = jnp.array([3.0, 700.0])
TOKENS = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 2, "num_heads": 2}
ONE_LEVEL = {"image_size": 8, "nf": 32, "ch_mult": (1,), "num_res_blocks": 1}
ATTENDED = {**ONE_LEVEL, "attn_resolutions": (8,), "num_classes": 3}
SMALLEST = {
    "dit": DiT(**TOKENS, num_classes=3),
    "uvit": UViT(**TOKENS, num_classes=3),
    "simple_uvit": SimpleUViT(
        **ONE_LEVEL, patch_size=2, width=8, depth=1, num_heads=2, num_classes=3
    ),
    "rin": RIN(
        **TOKENS | {"depth": 1}, num_latents=3, latent_width=16, latent_depth=1, num_classes=3
    ),
    "adm": ADM(**ATTENDED, head_channels=16),
    "edm_unet": EDMUNet(**ATTENDED | {"nf": 8}),
    "edm_adm": EDMADM(**ATTENDED | {"nf": 8}, head_channels=4),
    "edm2": EDM2(**ATTENDED | {"nf": 8}, head_channels=4),
}


def drawn(network):
    """Every parameter at random, under which layers that begin as zero hide nothing."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, TIME)
    rng = np.random.default_rng(0)

    def draw(s):
        # Of a gain, one number that scales all that a layer gives, around 1.
        return jnp.asarray(0.3 * rng.normal(size=s.shape) + (s.ndim == 0), s.dtype)

    return jax.tree.map(draw, shapes)


@pytest.fixture(scope="module", params=SMALLEST)
def tiny(request):
    """A network, with what it makes of two images of classes 0 and 2."""
    network = SMALLEST[request.param]
    params, x = drawn(network), jax.random.uniform(jax.random.key(0), X.shape)
    apply = jax.jit(network.apply, compiler_options=FAST_COMPILE)

    def out(*labels):
        return apply(params, x, TIMES, {"label": jnp.array(labels)})

    def silent(x):
        return apply(params, x, TIMES)

    return SimpleNamespace(network=network, params=params, x=x, out=out, silent=silent)


def test_labels_matter_each_to_its_own_image(tiny):
    out, other = tiny.out(0, 2), tiny.out(1, 2)
    assert jnp.abs(out[0] - other[0]).max() > 1e-2
    np.testing.assert_array_equal(out[1], other[1])


def test_no_condition_is_the_last_class(tiny):
    assert_allclose(tiny.silent(tiny.x), tiny.out(3, 3), rtol=1e-4, atol=1e-5)


def test_images_in_0_1_are_centred_inside(tiny):
    inside = jax.jit(tiny.network.copy(centered=False).apply, compiler_options=FAST_COMPILE)
    assert_allclose(
        inside(tiny.params, tiny.x, TIMES), tiny.silent(2 * tiny.x - 1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["adm", "edm_unet", "edm_adm", "edm2"])
def test_parameters_have_their_names_under_remat(name):
    """In order and with their shapes, so that published weights can be loaded; test_remat.py tests the other networks."""
    network = SMALLEST[name].copy(ch_mult=(1, 1))  # with blocks that resample
    plain, again = (
        jax.eval_shape(each.init, jax.random.key(0), X, TIME)["params"]
        for each in (network, network.copy(remat=True))
    )
    assert list(plain) == list(again)
    assert plain == again


# The blocks of all networks are called again by one function (models/network.py), which DiT shows.
@pytest.mark.parametrize(
    "tiny",
    [pytest.param(name, marks=() if name == "dit" else pytest.mark.slow) for name in SMALLEST],
    indirect=True,
)
def test_what_is_computed_again_is_the_same(tiny):
    """model.remat does not change outputs or gradients, up to the rounding of sums of terms as large as the largest gradient."""

    def loss(network):
        return jax.jit(
            jax.value_and_grad(lambda p: (network.apply(p, tiny.x, TIMES) ** 2).sum()),
            compiler_options=FAST_COMPILE,
        )(tiny.params)

    jax.tree.map(
        lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=max(1e-4, 1e-6 * jnp.abs(b).max())),
        loss(tiny.network),
        loss(tiny.network.copy(remat=True)),
    )


def test_bfloat16_is_close_to_float32(tiny):
    full = tiny.silent(tiny.x)
    half = jax.jit(tiny.network.copy(dtype="bfloat16").apply, compiler_options=FAST_COMPILE)
    rounded = half(tiny.params, tiny.x, TIMES)
    assert rounded.dtype == jnp.float32
    # bfloat16 rounds by 2^-9 = 0.2 %; some tens of roundings in a row. 0 would mean that nothing is rounded.
    assert 1e-4 < jnp.linalg.norm(rounded - full) / jnp.linalg.norm(full) < 5e-2
