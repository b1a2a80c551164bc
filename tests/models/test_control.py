"""A ControlNet at initialization, after one step and at scale 0, compared with its base network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.subvp_digits import get_config
from score_sde.errors import ConfigError
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.networks import build_network, conditions_of
from score_sde.models.score import INTERVAL
from score_sde.training.frozen import first_weights, frozen_names, trained_part

X = jnp.cos(jnp.arange(32.0)).reshape(2, 4, 4, 1)
TIMES = jnp.array([3.0, 700.0])
IMAGES = {
    "waves": jnp.sin(jnp.arange(96.0)).reshape(2, 4, 4, 3),
    "large": jnp.full((2, 4, 4, 3), 50.0),
}
BEHIND = {"zero_middle", *(f"zero_skip_{i}" for i in range(4))}  # the encoder's copy
LABELS = {"label": jnp.array([0, 2])}
SMALL = {
    "model.nf": 8,
    "model.ch_mult": (1, 2),
    "model.num_res_blocks": 1,
    "model.attn_resolutions": (),
    "model.num_classes": 3,
    "model.condition_image": "paired",
    "model.condition_channels": 3,
    "data.image_size": 4,
}


def compiled(function):
    # Compiling is nearly all the time of these tests, and -O0 changes no formula.
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def small_config(**model):
    config = get_config("control")
    config.update_from_flattened_dict(SMALL)
    config.model.update(model)
    return config


@pytest.fixture(scope="module")
def at_start():
    """The network, and its parameters as a run begins with them, of a base whose own are random."""
    config = small_config()
    network = build_network(config)
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, TIMES)["params"]
    rng = np.random.default_rng(0)
    base = jax.tree.map(
        lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), shapes["base"]
    )
    control = first_weights(config, network, {"base": base}).read(shapes["control"])
    return network, {"base": base, **control}


@pytest.fixture(scope="module")
def of_base(at_start):
    """What the base says alone, of another class that knows of no control."""
    network, params = at_start
    named = {name.rpartition(".")[2]: value for name, value in SMALL.items()}
    plain = NCSNpp(
        **{**named, "num_channels": 1, "condition_image": "none", "condition_channels": 0}
    )
    out = compiled(plain.apply)({"params": params["base"]}, X, TIMES, LABELS)
    assert np.abs(out).max() > 0.1
    return out


@pytest.fixture(scope="module")
def of_control(at_start):
    return compiled(lambda params, image: told(at_start[0], params, image))


def told(network, params, image):
    return network.apply({"params": params}, X, TIMES, {**LABELS, "image": image})


@pytest.mark.parametrize("image", IMAGES.values(), ids=list(IMAGES))
def test_at_the_start_it_is_the_base_whatever_it_is_told(at_start, of_base, of_control, image):
    _, params = at_start
    np.testing.assert_array_equal(of_control(params, image), of_base)


def test_the_control_begins_with_the_encoder(at_start):
    """It copies the down path and the middle, nothing of the up path; and adds zero convolutions."""
    _, params = at_start
    copied = {name for name in params["control"] if not name.startswith("zero_")}
    for name in copied:
        jax.tree.map(np.testing.assert_array_equal, params["control"][name], params["base"][name])
    # 2 levels of a block, a block that halves, two of the middle: 5 of 11; the first convolution of two
    assert len([name for name in copied if name.startswith("Resnet")]) == 5
    assert {"Conv_0", "Dense_0", "Dense_1", "ClassEmbedding_0", "AttnBlockpp_0"} <= copied
    assert "Conv_1" not in copied
    zeros = set(params["control"]) - copied
    assert zeros == {"zero_image", *BEHIND}
    assert not any(
        np.any(leaf) for name in zeros for leaf in jax.tree.leaves(params["control"][name])
    )


def test_after_one_step_the_zero_convolutions_have_moved_and_the_copy_has_not(
    at_start, of_base, of_control
):
    """Their output is 0, hence so is the gradient behind them; the condition image takes effect from the third step on."""
    network, params = at_start
    image = IMAGES["waves"]

    def loss(control):
        return jnp.square(told(network, {**params, "control": control}, image) - X).mean()

    gradient = compiled(jax.grad(loss))(params["control"])
    for name, of in gradient.items():
        moved = any(np.any(leaf) for leaf in jax.tree.leaves(of))
        assert moved == (name in BEHIND), name
    stepped = jax.tree.map(lambda p, g: p - 0.1 * g, params["control"], gradient)
    assert np.abs(of_control({**params, "control": stepped}, image) - of_base).max() > 1e-3


def test_told_and_scaled(at_start, of_base, of_control):
    """With nonzero control weights the image matters, scale 0 is the base bit for bit, and scale 1/2 halves the last layers."""
    network, params = at_start
    rng = np.random.default_rng(1)
    params = {
        **params,
        "control": jax.tree.map(
            lambda p: (p + 0.1 * rng.normal(size=p.shape)).astype(p.dtype), params["control"]
        ),
    }
    waves, large = (of_control(params, image) for image in IMAGES.values())
    assert np.abs(waves - large).max() > 1e-2

    def scaled(scale):
        scaled_network = network.copy(control_scale=scale)
        return compiled(lambda p: told(scaled_network, p, IMAGES["waves"]))(params)

    np.testing.assert_array_equal(scaled(0.0), of_base)
    halved = {
        name: jax.tree.map(lambda p: p / 2, of) if name in BEHIND else of
        for name, of in params["control"].items()
    }
    expected = of_control({**params, "control": halved}, IMAGES["waves"])
    np.testing.assert_allclose(scaled(0.5), expected, atol=1e-5)


def test_an_interval_alone_comes_with_an_image_of_zeros():
    """It also comes without a class. Every weight is random, so that every part of the condition matters."""
    network = build_network(small_config(condition_interval=True))
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, TIMES)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), shapes)
    interval, nothing = {INTERVAL: TIMES}, {"label": jnp.full(2, 3)}

    @compiled
    def outputs(params, image):
        conditions = interval, {**interval, **nothing, "image": image}
        return [network.apply({"params": params}, X, TIMES, given) for given in conditions]

    alone, expected = outputs(params, 0.0 * IMAGES["waves"])
    np.testing.assert_allclose(alone, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(alone - outputs(params, IMAGES["waves"])[1]).max() > 1e-2


def test_what_is_trained_and_what_is_told():
    config = small_config()
    network = build_network(config)
    assert frozen_names(network) == ("base",)
    assert list(trained_part(network, {"base": 1, "control": 2})) == ["control"]
    assert conditions_of(config) == ("label", "paired")


def test_a_control_by_nothing_is_refused():
    with pytest.raises(ConfigError, match="condition_image='none': there is no image"):
        build_network(small_config(condition_image="none", condition_channels=0))
    with pytest.raises(ConfigError, match="control_scale=-1.0: expected 0 or more"):
        build_network(small_config(control_scale=-1.0))
