"""Invalid options of networks, and the dtype of parameters under any flag."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from score_sde.configs.digits import digits_config
from score_sde.errors import ConfigError
from score_sde.models.ddpm import DDPM
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.networks import NETWORKS, build_network
from score_sde.options import option
from score_sde.training.state import init_params

TINY = {"image_size": 4, "nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (2,)}
DIGIT, NOISE_INPUT = (
    jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32),
    jax.ShapeDtypeStruct((2,), jnp.float32),
)


@pytest.mark.parametrize("network", [NCSNpp, DDPM])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ch_mult": ()}, r"model.ch_mult=\(\): expected an integer from 1 to 1024 for each level"),
        ({"ch_mult": (1, 0)}, r"model.ch_mult=\(1, 0\): expected"),
        ({"ch_mult": (1, -1)}, r"model.ch_mult=\(1, -1\): expected"),
        ({"attn_resolutions": (16,)}, r"model.attn_resolutions=\(16,\): the levels .* have 4, 2,"),
        ({"attn_resolutions": (4, 3)}, r"model.attn_resolutions=\(4, 3\): "),
        ({"num_channels": 0}, "num_channels is 0"),
    ],
)
def test_a_network_with_no_such_levels_is_refused(network, options, words):
    """Attention at a resolution without a level used to be ignored silently."""
    with pytest.raises(ConfigError, match=words):
        network(**{**TINY, **options})


def test_a_network_registered_after_the_configuration_was_made(monkeypatch):
    class Broad(DDPM):
        breadth: int = option(2, "breadth")

    config = digits_config("vp")
    config.model.name = "broad"
    monkeypatch.setitem(NETWORKS, "broad", Broad)
    with pytest.raises(ConfigError, match="the config has no model.breadth: start from"):
        build_network(config)
    config.model.breadth = 3
    assert build_network(config).breadth == 3


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ncsnpp", {"embedding_type": "fourier"}),
        ("ncsnpp", {}),
        ("ddpm", {}),
        ("own", {"num_classes": 0}),
    ],
)
def test_parameters_are_float32_whatever_the_flag(name, options, monkeypatch):
    """Those of 1x1 convolutions and class embeddings used to follow JAX_ENABLE_X64."""

    class Own(nn.Module):
        from_config = classmethod(lambda cls, config: cls())

        @nn.compact
        def __call__(self, x, noise_input, condition=(), dropout_keys=None):
            return x * self.param("scale", nn.initializers.ones, ()) + self.param("n", zero)

    def zero(key):
        return jnp.zeros((), jnp.int32)

    monkeypatch.setitem(NETWORKS, "own", Own)
    config = digits_config("vp")
    config.model.update(name=name, num_classes=10, num_res_blocks=1)
    config.model.update(options)
    network = build_network(config)
    params = jax.eval_shape(lambda: init_params(config, network))
    if name != "own":  # at the source, so that the draws are those of float32
        params = jax.eval_shape(network.init, jax.random.key(0), DIGIT, NOISE_INPUT)
    of_other_types = {leaf.dtype for leaf in jax.tree.leaves(params)} - {jnp.dtype("float32")}
    assert of_other_types == ({jnp.dtype("int32")} if name == "own" else set())
