"""Networks with a condition image: only additional input channels, and zeros in place of no image."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import ConfigError
from score_sde.models.adm import ADM
from score_sde.models.ddpm import DDPM
from score_sde.models.dit import DiT
from score_sde.models.edm2 import EDM2
from score_sde.models.edm_adm import EDMADM
from score_sde.models.edm_unet import EDMUNet
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.rin import RIN
from score_sde.models.simple_uvit import SimpleUViT
from score_sde.models.uvit import UViT

SHAPE = {"image_size": 4, "num_channels": 2}
LEVEL = {"ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": (), **SHAPE}
TOKENS = {"width": 8, "depth": 1, "num_heads": 2, **SHAPE}
UVIT = {"nf": 32, "ch_mult": (1,), "num_res_blocks": 1, "patch_size": 1, **TOKENS}
PYRAMID = {"nf": 8, **LEVEL, "ch_mult": (1, 2), "progressive_input": "input_skip"}
NETWORKS = {
    "ncsnpp": (NCSNpp, {"nf": 8, **LEVEL}),
    "input_skip": (NCSNpp, PYRAMID),
    # Groups of one channel, of nf=32, would take out again what is told.
    "ddpm": (DDPM, {"nf": 64, **LEVEL}),
    "dit": (DiT, TOKENS),
    "uvit": (UViT, TOKENS),
    "adm": (ADM, {"nf": 64, **LEVEL}),
    "edm_unet": (EDMUNet, {"nf": 64, **LEVEL}),
    "edm_adm": (EDMADM, {"nf": 64, **LEVEL}),
    "simple_uvit": (SimpleUViT, UVIT),
    "rin": (RIN, {"num_latents": 2, "latent_width": 8, "latent_depth": 1, **TOKENS}),
}
X = jnp.linspace(-1.0, 1.0, 64).reshape(2, 4, 4, 2)
TIMES = jnp.array([3.0, 700.0])
IMAGE = jnp.cos(7.0 * X)


def random_params(network):
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, TIMES)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), shapes)


def output(network, params, condition):
    return compiled(network)({"params": params}, X, TIMES, condition)


@functools.lru_cache(maxsize=2)
def compiled(network):
    # Compiling is nearly all the time, and -O0 changes no formula.
    return jax.jit(network.apply, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize(("kind", "fields"), NETWORKS.values(), ids=list(NETWORKS))
def test_without_the_weights_of_the_image_it_is_the_network_that_is_told_none(kind, fields):
    """Patches interleave the image's channels with each pixel's own, convolutions append them. The condition image matters; without
    one the output is that for zeros."""
    plain, told = kind(**fields), kind(**fields, condition_image="measured")
    params, wide = random_params(plain), random_params(told)

    def widened(own, new):
        """Inputs of each pixel, the network's own before the image's."""
        if own.shape == new.shape:
            return own
        axis = next(i for i, (a, b) in enumerate(zip(own.shape, new.shape)) if a != b)
        lead = own.shape[:axis]
        pixels = own.reshape(*lead, -1, 2, *own.shape[axis + 1 :])
        return jnp.concatenate([pixels, 0.0 * pixels], axis=axis + 1).reshape(new.shape)

    zeroed = jax.tree.map(widened, params, wide)
    expected = output(plain, params, ())
    np.testing.assert_allclose(output(told, zeroed, {"image": IMAGE}), expected, atol=1e-5)
    of_image = output(told, wide, {"image": IMAGE})
    of_none = output(told, wide, ())
    assert np.abs(of_image - of_none).max() > 1e-3
    np.testing.assert_allclose(output(told, wide, {"image": 0.0 * IMAGE}), of_none, atol=1e-6)
    np.testing.assert_array_equal(told.null_condition({"image": IMAGE})["image"], 0.0 * IMAGE)


@pytest.mark.parametrize(
    "name",
    [
        *("ncsnpp", "ddpm", "dit", "uvit", "adm", "edm_unet", "rin"),
        pytest.param("edm_adm", marks=pytest.mark.slow),  # by the same lines as edm_unet
    ],
)
def test_the_noise_of_the_image_is_told(name):
    """A new network ignores the noise level, which is passed in units of the largest one."""
    kind, fields = NETWORKS[name]
    fields = {**fields, "condition_image": "paired", "condition_channels": 3}
    image = jnp.concatenate([IMAGE, IMAGE[..., :1]], axis=-1)
    networks = [kind(**fields, condition_noise=most) for most in (0.5, 1.0)]
    params = random_params(networks[0])

    def at(network, level, params=params):
        return output(network, params, {"image": image, "image_noise": jnp.full(2, level)})

    assert np.abs(at(networks[0], 0.5) - at(networks[0], 0.1)).max() > 1e-4
    np.testing.assert_allclose(at(networks[0], 0.25), at(networks[1], 0.5), atol=1e-6)
    silent = {**params, "image_noise": {**params["image_noise"]}}
    silent["image_noise"]["out"] = jax.tree.map(jnp.zeros_like, params["image_noise"]["out"])
    np.testing.assert_array_equal(at(networks[0], 0.5, silent), at(networks[0], 0.1, silent))
    assert set(params["image_noise"]) == {"in", "out"}


WRONG = {
    "none": {"label": jnp.array([1, 2])},
    "another size": {"image": jnp.ones((2, 4, 4, 3))},
    "integers": {"image": jnp.ones((2, 4, 4, 2), jnp.int32)},
    "noise that it knows not": {"image": IMAGE, "image_noise": jnp.ones(2)},
}


@pytest.mark.parametrize("condition", WRONG.values(), ids=list(WRONG))
def test_what_it_does_not_take_is_refused(condition):
    network = NCSNpp(nf=8, **LEVEL, condition_image="measured")
    with pytest.raises(ValueError, match=r'expected {"image": real numbers \(b, 4, 4, 2\)}'):
        network.null_condition(condition)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"condition_image": "paired"},
            "condition_channels=0 with .*'paired': expected the number of ch",
        ),
        ({"condition_channels": 2}, "condition_channels=2 with .*'none': expected 0"),
        ({"condition_noise": 0.1}, "condition_noise=0.1 with model.condition_image='none'"),
        (
            {"condition_image": "measured", "condition_noise": 0.1, "conditional": False},
            "condition_noise=0.1 with model.conditional=False",
        ),
        ({"condition_image": "seen"}, "condition_image='seen' is unknown"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        NCSNpp(nf=8, **LEVEL, **fields)


def test_a_network_that_keeps_magnitudes_takes_no_image():
    with pytest.raises(
        ConfigError, match="model.condition_image='measured' with model.name='edm2'"
    ):
        EDM2(nf=64, **LEVEL, condition_image="measured")
