"""Labels in training: what reaches the network, and that no other random number moves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.models.networks import build_network
from score_sde.sde_lib import VP
from score_sde.training.objective import build_objective, drop_labels, image_keys
from score_sde.training.state import init_params

KEY, N, CLASSES = jax.random.key(3), 4, 3
LABELS = {"label": jnp.array([0, 1, 2, 1])}


def test_the_other_keys_of_an_image_are_those_without_labels():
    """The five of runs before there were labels: results of training do not change."""
    places = jnp.arange(50)
    before = jax.vmap(lambda place: jax.random.split(jax.random.fold_in(KEY, place), 5))(places).T
    keys = image_keys(KEY, places)
    for ours, theirs in zip(keys[:5], before, strict=True):
        np.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))


def test_labels_are_dropped_at_the_rate_each_by_its_own_key():
    n, rate = 4000, 0.2
    keys, given = image_keys(KEY, jnp.arange(n)).label_dropout, {"label": jnp.arange(n) % 3}
    none = {"label": jnp.full(n, 3)}
    left = np.asarray(drop_labels(keys, given, none, rate)["label"])
    dropped = left == 3
    np.testing.assert_array_equal(left[~dropped], np.asarray(given["label"])[~dropped])
    assert abs(dropped.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / n)
    some = drop_labels(keys[7:9], {"label": given["label"][7:9]}, {"label": jnp.full(2, 3)}, rate)
    np.testing.assert_array_equal(some["label"], left[7:9])
    assert drop_labels(keys, given, none, 0.0) is given
    np.testing.assert_array_equal(drop_labels(keys, given, none, 1.0)["label"], 3)


@pytest.fixture(scope="module")
def problem():
    config = get_config()
    config.data.update(image_size=4, num_levels=0)
    config.model.update(
        nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), num_classes=CLASSES
    )
    # Last layers that do not start as nought, or no gradient would come back through them.
    config.model.update(init_scale=1.0, dropout=0.0)
    network = build_network(config)
    params = jax.jit(lambda: init_params(config, network))()
    images = jax.random.normal(jax.random.key(1), (N, 4, 4, 1))
    return build_objective(config, network, VP()), params, images


def table_gradient(problem, rate):
    objective, params, images = problem
    objective = dataclasses.replace(objective, label_dropout=rate)

    @jax.jit
    def gradient(params, condition):
        def loss(params):
            return objective.training_losses(params, images, KEY, jnp.arange(N), condition).mean()

        return jax.grad(loss)(params)["ClassEmbedding_0"]["table"]

    return np.abs(np.asarray(gradient(params, LABELS))).max(axis=1)


def test_with_every_label_dropped_only_no_class_learns(problem):
    np.testing.assert_array_equal(table_gradient(problem, 1.0) > 1e-6, [False, False, False, True])
    np.testing.assert_array_equal(table_gradient(problem, 1.0)[:CLASSES], 0.0)


def test_without_dropout_the_classes_learn(problem):
    np.testing.assert_array_equal(table_gradient(problem, 0.0) > 1e-6, [True, True, True, False])


def test_held_out_losses_are_those_of_the_labels(problem):
    """No label is dropped, and each matters."""
    objective, params, images = problem
    keys, u = image_keys(KEY, jnp.arange(N)), jnp.linspace(0.1, 0.9, N)

    def losses(rate, condition):
        asked = dataclasses.replace(objective, label_dropout=rate)
        return np.asarray(jax.jit(asked.held_out_losses)(params, images, u, keys, condition))

    told = losses(0.0, LABELS)
    np.testing.assert_array_equal(losses(1.0, LABELS), told)
    assert (np.abs(losses(0.0, ()) - told) > 1e-6).all()
