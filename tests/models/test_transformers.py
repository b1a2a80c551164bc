"""DiT and U-ViT against the published PyTorch networks, and properties for any weights.

Golden files (tests/golden/peers/dit_*.npz, uvit_*.npz): facebookresearch/DiT ed81ce2 and baofff/U-ViT ce55170, small, every
parameter drawn at random, run on a CPU in float32 and in float64. Images there are (b, c, h, w).
"""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError, UserError
from score_sde.foreign_weights.state_dicts import params_of
from score_sde.models import dit as dit_module
from score_sde.models.dit import DiT, position_table
from score_sde.models.embeddings import time_features
from score_sde.models.uvit import UViT

GOLDEN = Path(__file__).parents[1] / "golden" / "peers"
# Compiling is nearly all the time of these tests, and -O0 changes no formula.
FAST_COMPILE = {"xla_backend_optimization_level": 0}
X, TIME = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def dit(options):
    return DiT(
        image_size=options["input_size"],
        num_channels=options["in_channels"],
        patch_size=options["patch_size"],
        width=options["hidden_size"],
        depth=options["depth"],
        num_heads=options["num_heads"],
        mlp_ratio=options["mlp_ratio"],
        num_classes=options["num_classes"],
        learned_variance=options["learn_sigma"],
    )


def uvit(options):
    return UViT(
        image_size=options["img_size"],
        num_channels=options["in_chans"],
        patch_size=options["patch_size"],
        width=options["embed_dim"],
        depth=options["depth"],
        num_heads=options["num_heads"],
        mlp_ratio=options["mlp_ratio"],
        num_classes=max(options["num_classes"] - 1, 0),  # theirs counts "no class"
        qkv_bias=options["qkv_bias"],
        time_mlp=options["mlp_time_embed"],
        final_conv=options["conv"],
    )


NETWORKS = {
    "dit_fixed_sigma": dit,
    "dit_learn_sigma": dit,
    "uvit_classes": uvit,
    "uvit_uncond": uvit,
}


@pytest.fixture(scope="module", params=NETWORKS)
def golden(request):
    return load(request.param)


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = dict(file)
    state = {k.removeprefix("state_dict/"): v for k, v in arrays.items() if "state_dict/" in k}
    network = NETWORKS[name](json.loads(str(arrays["config_json"])))
    condition = {"label": jnp.asarray(arrays["y"], jnp.int32)} if "y" in arrays else ()
    return SimpleNamespace(network=network, state=state, condition=condition, **arrays)


def relative_error(got, expected):
    return np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    ("dtype", "out_error", "grad_error"),
    [("float64", 1e-13, 1e-13), pytest.param("float32", 1e-5, 2e-5, marks=pytest.mark.slow)],
)
def test_output_and_gradient_are_the_published(golden, dtype, out_error, grad_error, monkeypatch):
    """Measured: 1e-15 in float64. The published DiT keeps its positions in float32 there too."""
    monkeypatch.setattr(dit_module, "position_table", lambda *of: np.float32(position_table(*of)))
    suffix = "_f64" if dtype == "float64" else ""
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
    assert relative_error(out, nhwc(getattr(golden, f"out{suffix}"))) < out_error
    assert relative_error(grad, nhwc(getattr(golden, f"grad_x{suffix}"))) < grad_error


@pytest.mark.parametrize("name", ["dit_fixed_sigma", "dit_learn_sigma"])
def test_positions_are_the_published(name):
    golden = load(name)
    side = golden.network.image_size // golden.network.patch_size
    table = position_table(side, side, golden.network.width)
    assert_allclose(table, golden.state["pos_embed"][0], atol=1e-7)


def test_positions_of_an_oblong_image():
    """Row-major; the first half of the width encodes the column. Position 1 at frequency 1 has the sine of 1."""
    table = position_table(2, 3, 8)
    assert_allclose(table[:, 0], np.sin([0, 1, 2, 0, 1, 2]), atol=1e-15)
    assert_allclose(table[:, 4], np.sin([0, 0, 0, 1, 1, 1]), atol=1e-15)
    assert_allclose(table[1, 1], np.sin(0.01), atol=1e-15)


def test_patches_and_image_are_inverse():
    network = DiT(image_size=4, image_width=6, patch_size=2, width=8, num_heads=2)
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    tokens = network.patches(x)
    assert_allclose(
        tokens[0, 1], x[0, :2, 2:4].ravel()
    )  # the second patch is to the right of the first
    assert_allclose(network.image(tokens), x)


SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
LATENT = {"image_size": 32, "num_channels": 4, "num_classes": 1000, "learned_variance": True}
CIFAR = {"image_size": 32, "num_channels": 3, "num_classes": 10}
# Of the constructors of the published repositories, run with shapes alone; DiT's without its fixed table of positions.
COUNTS = [
    ("S", 2, LATENT, 32_865_056),
    ("B", 2, LATENT, 130_315_808),
    ("L", 2, LATENT, 457_840_672),
    ("XL", 2, LATENT, 674_834_720),
    ("XL", 4, LATENT, 675_074_432 - 64 * 1152),
    ("S", 8, LATENT, 33_148_160 - 16 * 384),
    ("S", 2, CIFAR, 32_475_660),
    ("B", 2, CIFAR, 129_537_036),
]


def smallest_soon(counts):
    """The first two, of which the sizes or the patches differ; the others wait for the slow run."""
    return pytest.mark.parametrize(
        ("size", "patch_size", "of", "count"),
        [*counts[:2], *(pytest.param(*row, marks=pytest.mark.slow) for row in counts[2:])],
    )


