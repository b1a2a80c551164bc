"""What the networks accept and refuse, and properties for any weights."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from numpy.testing import assert_allclose

from score_sde.models import layers
from score_sde.models.ddpm import DDPM
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.networks import NETWORKS, build_network
from score_sde.models.unet import check_sides

TINY = {"image_size": 4, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (2,)}
# One level: what is compiled below is compiled often.
ONE_LEVEL = {"image_size": 4, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()}
SMALLEST = {"ncsnpp": NCSNpp(nf=8, **ONE_LEVEL), "ddpm": DDPM(nf=32, **ONE_LEVEL)}
X, NOISE_INPUT = (
    jax.ShapeDtypeStruct((2, 4, 4, 3), jnp.float32),
    jax.ShapeDtypeStruct((2,), jnp.float32),
)


def random_params(network, seed=0):
    """Every parameter random: layers that start as zero would hide what comes before them."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, NOISE_INPUT)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), shapes)


def compiled(function):
    """Compiling is nearly all the time of these tests, and -O0 changes no formula."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


OPTIONS = {
    "resblock_type": ("biggan", "ddpm"),
    "fir": (True, False),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
}
COMBINATIONS = [
    dict(zip(OPTIONS, values, strict=True))
    for values in itertools.product(*OPTIONS.values())
    if "input_skip" in values or "sum" in values  # how to combine matters to input_skip only
]


def is_quick(options):
    """Of a third: any values of any two options are together in one of them."""
    return sum(OPTIONS[name].index(value) for name, value in options.items()) % 3 == 0


@pytest.mark.parametrize(
    "options",
    [pytest.param(o, marks=() if is_quick(o) else pytest.mark.slow) for o in COMBINATIONS],
    ids=lambda o: "-".join(map(str, o.values())),
)
def test_every_combination_of_options_builds(options):
    network = NCSNpp(**TINY, **options)
    out, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), X, NOISE_INPUT)
    assert out.shape == X.shape
    assert out.dtype == jnp.float32


@pytest.mark.parametrize(
    "options",
    [
        {"conditional": False},
        {"conditional": False, "embedding_type": "fourier", "scale_by_sigma": True},
        {"resblock_type": "ddpm", "resamp_with_conv": False},
        {"nonlinearity": "elu", "skip_rescale": False},
        {"fir": True, "fir_kernel": (1, 2, 1)},
    ],
    ids=str,
)
def test_other_options_build(options):
    network = NCSNpp(**TINY, **options)
    out, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), X, NOISE_INPUT)
    assert out.shape == X.shape
    assert ("Dense_0" in variables["params"]) == options.get("conditional", True)


@pytest.mark.parametrize("name", SMALLEST)
def test_unconditional_network_ignores_the_label(name):
    network = SMALLEST[name].copy(conditional=False)
    params, x = random_params(network), jax.random.normal(jax.random.key(0), X.shape)
    apply = compiled(network.apply)
    out = [apply(params, x, jnp.full(2, label)) for label in (1.0, 500.0)]
    assert_allclose(*out)
    assert jnp.abs(out[0]).max() > 0.1


@pytest.mark.parametrize("name", SMALLEST)
def test_output_is_divided_by_sigma(name):
    plain = SMALLEST[name]
    by_table = plain.copy(scale_by_sigma=True, sigma_min=0.1, sigma_max=10.0, num_scales=3)
    params, x = random_params(plain), jax.random.normal(jax.random.key(0), X.shape)
    labels = jnp.array([0.0, 2.0])
    ratio = compiled(plain.apply)(params, x, labels) / compiled(by_table.apply)(params, x, labels)
    assert_allclose(ratio[0], 10.0, rtol=1e-5)
    assert_allclose(ratio[1], 0.1, rtol=1e-5)


@pytest.mark.parametrize("name", SMALLEST)
def test_images_in_0_1_are_centred_inside(name):
    centred = SMALLEST[name]
    params, x = random_params(centred), jax.random.uniform(jax.random.key(0), X.shape)
    inside = compiled(centred.copy(centered=False).apply)(params, x, jnp.ones(2))
    outside = compiled(centred.apply)(params, 2 * x - 1, jnp.ones(2))
    assert_allclose(inside, outside, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_new_network_outputs_nothing(name):
    """init_scale 0 stands for 1e-10: last weights of order 1e-5 on activations of order 1, biases 0."""
    network = SMALLEST[name]
    x = jax.random.normal(jax.random.key(0), X.shape)
    out, _ = compiled(network.init_with_output)(jax.random.key(1), x, jnp.array([1.0, 900.0]))
    assert 0 < jnp.abs(out).max() < 1e-4


@pytest.mark.parametrize("name", SMALLEST)
def test_bfloat16_is_close_to_float32(name):
    network = SMALLEST[name]
    half = network.copy(dtype="bfloat16")
    params, x = random_params(network), jax.random.normal(jax.random.key(0), X.shape)
    noise_input = jnp.array([3.0, 700.0])
    full, rounded = (compiled(net.apply)(params, x, noise_input) for net in (network, half))
    assert rounded.dtype == jnp.float32
    # bfloat16 rounds by 2^-9 = 0.2 %; some tens of roundings in a row. 0 would mean that nothing is rounded.
    error = jnp.linalg.norm(rounded - full) / jnp.linalg.norm(full)
    assert 1e-4 < error < 5e-2
    shapes = jax.eval_shape(half.init, jax.random.key(0), X, NOISE_INPUT)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_bfloat16_convolutions_take_bfloat16_operands():
    network = NCSNpp(**TINY, dtype="bfloat16")
    params = random_params(network)
    jaxpr = jax.make_jaxpr(network.apply)(params, jnp.zeros(X.shape), jnp.ones(2))
    kinds = [
        {v.aval.dtype.name for v in equation.invars}
        for equation in jaxpr.eqns
        if equation.primitive.name == "conv_general_dilated"
    ]
    # All but the last, which makes the output.
    assert kinds[-1] == {"float32"}
    assert all(kind == {"bfloat16"} for kind in kinds[:-1])
    assert len(kinds) > 20


def test_norm_survives_a_large_mean():
    """Mean 1e4, std 1 in float32: E[x^2] - E[x]^2 would be 1 +- 8. Two passes keep three digits."""
    x = 1e4 + jax.random.normal(jax.random.key(0), (2, 8, 8, 8))
    out, _ = compiled(layers.group_norm(8).init_with_output)(jax.random.key(1), x)
    groups = np.asarray(x, np.float64).reshape(2, 64, 2, 4)
    exact = groups - groups.mean(axis=(1, 3), keepdims=True)
    exact /= np.sqrt(groups.var(axis=(1, 3), keepdims=True) + 1e-6)
    assert_allclose(out, exact.reshape(2, 8, 8, 8), atol=5e-3)


def test_activations():
    x = jnp.array([-2.0, 0.0, 3.0])
    expected = {
        "swish": [-2 / (1 + np.exp(2)), 0, 3 / (1 + np.exp(-3))],
        "elu": [np.exp(-2) - 1, 0, 3],
        "relu": [0, 0, 3],
        "lrelu": [-0.4, 0, 3],
    }
    assert expected.keys() == layers.ACTIVATIONS.keys()
    for name, values in expected.items():
        assert_allclose(layers.ACTIVATIONS[name](x), values, rtol=1e-5)


def test_default_init_is_uniform_with_the_stated_variance():
    """Var = 2 s / (fan_in + fan_out), fan = channels x 9; bound sqrt(3 Var)."""
    draws = layers.default_init(0.5)(jax.random.key(0), (3, 3, 40, 60))
    variance = 2 * 0.5 / (9 * 40 + 9 * 60)
    # 21600 uniforms: relative standard error of the variance sqrt(0.8 / 21600) = 0.6 %; five of them.
    assert abs(draws.var() / variance - 1) < 0.03
    assert np.sqrt(3 * variance) * 0.99 < jnp.abs(draws).max() <= np.sqrt(3 * variance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"resblock_type": "resnet"},
            "model.resblock_type='resnet' is unknown; choose one of biggan, ddpm",
        ),
        (
            {"progressive": "input_skip"},
            "progressive='input_skip' is unknown; choose one of none, output_skip, residual",
        ),
        ({"progressive_input": "output_skip"}, "progressive_input='output_skip' is unknown"),
        (
            {"progressive_combine": "add"},
            "progressive_combine='add' is unknown; choose one of sum, cat",
        ),
        (
            {"embedding_type": "Fourier"},
            "embedding_type='Fourier' is unknown; choose one of positional, fourier",
        ),
        ({"nonlinearity": "gelu"}, "nonlinearity='gelu' is unknown; .*swish"),
        ({"dtype": "float16"}, "dtype='float16' is unknown; .*bfloat16"),
        ({"dropout": 1.0}, r"model.dropout=1\.0: expected 0 <= p < 1"),
        ({"num_res_blocks": 0}, "model.num_res_blocks=0: expected a positive"),
        ({"image_size": 5}, "images have 5x5 pixels, .* multiple of 2.* 4 or 6"),
        ({"nf": 3}, "3 channels cannot be normalised"),
        ({"nf": 14}, "14 channels cannot be normalised in 3 groups .* multiple of 4"),
        ({"nf": 130}, "130 channels cannot be normalised in 32 groups"),
    ],
    ids=str,
)
def test_bad_options_are_refused_when_built(options, message):
    with pytest.raises(ValueError, match=message):
        NCSNpp(**TINY | options)


def test_ddpm_needs_multiples_of_32_channels():
    with pytest.raises(
        ValueError, match=r"48 channels cannot be normalised in 32 groups \(the DDPM"
    ):
        DDPM(**TINY | {"nf": 48})


def test_input_of_another_shape_is_refused():
    network = NCSNpp(**TINY)
    params = random_params(network)
    with pytest.raises(ValueError, match=r"\(batch, 4, 4, 3\).*\(2, 3, 4, 4\)"):
        network.apply(params, jnp.zeros((2, 3, 4, 4)), jnp.ones(2))
    with pytest.raises(ValueError, match=r"shape \(2,\), but noise_input has shape \(\)"):
        network.apply(params, jnp.zeros((2, 4, 4, 3)), jnp.ones(()))


def test_image_sizes():
    check_sides((8, 8), (1, 2, 2, 2))
    check_sides((7, 7), (1,))
    with pytest.raises(ValueError, match=r"28.*4 levels.*3 times.*multiple of 8.*24 or 32"):
        check_sides((28, 28), (1, 2, 2, 2))


@pytest.fixture
def config():
    model = {
        "name": "ncsnpp",
        "nf": 32,
        "ch_mult": [1, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [4],
        "resamp_with_conv": True,
        "conditional": True,
        "num_classes": 7,
        "condition_image": "paired",
        "condition_channels": 2,
        "condition_noise": 0.5,
        "condition_interval": True,
        "nonlinearity": "elu",
        "dropout": 0.25,
        "dtype": "bfloat16",
        "scale_by_sigma": True,
        "sigma_min": 0.02,
        "sigma_max": 90.0,
        "num_scales": 500,
        "resblock_type": "ddpm",
        "fir": True,
        "fir_kernel": [1, 2, 1],
        "progressive": "residual",
        "progressive_input": "residual",
        "progressive_combine": "cat",
        "embedding_type": "fourier",
        "fourier_scale": 8.0,
        "skip_rescale": False,
        "init_scale": 0.5,
        "remat": True,
        "patch_size": 1,
        "width": 48,
        "depth": 5,
        "num_heads": 4,
        "mlp_ratio": 2.0,
        "qkv_bias": True,
        "time_mlp": True,
        "final_conv": False,
        "learned_variance": True,
        "num_latents": 24,
        "latent_width": 96,
        "latent_depth": 3,
        "head_channels": 16,
        "attention_order": "qkv_first",
        "scale_shift": False,
        "updown_blocks": False,
        "noise_mult": 2,
        "emb_mult": 3,
        "logvar_channels": 32,
        "words": "red blue",
        "control_base": "runs/base",
        "control_scale": 0.5,
    }
    data = {"image_size": 8, "image_width": 16, "num_channels": 1, "centered": False}
    return ConfigDict({"model": model, "data": data, "sde": {}, "training": {"augment": 0.0}})


# Values above that a network refuses, with those that it takes.
REFUSED = {
    "edm2": {
        "condition_image": "none",
        "condition_channels": 0,
        "condition_noise": 0.0,
        "condition_interval": False,
    }
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_field_is_read_from_the_config(config, name):
    """No value above is the default of its field, so a field that is not read is detected."""
    refused = REFUSED.get(name, {})
    config.model.update(name=name, **refused)
    network, plain = build_network(config), NETWORKS[name](image_size=32)
    stated = {**config.model, **config.data}
    for field in {f.name for f in dataclasses.fields(network)} - {*network.UNCONFIGURED}:
        value = stated[field]
        assert getattr(network, field) == (tuple(value) if isinstance(value, list) else value)
        assert field in ("image_size", "resamp_with_conv", "conditional", *refused) or (
            getattr(network, field) != getattr(plain, field)
        )
    hash(network)  # so that it can be a static argument


def test_unknown_network_is_refused(config):
    config.model.name = "unet"
    with pytest.raises(
        ValueError,
        match=r"model.name='unet' is unknown; choose one of ncsnpp, ddpm, adm, edm_unet, edm_adm, edm2, dit, uvit, simple_uvit, rin, controlnet",
    ):
        build_network(config)
