"""A user-defined condition: the brightness of an image, with which a network trains and samples.

Outside the network's own file it needs a reader and a source: the lines of `registered`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde import data
from score_sde.configs.digits import digits_config
from score_sde.data.conditions import CONDITIONS
from score_sde.generation.conditions import SOURCES
from score_sde.generation.generate import build_generator
from score_sde.models.networks import NETWORKS
from score_sde.sde_lib import build_sde
from score_sde.training.score_task import train
from score_sde.training.trained_score import load_score_model

TOLD = []  # what the network saw, on whatever device


class Lamp(nn.Module):
    """eps_hat = w x + brightness."""

    from_config = classmethod(lambda cls, config: cls())
    conditions = staticmethod(lambda config: ("brightness",))
    null_condition = staticmethod(lambda condition: jax.tree.map(jnp.zeros_like, condition))

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        brightness = dict(condition).get("brightness", jnp.zeros(len(x)))
        jax.debug.callback(lambda told: TOLD.extend(told.tolist()), brightness)
        w = self.param("w", nn.initializers.ones, ())
        return w * x + brightness[:, None, None, None]


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(NETWORKS, "lamp", Lamp)
    monkeypatch.setitem(
        CONDITIONS, "brightness", lambda record, image: np.float32(image().mean() / 16)
    )
    monkeypatch.setitem(
        SOURCES, "brightness", lambda config: lambda indices: indices / np.float32(8)
    )


def test_it_trains_and_samples_under_it(registered, tmp_path):
    config = digits_config("vp")
    config.model.name = "lamp"
    config.training.update(batch_size=8, n_iters=2, eval_freq=0, snapshot_freq=0)
    train(config, tmp_path)
    jax.effects_barrier()
    images = data.load(config).train.take(range(1500)).images
    seen = [data.batch_indices(config.seed, step, 8, 1500) for step in (0, 1)]
    expected = images[np.concatenate(seen)].mean(axis=(1, 2, 3)) / 16
    # Some are told twice: the last state is tried on its batch once more before it is saved.
    told = np.unique(TOLD)[1:]  # without the 0 of no image, when parameters are made
    np.testing.assert_allclose(told, np.unique(expected.astype(np.float32)), rtol=1e-5)

    config.sampling.update(sampler="ddim", batch_size=8, noise_removal=False)
    config.sampling.exponential.num_steps = 1
    sde = build_sde(config)
    model = load_score_model(config, sde, tmp_path).model
    TOLD.clear()
    build_generator(config, sde, (8, 8, 1))(model, 8, seed=0, show=False)
    jax.effects_barrier()
    np.testing.assert_allclose(sorted(TOLD), np.arange(8) / 8)
