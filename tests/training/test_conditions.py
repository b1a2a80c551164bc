"""An image's label reaches the network with it, from memory and from disk; labels are dropped in training only."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde import data
from score_sde.models.networks import NETWORKS
from score_sde.training.checkpoints import restore_ema
from score_sde.training.score_task import build_score_task, train
from tests.training.stub_network import StubNetwork


class Labelled(StubNetwork):
    """Adds a number of each class; the last is that of no class."""

    conditions = staticmethod(lambda config: ("label",))

    def null_condition(self, condition):
        return {"label": jnp.full_like(condition["label"], 10)} if condition else ()

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        table = self.param("table", nn.initializers.zeros, (11,))
        label = condition["label"] if condition else jnp.full(len(x), 10)
        out = nn.Dense(self.channels)(x) * noise_input[:, None, None, None]
        return out + table[label][:, None, None, None]


@pytest.fixture
def labelled(config, monkeypatch):
    monkeypatch.setitem(NETWORKS, "stub", Labelled)
    config.data.update(name="digits", image_size=8, num_levels=17)
    config.model.num_classes = 10
    config.optim.warmup = 0
    return config


def trained(labelled, folder, in_memory):
    """Losses and averaged parameters after one update."""
    labelled.training.update(n_iters=1, batch_size=8)
    labelled.data.in_memory = in_memory
    shapes = jax.eval_shape(build_score_task(labelled).init)
    figures = train(labelled, folder)
    return figures["loss"], figures["eval_loss"], restore_ema(folder, shapes)[0]


@pytest.mark.slow
def test_labels_are_those_of_the_images_in_memory_and_streamed(labelled, tmp_path):
    """Bitwise equal, with the same held-out loss."""
    found = [trained(labelled, tmp_path / of, of) for of in ("yes", "no")]
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_numbers_of_the_classes_of_a_batch_move(labelled, tmp_path):
    """Adam does not change parameters that never had a gradient."""
    table = trained(labelled, tmp_path / "run", "no")[-1]["table"]
    split = data.load(labelled, conditions=("label",)).train
    first = split.condition["label"][data.batch_indices(labelled.seed, 0, 8, split.num_images)]
    assert len(set(first)) < 10
    np.testing.assert_array_equal(np.flatnonzero(table), np.unique(first))


def test_labels_are_dropped_at_their_rate_and_never_when_held_out(labelled):
    """1000 images, with a loss that exposes the labels passed to the network."""
    labelled.training.label_dropout = 0.25
    objective = dataclasses.replace(
        build_score_task(labelled).objective,
        loss=lambda model, x0, u, z, keys: model.condition["label"],
    )
    labels = np.arange(1000, dtype=np.int32) % 10
    batch = data.Batch(np.zeros((1000, 8, 8, 1), np.uint8), {"label": labels}, np.arange(1000))
    key = jax.random.key(0)
    given = np.asarray(objective.training_losses({}, batch, key))
    dropped = given == 10
    np.testing.assert_array_equal(given[~dropped], labels[~dropped])
    # Five standard deviations of a share of 1/4.
    assert abs(dropped.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 1000)
    np.testing.assert_array_equal(
        objective.held_out_losses({}, batch, jnp.zeros(1000), key), labels
    )
