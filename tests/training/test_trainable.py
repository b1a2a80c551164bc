"""Frozen parameters keep their bits, and neither their gradients nor the checkpoint's layout change."""

import jax
import numpy as np
import pytest

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.training.feed import feed
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state
from score_sde.training.step import build_train_step
from score_sde.training.trainable import trainable

NAMES = {"Dense_0": {"kernel": 0, "bias": 0}, "Dense_1": {"kernel": 0}}


class Leaf:
    shape = ()


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("", [True, True, True]),
        ("Dense_1", [False, False, True]),
        ("kernel$", [False, True, True]),
        (r"^Dense_0\.bias", [True, False, False]),
    ],
)
def test_names_are_searched(pattern, chosen):
    params = jax.tree.map(lambda _: Leaf(), NAMES)
    assert jax.tree.leaves(trainable(pattern, params)) == chosen


def two_updates(config, pattern):
    """The state before and after, of which parameters, averages and moments all differ; and the norm of the gradient."""
    config.training.trainable = pattern
    task, devices = build_score_task(config), PmapDevices()
    shapes = jax.eval_shape(lambda: first_state(task.init(), task.optimizer))
    leaves, structure = jax.tree.flatten(shapes)
    rng = np.random.default_rng(0)
    leaves = [abs(rng.normal(size=leaf.shape)).astype(leaf.dtype) for leaf in leaves]
    before = structure.unflatten(leaves)
    resident, steps = feed(0, 8, data.load(config).train, 0, devices)
    step = build_train_step(task, devices)
    state, norms = jax.device_put(before, devices.replicated()), []
    for _ in range(2):
        state, metrics = step(
            state, (), resident, devices.split(jax.tree.map(lambda x: x[:, None], next(steps)))
        )
        norms.append(float(metrics["grad_norm"][0]))
    return before, state, norms[0]


def test_the_rest_keeps_its_bits(config):
    """Under weight decay and with earlier moments. The squared gradient norms of all parameters add up."""
    config.optim.update(weight_decay=0.1, warmup=0)
    squares = []
    for pattern in ("Dense_0", "Dense_[12]", ""):
        before, after, norm = two_updates(config, pattern)
        squares.append(norm**2)
        assert jax.tree.structure(before) == jax.tree.structure(after)
        for old, new in ((before.params, after.params), (before.ema_params, after.ema_params)):
            for name in old:
                moves = pattern == "" or (name == "Dense_0") == (pattern == "Dense_0")
                for leaf in old[name]:
                    same = np.array_equal(old[name][leaf], new[name][leaf])
                    assert same != moves, (pattern, name, leaf)
    assert squares[0] + squares[1] == pytest.approx(squares[2], rel=1e-5)
