"""ADM's classifier against the published code (tests/golden/peers/adm_classifier.npz), and as a classifier of noisy images."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.foreign_weights.state_dicts import params_of
from score_sde.models.noisy_classifier import NoisyClassifier, NoisyClassifierNetwork, of_label
from score_sde.sde_lib import VE, VP

GOLDEN = Path(__file__).parents[1] / "golden" / "peers" / "adm_classifier.npz"


@pytest.fixture(scope="module")
def golden():
    """The arrays, and the published parameters under our names."""
    with np.load(GOLDEN) as file:
        arrays = dict(file)
    state = {k.removeprefix("state_dict/"): v for k, v in arrays.items() if "state_dict/" in k}
    net = network(json.loads(str(arrays["config_json"])))
    return arrays, params_of(net, state, 3)


def fresh(net):
    x = jnp.zeros((1, 8, 8, 3))
    return jax.eval_shape(lambda: net.init(jax.random.key(0), x, jnp.ones(1)))["params"]


def network(options):
    return NoisyClassifierNetwork(
        options["image_size"],
        num_classes=options["out_channels"],
        width=options["model_channels"],
        ch_mult=tuple(options["channel_mult"]),
        num_res_blocks=options["num_res_blocks"],
        attn_resolutions=tuple(
            options["image_size"] // n for n in options["attention_resolutions"]
        ),
        head_channels=options["num_head_channels"],
        dropout=options["dropout"],
    )


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_published_numbers(x64, golden, dtype):
    """Logits, their gradient, and that of ln p(y | x_t): in float32 to the tolerance noted for the file, in float64 to rounding."""
    arrays, params = golden
    net = network(json.loads(str(arrays["config_json"])))
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), params)
    x = jnp.asarray(arrays["x"].transpose(0, 2, 3, 1), dtype)
    t, y = jnp.asarray(arrays["t"], dtype), jnp.asarray(arrays["y"], jnp.int32)

    @jax.jit
    def outputs(params, x):
        def logits(x):
            return net.apply({"params": params}, x, t)

        out, pullback = jax.vjp(logits, x)
        log_probability, of_y = jax.vjp(lambda x: of_label(jax.nn.log_softmax(logits(x)), y), x)
        (slope,) = pullback(jnp.asarray(arrays["cotangent"], dtype))
        (guide,) = of_y(jnp.ones(len(y), dtype))
        return out, slope, log_probability, guide

    names = ("out", "grad_x", "log_prob", "grad_log_prob")
    for name, got in zip(names, outputs(params, x), strict=True):
        expected = arrays[f"{name}_f64"]
        expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
        tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype] * np.abs(expected).max()
        assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=name)


def test_published_size(golden):
    """A new network has as many parameters."""
    arrays, _ = golden
    net = network(json.loads(str(arrays["config_json"])))
    assert sum(leaf.size for leaf in jax.tree.leaves(fresh(net))) == 168_714


def test_what_the_network_is_told_of_a_noisy_image():
    """Inputs are 999 t/T and an image of equal scale at any noise, also under VE; "no class" has probability 1."""
    seen = []

    def apply(variables, x, noise_input, keys):
        seen.append((x, noise_input))
        return jnp.zeros((len(x), 3)) + jnp.arange(3.0)[None]

    x, t = 2.0 * jnp.ones((4, 2, 2, 1)), jnp.array([0.01, 0.4, 1.0, 1.0])
    for sde in (VP(), VE(0.01, 50.0)):
        found = NoisyClassifier({}, apply, sde).log_probability(x, t, jnp.array([0, 2, 3, -1]))
        expected = np.log(np.exp([0.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum())
        assert_allclose(found, [*expected, 0.0, np.nan], rtol=1e-6)
    assert_allclose(seen[0][0], x, rtol=1e-5)
    assert_allclose(
        seen[1][0][:, 0, 0, 0], 2.0 / np.sqrt(1 + (0.01 * 5000.0 ** np.asarray(t)) ** 2), rtol=1e-5
    )
    assert_allclose(seen[0][1], 999 * t, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("width=48: the levels have", {"width": 48}),
        ("head_channels=24 does not divide", {"head_channels": 24}),
        ("ch_mult=\\(\\)", {"ch_mult": ()}),
        ("needs a multiple of 4", {"image_size": 6, "ch_mult": (1, 1, 1)}),
        ("num_classes=1: expected 2 or more", {"num_classes": 1}),
    ],
)
def test_what_is_no_network_is_refused(words, options):
    with pytest.raises(ConfigError, match=words):
        NoisyClassifierNetwork(**{"image_size": 8, "ch_mult": (1, 2), **options})


def test_attention_in_the_middle_alone_is_asked_for_or_the_default_of_small_images():
    for options in ({}, {"attn_resolutions": ()}, {"attn_resolutions": (16, 2)}):
        NoisyClassifierNetwork(image_size=4, ch_mult=(1, 2), **options).check_attention()
    with pytest.raises(ConfigError, match=r"=\(16, 2\): the levels of .* have 8, 4,"):
        NoisyClassifierNetwork(
            image_size=8, ch_mult=(1, 2), attn_resolutions=(16, 2)
        ).check_attention()
