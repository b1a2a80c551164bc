"""ADM against the published PyTorch network, and its sizes.

Golden files (tests/golden/peers/adm_unet_*.npz): openai/guided-diffusion 22e0df8, small, every parameter drawn at random, run
on a CPU in float64. Images there are (b, c, h, w).
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import ConfigError
from score_sde.foreign_weights.state_dicts import params_of
from score_sde.models.adm import ADM
from tests.models.published_arrays import (
    FAST_COMPILE,
    arrays_of,
    nhwc,
    number_of_parameters,
    relative_error,
    weights,
)


def adm(options):
    return ADM(
        image_size=options["image_size"],
        nf=options["model_channels"],
        ch_mult=tuple(options["channel_mult"]),
        num_res_blocks=options["num_res_blocks"],
        attn_resolutions=tuple(
            options["image_size"] // n for n in options["attention_resolutions"]
        ),
        head_channels=options.get("num_head_channels", 0),
        num_heads=options.get("num_heads", 6),
        attention_order="qkv_first" if options["use_new_attention_order"] else "heads_first",
        scale_shift=options["use_scale_shift_norm"],
        updown_blocks=options["resblock_updown"],
        learned_variance=options["out_channels"] == 6,
        num_classes=(options["num_classes"] or 1) - 1,  # ours has "no class" too
    )


@pytest.fixture(scope="module", params=["adm_unet_a", "adm_unet_b"])
def golden(request):
    """The first has classes, scale and shift, blocks that resample and a variance; the second has none of them."""
    arrays, options = arrays_of(request.param)
    state = weights(arrays)
    condition = {"label": jnp.asarray(arrays["y"], jnp.int32)} if "y" in arrays else ()
    network = adm(options)
    return SimpleNamespace(network=network, state=state, condition=condition, **arrays)


@pytest.mark.parametrize(
    ("dtype", "out_error", "grad_error"),
    [("float64", 1e-13, 1e-13), pytest.param("float32", 1e-5, 2e-5, marks=pytest.mark.slow)],
)
def test_output_and_gradient_are_the_published(golden, dtype, out_error, grad_error):
    with jax.enable_x64(dtype == "float64"):
        params = jax.tree.map(
            lambda a: jnp.asarray(a, dtype), params_of(golden.network, golden.state)
        )
        x, cotangent, t = (
            jnp.asarray(a, dtype) for a in (nhwc(golden.x), nhwc(golden.cotangent), golden.t)
        )

        def run(params, x):
            def apply(x):
                return golden.network.apply({"params": params}, x, t, golden.condition)

            out, pullback = jax.vjp(apply, x)
            return out, *pullback(cotangent)

        out, grad = jax.jit(run, compiler_options=FAST_COMPILE)(params, x)
    assert out.dtype == dtype
    assert relative_error(out, nhwc(golden.out_f64)) < out_error
    assert relative_error(grad, nhwc(golden.grad_x_f64)) < grad_error


# Of the constructors of the published repository, run with shapes alone. Of 1000 classes and no "no class", for which ours
# always has a vector.
CLASSES = {"num_classes": 999, "learned_variance": True}
LEVELS_256 = {"nf": 256, "ch_mult": (1, 1, 2, 2, 4, 4), "num_res_blocks": 2}
COUNTS = {
    "64": (64, {"nf": 192, "ch_mult": (1, 2, 3, 4), "num_res_blocks": 3, **CLASSES}, 295_904_454),
    "128": (
        128,
        {"nf": 256, "ch_mult": (1, 1, 2, 3, 4), "num_res_blocks": 2, "head_channels": 0}
        | {"num_heads": 4, **CLASSES},
        421_529_606,
    ),
    "256": (256, LEVELS_256 | CLASSES, 553_838_086),
    "256, of no class": (256, LEVELS_256 | {"learned_variance": True}, 552_814_086),
    # The published base width is twice the first level's.
    "512": (
        512,
        {"nf": 128, "ch_mult": (1, 2, 2, 4, 4, 8, 8), "num_res_blocks": 2}
        | {"noise_mult": 2, "emb_mult": 8, **CLASSES},
        558_997_638,
    ),
    "Improved DDPM on CIFAR-10": (
        32,
        {"nf": 128, "num_res_blocks": 3, "attn_resolutions": (16, 8), "head_channels": 0}
        | {"num_heads": 4, "updown_blocks": False, "learned_variance": True},
        52_546_438,
    ),
}


# With blocks that resample and without; tests/configs/test_peer_configs.py counts ADM of 256 pixels.
QUICK = ("Improved DDPM on CIFAR-10", "128")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COUNTS]
)
def test_published_numbers_of_parameters(name):
    size, options, count = COUNTS[name]
    network = ADM(image_size=size, **{"attn_resolutions": (32, 16, 8), **options})
    assert number_of_parameters(network) == count


def test_resampling_between_blocks_without_convolutions_has_no_parameters():
    """Two convolutions with 3x3x32x32 weights and 32 biases are missing, one in the down path and one in the up path."""
    with_conv = ADM(
        image_size=8,
        nf=32,
        ch_mult=(1, 1),
        num_res_blocks=1,
        attn_resolutions=(),
        head_channels=8,
        updown_blocks=False,
    )
    without = with_conv.copy(resamp_with_conv=False)
    gone = number_of_parameters(with_conv) - number_of_parameters(without)
    assert gone == 2 * (9 * 32 * 32 + 32)


def test_first_weights_have_the_published_spread():
    """Uniform within 1/sqrt(fan_in); the last layers of blocks and of the network are 0."""
    network = ADM(image_size=4, nf=64, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(4,))
    x = jnp.ones((1, 4, 4, 3))
    out, variables = jax.jit(network.init_with_output, compiler_options=FAST_COMPILE)(
        jax.random.key(0), x, jnp.ones(1)
    )
    block = variables["params"]["input_blocks_1_0"]
    bound = 1 / np.sqrt(9 * 64)
    assert 0.99 * bound < np.abs(block["in_layers_2"]["kernel"]).max() <= bound
    assert not block["out_layers_3"]["kernel"].any()
    assert not out.any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nf": 48}, r"model.nf=48: the levels have \[48, 96\] channels, .* multiple of 32"),
        ({"head_channels": 24}, r"model.head_channels=24 does not divide .*\[32, 64\]"),
        ({"head_channels": 0, "num_heads": 5}, r"model.num_heads=5 does not divide .* such as 4"),
        ({"nf": 1, "ch_mult": (64, 64)}, "noise_mult is 1, but must be even"),
        ({"image_size": 7}, "images have 7x7 pixels, .* multiple of 2"),
        ({"attn_resolutions": (2,)}, r"model.attn_resolutions=\(2,\): .* have 8, 4"),
        ({"attention_order": "new"}, "model.attention_order='new' is unknown"),
    ],
    ids=str,
)
def test_what_is_no_such_network_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        ADM(**{"image_size": 8, "nf": 32, "ch_mult": (1, 2), "attn_resolutions": (4,)} | options)
