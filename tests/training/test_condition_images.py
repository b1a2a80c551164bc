"""The loss of a network with a condition image: its minimum is the conditional score, and flips apply to both images."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.digits import digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.data.batch import Batch
from score_sde.errors import ConfigError
from score_sde.models.networks import NETWORKS
from score_sde.sde_lib import build_sde
from score_sde.training import score_task
from score_sde.training.checkpoints import checkpoint_folder, restore_ema
from score_sde.training.objective import build_objective
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import train

N, MEAN, VARIANCE, SIGMA_Y = 200_000, 0.2, 0.5, 0.4


class Affine(nn.Module):
    """eps_hat = a x + b told + c for each column of pixels."""

    from_config = classmethod(lambda cls, config: cls())
    conditions = staticmethod(lambda config: ())
    null_condition = staticmethod(lambda condition: jax.tree.map(jnp.zeros_like, condition))

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        a, b, c = (self.param(name, nn.initializers.zeros, (2,)) for name in "abc")
        told = condition["image"] if condition else jnp.zeros_like(x)

        def columns(w):
            return w[None, None, :, None]

        return columns(a) * x + columns(b) * told + columns(c)


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(NETWORKS, "affine", Affine)
    config = toy_config()
    config.data.update(image_size=2)
    config.model.update(name="affine", condition_image="measured")
    config.condition.update(name="half", sigma_y=SIGMA_Y)
    return config


def test_the_minimum_of_the_loss_is_the_conditional_score(config):
    """For Gaussian pixels, half of them measured, at one time: E[z | x_t, condition] is affine and known. Within five standard errors
    of a regression on 400,000 pixels, with a false alarm in 300,000."""
    sde = build_sde(config)
    objective = build_objective(config, Affine(), sde)
    rng = np.random.default_rng(0)
    x0 = MEAN + np.sqrt(VARIANCE) * rng.standard_normal((N, 2, 2, 1))
    batch = Batch(jnp.asarray(x0, jnp.float32), (), jnp.arange(N))
    u, key = jnp.full(N, 0.3), jax.random.key(1)

    def loss(vector):
        params = dict(zip("abc", vector.reshape(3, 2), strict=True))
        return objective.held_out_losses(params, batch, u, key).mean()

    zero = jnp.zeros(6)
    value, slope, bend = jax.jit(lambda v: (loss(v), jax.grad(loss)(v), jax.hessian(loss)(v)))(zero)
    best = -np.linalg.pinv(np.asarray(bend, float), rcond=1e-6) @ np.asarray(slope, float)
    a, b, c = best.reshape(3, 2)

    t = objective.loss.times.at(jnp.full(1, 0.3))
    alpha, sigma = float(sde.alpha(t)[0]), float(sde.sigma(t)[0])
    # told = (x0 + n) / (1 + sigma_y^2): two noisy sights of x0, by the precisions of independent evidence
    precision = 1 / VARIANCE + alpha**2 / sigma**2 + 1 / SIGMA_Y**2
    x0_of = {
        "a": alpha / sigma**2 / precision,
        "b": (1 + SIGMA_Y**2) / SIGMA_Y**2 / precision,
        "c": MEAN / VARIANCE / precision,
    }
    noise_of = {
        "a": (1 - alpha * x0_of["a"]) / sigma,
        "b": -alpha * x0_of["b"] / sigma,
        "c": -alpha * x0_of["c"] / sigma,
    }
    left = np.sqrt(alpha**2 / precision) / sigma  # of z, unexplained
    for found, name in ((a, "a"), (b, "b"), (c, "c")):
        spread = {"a": sigma, "b": SIGMA_Y / (1 + SIGMA_Y**2), "c": 1.0}[name]
        assert found[0] == pytest.approx(
            noise_of[name], abs=5 * left / spread / np.sqrt(2 * N) + 1e-4
        )
    # Nothing is told of the other column.
    alone = 1 / VARIANCE + alpha**2 / sigma**2
    tolerance = 5 / np.sqrt(2 * N) / sigma
    assert a[1] == pytest.approx((1 - alpha**2 / sigma**2 / alone) / sigma, abs=tolerance)
    assert value == pytest.approx(1.0, abs=0.01)


def told_in_training(objective, images, condition, key):
    """What the network is told in an update, and x0, by a loss that shows them."""

    def shown(model, x0, u, z, keys):
        return model.condition["image"], x0

    seen = dataclasses.replace(objective, loss=shown)
    return seen.training_losses({}, Batch(images, condition, jnp.arange(len(images))), key)


@pytest.mark.parametrize("kind", ["measured", "paired"])
def test_a_flipped_image_is_told_flipped(config, kind):
    """The augmented image is measured; both images of a pair are flipped together."""
    config.data.random_flip = True
    config.condition.sigma_y = 0.0
    config.model.condition_image = kind
    config.model.condition_channels = 1 if kind == "paired" else 0
    objective = build_objective(config, Affine(), build_sde(config))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(64, 2, 2, 1)), jnp.float32)
    condition = {"paired": 3.0 * images} if kind == "paired" else ()
    told, x0 = map(np.asarray, told_in_training(objective, images, condition, jax.random.key(0)))
    flips = np.abs(x0 - np.asarray(images)).max(axis=(1, 2, 3)) > 0
    assert 10 < flips.sum() < 54  # of 64, but for once in 10^8
    np.testing.assert_array_equal(x0[flips], np.asarray(images)[flips, :, ::-1])
    if kind == "paired":
        np.testing.assert_array_equal(told, 3.0 * x0)
    else:
        np.testing.assert_allclose(told[:, :, :1], x0[:, :, :1], rtol=1e-6)
        np.testing.assert_array_equal(told[:, :, 1:], 0.0)


def test_what_is_told_is_dropped_at_its_rate(config):
    """Entire condition images are dropped, in training only; a fraction of 1/4 within five standard deviations."""
    config.training.label_dropout = 0.25
    objective = build_objective(config, Affine(), build_sde(config))
    images = jnp.ones((1000, 2, 2, 1))
    told, _ = map(np.asarray, told_in_training(objective, images, (), jax.random.key(0)))
    dropped = (told == 0).all(axis=(1, 2, 3))
    assert abs(dropped.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 1000)
    assert (told[~dropped][:, :, 0] != 0).all()
    batch = Batch(images, (), jnp.arange(1000))
    kept = objective.network_condition(images, (), jax.random.key(0), batch.index)["image"]
    assert (np.asarray(kept)[:, :, 0] != 0).all()


def test_noise_differs_from_update_to_update_and_what_else_is_drawn_stays(config):
    objective = build_objective(config, Affine(), build_sde(config))
    images = jnp.ones((8, 2, 2, 1))
    first, again, other = (
        told_in_training(objective, images, (), jax.random.key(seed))[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other)[:, :, 0].min() > 1e-6
    plain = dataclasses.replace(
        objective, condition_image=None, loss=lambda model, x0, u, z, keys: (u, z)
    )
    told = dataclasses.replace(plain, condition_image=objective.condition_image)
    batch = Batch(images, (), jnp.arange(8))
    for a, b in zip(*(of.training_losses({}, batch, jax.random.key(0)) for of in (plain, told))):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_run_that_stopped_goes_on_to_the_same_bits(config, tmp_path):
    """The condition image has new noise in each update, determined by the seed and the update."""
    config.model.condition_noise = 0.3
    config.training.update(
        batch_size=8, n_iters=6, eval_freq=6, snapshot_freq=0, log_freq=1, label_dropout=0.2
    )
    weights = []
    for folder, stops in (("whole", (6,)), ("parts", (3, 6))):
        for config.training.n_iters in stops:
            train(config, tmp_path / folder)
        empty = jax.tree.map(jnp.zeros_like, dict.fromkeys("abc", jnp.zeros(2)))
        weights.append(restore_ema(tmp_path / folder, empty)[0])
    assert all(np.any(weight != 0) for weight in jax.tree.leaves(weights[0]))
    jax.tree.map(np.testing.assert_array_equal, *weights)


def test_a_field_that_is_not_read_is_refused_where_a_network_begins(tmp_path, monkeypatch):
    """A trained folder continues, but its condition can no longer be changed."""
    config = digits_config("vp")
    config.update_from_flattened_dict({"model.condition_image": "measured", "condition.factor": 4})
    with pytest.raises(ConfigError, match=r"condition.factor=4 with condition.name='box'"):
        train(config, tmp_path)
    record_config(config, tmp_path, None)
    (checkpoint_folder(tmp_path) / "300").mkdir(parents=True)

    class Begun(Exception):
        pass

    def begin(config):
        raise Begun

    monkeypatch.setattr(score_task, "build_devices", begin)
    with pytest.raises(Begun):
        train(config, tmp_path)
