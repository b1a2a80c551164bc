"""Networks conditioned on classes: what the embedding table changes, and what it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from score_sde.configs.digits import digits_config
from score_sde.errors import UserError
from score_sde.foreign_weights.names import parameters
from score_sde.models.networks import build_network, conditions_of, network_score
from score_sde.models.predictions import NoisePrediction
from score_sde.sde_lib import VP
from tests.models.test_networks import NOISE_INPUT, SMALLEST, X, compiled, random_params

# DDPM's 32 groups of one channel each would normalise away whatever an embedding adds to it.
PLAIN = {"ncsnpp": SMALLEST["ncsnpp"], "ddpm": SMALLEST["ddpm"].copy(nf=64)}
CLASSES = {name: network.copy(num_classes=3) for name, network in PLAIN.items()}
NONE = 3  # the row of no class
BATCH = jax.random.normal(jax.random.key(0), X.shape)
LEVELS = jnp.array([3.0, 700.0])


def told(*given):
    return {"label": jnp.asarray(given, jnp.int32)}


@pytest.fixture(scope="module", params=CLASSES)
def network(request):
    network = CLASSES[request.param]
    params = random_params(network)
    return params, compiled(network.apply), PLAIN[request.param]


@pytest.mark.parametrize("name", CLASSES)
def test_a_table_of_classes_is_all_that_is_added(name):
    network, plain = CLASSES[name], PLAIN[name]
    more, tree = (
        jax.eval_shape(net.init, jax.random.key(4), X, NOISE_INPUT)["params"]
        for net in (network, plain)
    )
    assert more.pop("ClassEmbedding_0")["table"].shape == (4, 4 * network.nf)
    assert more == tree


def test_the_other_parameters_begin_as_without_classes():
    drawn = [
        compiled(nets["ncsnpp"].init)(jax.random.key(4), BATCH, LEVELS)["params"]
        for nets in (CLASSES, PLAIN)
    ]
    del drawn[0]["ClassEmbedding_0"]
    jax.tree.map(np.testing.assert_array_equal, *drawn)


def test_labels_matter_each_to_its_own_image(network):
    params, apply, _ = network
    out, other, swapped = (apply(params, BATCH, LEVELS, told(*c)) for c in ((0, 1), (2, 1), (1, 0)))
    assert jnp.abs(out[0] - other[0]).max() > 1e-2
    np.testing.assert_array_equal(out[1], other[1])
    assert (jnp.abs(out - swapped).max(axis=(1, 2, 3)) > 1e-2).all()


def test_no_condition_is_the_last_class(network):
    params, apply, _ = network
    silent = apply(params, BATCH, LEVELS)
    np.testing.assert_array_equal(silent, apply(params, BATCH, LEVELS, told(NONE, NONE)))
    assert jnp.abs(silent - apply(params, BATCH, LEVELS, told(0, 2))).max() > 1e-2


def test_a_class_of_nought_adds_nothing(network):
    """The class embedding is added to that of the noise level: with a zero row the network equals the unconditional one."""
    params, apply, plain = network
    table = params["params"]["ClassEmbedding_0"]["table"]
    zeroed = {"params": {**params["params"], "ClassEmbedding_0": {"table": table.at[1].set(0.0)}}}
    rest = {"params": {k: v for k, v in params["params"].items() if k != "ClassEmbedding_0"}}
    np.testing.assert_allclose(
        apply(zeroed, BATCH, LEVELS, told(1, 1)),
        compiled(plain.apply)(rest, BATCH, LEVELS),
        atol=1e-5,
    )


def test_a_label_of_no_class_is_not_the_nearest(network):
    params, apply, _ = network
    out = apply(params, BATCH, LEVELS, told(4, -1))
    assert jnp.isnan(out).all()


def test_a_network_as_a_score_model_knows_no_class():
    network = CLASSES["ncsnpp"]
    model = network_score(network, random_params(network)["params"], NoisePrediction(VP()))
    bound = model.given(told(0, 2))
    np.testing.assert_array_equal(bound.unconditional.condition["label"], [NONE, NONE])
    assert model.unconditional.condition == ()
    t = jnp.array([0.2, 0.7])
    # Operation by operation: two programs of the whole may add in another order.
    np.testing.assert_array_equal(bound.unconditional(BATCH, t), model(BATCH, t))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"label": jnp.ones(2)},
            r"a conditional network was given .*float32\[2\].*integers .* of 3 classes",
        ),
        ({"label": jnp.ones((2, 1), jnp.int32)}, r"int32\[2,1\].*integers \(b,\)"),
        ({"text": jnp.ones(2, jnp.int32)}, "text"),
    ],
)
def test_another_condition_is_refused(given, message):
    network = CLASSES["ddpm"]
    with pytest.raises(ValueError, match=message):
        network_score(network, {}, NoisePrediction(VP())).given(given)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(network.init, jax.random.key(0), X, NOISE_INPUT, given)


def test_a_network_without_classes_takes_none():
    for network in PLAIN.values():
        with pytest.raises(ValueError, match="without conditions was given"):
            jax.eval_shape(network.init, jax.random.key(0), X, NOISE_INPUT, told(0, 1))


def test_classes_need_a_network_that_is_told_the_noise_level():
    for changes in ({"num_classes": 2, "conditional": False}, {"num_classes": -1}):
        with pytest.raises(ValueError, match="num_classes="):
            PLAIN["ddpm"].copy(**changes)
    with pytest.raises(UserError, match="model.num_classes=3: published networks"):
        parameters(CLASSES["ddpm"])


def test_what_a_config_s_network_is_told():
    config = digits_config("vp")
    assert conditions_of(config) == ()
    config.model.num_classes = 10
    assert conditions_of(config) == ("label",)
    assert build_network(ConfigDict(config)).num_classes == 10
    config.model.name = "mixture"
    assert conditions_of(config) == ()
