"""Labels in training: the network's inputs, and that no other random number changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.data import Batch
from score_sde.errors import UserError
from score_sde.keys import TrainingKeys, image_keys
from score_sde.models.networks import build_network
from score_sde.sde_lib import VP
from score_sde.training.objective import build_objective, check_label_dropout, drop_labels
from score_sde.training.state import init_params

KEY, N = jax.random.key(3), 4
LABELS, NONE = {"label": jnp.array([0, 1, 2, 1])}, {"label": jnp.full(N, 3)}


def test_the_other_keys_of_an_image_are_those_without_labels():
    """The five streams of runs before labels existed: results of training do not change."""
    places = jnp.arange(50)
    before = jax.vmap(lambda place: jax.random.split(jax.random.fold_in(KEY, place), 5))(places).T
    keys = image_keys(TrainingKeys, KEY, places)
    uses = ("dequantization", "flip", "time", "noise", "dropout")
    for use, theirs in zip(uses, before, strict=True):
        ours = jax.random.key_data(getattr(keys, use))
        np.testing.assert_array_equal(ours, jax.random.key_data(theirs))


def test_labels_are_dropped_at_the_rate_each_by_its_own_key():
    n, rate = 4000, 0.2
    keys, given = (
        image_keys(TrainingKeys, KEY, jnp.arange(n)).label_dropout,
        {"label": jnp.arange(n) % 3},
    )
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
    """An objective, parameters all random, since layers that start as nought would hide the labels, and images."""
    config = get_config()
    config.data.update(image_size=4, num_levels=0)
    config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), num_classes=3)
    network, rng = build_network(config), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init_params(config, network))
    params = jax.tree.map(lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), shapes)
    images = jax.random.normal(jax.random.key(1), (N, 4, 4, 1))
    return build_objective(config, network, VP()), params, images


@pytest.mark.slow
def test_with_every_label_dropped_only_no_class_learns(problem):
    objective, params, images = problem
    objective = dataclasses.replace(objective, label_dropout=1.0)

    @jax.jit
    def gradient(params):
        def loss(params):
            return objective.training_losses(
                params, Batch(images, LABELS, jnp.arange(N)), KEY
            ).mean()

        return jax.grad(loss)(params)["ClassEmbedding_0"]["table"]

    sizes = np.abs(np.asarray(gradient(params))).max(axis=1)
    np.testing.assert_array_equal(sizes[:3], 0.0)
    assert sizes[3] > 1e-6


@pytest.mark.slow
def test_labels_reach_the_network_and_are_kept_in_held_out_losses(problem):
    """Without dropout in training, and with any dropout in held-out losses: each image's own label matters."""
    objective, params, images = problem
    u = jnp.linspace(0.1, 0.9, N)
    held_out = dataclasses.replace(objective, label_dropout=1.0)

    @jax.jit
    def losses(params, condition):
        batch = Batch(images, condition, jnp.arange(N))
        return (
            objective.training_losses(params, batch, KEY),
            held_out.held_out_losses(params, batch, u, KEY),
        )

    told, none = losses(params, LABELS), losses(params, NONE)
    for ours, theirs in zip(told, none, strict=True):
        assert (np.abs(ours - theirs) > 1e-4).all()


def test_rates_that_cannot_be_are_refused():
    config = get_config()
    for rate, message in ((1.5, "rate between 0 and 1"), (0.1, "not conditioned on classes")):
        config.training.label_dropout = rate
        with pytest.raises(UserError, match=f"label_dropout={rate}.*{message}"):
            check_label_dropout(config)
    config.model.num_classes = 2
    check_label_dropout(config)


def test_conditions_of_any_shape_are_dropped_image_by_image():
    """For four images with four numbers each, rows are dropped and not columns."""
    keys = image_keys(TrainingKeys, KEY, jnp.arange(4)).label_dropout
    condition = {"text": jnp.ones((4, 4))}
    none = {"text": jnp.zeros((4, 4))}
    kept = drop_labels(keys, condition, none, 0.5)["text"]
    assert set(np.asarray(kept).sum(axis=1)) == {0.0, 4.0}