@smallest_soon(COUNTS)
def test_dit_has_the_published_number_of_parameters(size, patch_size, of, count):
    width, depth, heads = SIZES[size]
    network = DiT(patch_size=patch_size, width=width, depth=depth, num_heads=heads, **of)
    assert number_of_parameters(network) == count


U_SIZES = {"S": (512, 13, 8), "M": (768, 17, 12), "L": (1024, 21, 16), "H": (1152, 29, 16)}
LATENT_U = {"image_size": 32, "num_channels": 4, "num_classes": 1000}
PIXELS_64 = {"image_size": 64, "num_channels": 3}
U_COUNTS = [
    ("S", 2, {"image_size": 32, "num_channels": 3}, 44_255_328),
    ("S", 4, PIXELS_64, 44_292_228),
    # Of 1000 classes and no "no class", for which ours always has a vector.
    ("M", 4, PIXELS_64 | {"num_classes": 999}, 130_940_292),
    ("L", 4, PIXELS_64 | {"num_classes": 999}, 286_827_652),
    ("L", 2, LATENT_U, 286_763_172),
    ("H", 2, LATENT_U | {"final_conv": False}, 500_832_016),
]


@smallest_soon(U_COUNTS)
def test_uvit_has_the_published_number_of_parameters(size, patch_size, of, count):
    width, depth, heads = U_SIZES[size]
    network = UViT(patch_size=patch_size, width=width, depth=depth, num_heads=heads, **of)
    assert number_of_parameters(network) == count


def number_of_parameters(network):
    side, channels = network.image_size, network.num_channels
    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    shapes = jax.eval_shape(
        network.init, jax.random.key(0), image, jax.ShapeDtypeStruct((1,), jnp.float32)
    )
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


TINY = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 2, "num_heads": 2, "num_classes": 3}
SMALLEST = {"dit": DiT(**TINY), "uvit": UViT(**TINY)}


TIMES = jnp.array([3.0, 700.0])


def test_a_new_dit_outputs_zero_and_a_new_uvit_little():
    """DiT's gates and head are initialized to zero (adaLN-Zero), U-ViT's layers to N(0, 0.02^2)."""

    def first(network):
        run = jax.jit(network.init_with_output, compiler_options=FAST_COMPILE)
        return run(jax.random.key(1), jnp.ones(X.shape), TIMES)[0]

    size = {name: np.abs(first(network)).max() for name, network in SMALLEST.items()}
    assert size["dit"] == 0
    assert 0 < size["uvit"] < 1


def test_first_weights_have_the_published_spread():
    """Xavier's bound for the linear map of patches, sqrt(6 / (inputs + outputs)); N(0, 0.02^2); and gates of 0."""
    network = SMALLEST["dit"].copy(width=256)

    @lambda f: jax.jit(f, compiler_options=FAST_COMPILE)
    def first(key):
        return network.init(key, jnp.ones(X.shape), TIMES)["params"]

    params = first(jax.random.key(0))
    kernel = params["x_embedder"]["proj"]["kernel"]
    bound = np.sqrt(6 / (48 + 256))
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    assert not any(
        block["adaLN_modulation"]["1"]["kernel"].any()
        for block in (params["blocks_0"], params["blocks_1"])
    )
    # 4 x 256 normal numbers: the relative standard error of their deviation is 2.2 %, and this is five of them.
    assert abs(params["y_embedder"]["table"].std() / 0.02 - 1) < 0.11


def test_frequencies_of_time():
    """Cosines first; of 256 features the 128 frequencies end at 10000^(-127/128), not at 1/10000."""
    features = time_features(jnp.array([2.0]), 256)[0]
    assert_allclose(features[0], np.cos(2.0), rtol=1e-6)
    assert_allclose(features[-1], np.sin(2 * 10_000 ** (-127 / 128)), rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        (
            DiT,
            {"patch_size": 3},
            r"model.patch_size=3 does not divide images of 8x8 pixels; use one of 1, 2, 4, 8",
        ),
        (
            UViT,
            {"image_width": 12, "patch_size": 8},
            r"images of 8x12 pixels; use one of 1, 2, 4$",
        ),
        (
            DiT,
            {"num_heads": 3},
            r"model.num_heads=3 does not divide model.width=8; use one of 1, 2, 4, 8",
        ),
        (DiT, {"width": 6}, r"model.width=6: .* multiple of 4"),
        (UViT, {"width": 9, "num_heads": 3}, r"model.width=9: .* even number"),
        (UViT, {"depth": 0}, r"model.depth=0: expected a positive integer"),
        (DiT, {"mlp_ratio": 0.0}, r"model.mlp_ratio=0.0: expected a positive number"),
    ],
)
def test_what_is_no_such_network_is_refused(network, options, words):
    with pytest.raises(ConfigError, match=words):
        network(**TINY | options)


def test_weights_of_another_network_are_refused(golden):
    deeper = golden.network.copy(depth=golden.network.depth + 2)
    with pytest.raises(UserError, match="missing .*blocks.* and .* more; not expected none"):
        params_of(deeper, golden.state)
    shallower = golden.network.copy(depth=1)
    with pytest.raises(UserError, match="missing none; not expected .*blocks"):
        params_of(shallower, golden.state)
    wider = golden.network.copy(width=2 * golden.network.width)
    with pytest.raises(UserError, match="expected .*Do the config's width"):
        params_of(wider, golden.state)
