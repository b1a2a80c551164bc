"""A task in fifteen lines, trained by the loop to an optimum known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde.data.splits import ImagesInMemory
from score_sde.devices import PmapDevices
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.evaluations import NotFinite
from score_sde.training.loop import train_task
from score_sde.training.state import first_state
from score_sde.training.task import Evaluator, Plan

VALUES = np.array([1, 2, 4, 8, 16, 32, 64, 129], np.float32)  # their mean is 32
SPLIT = ImagesInMemory(VALUES.reshape(8, 1, 1, 1))


class Mean:
    """(p + c - image)^2 is least, on average, where p is the mean of the images less the constant c."""

    name, advice, trainable, quick_init = "a mean", "", "", True
    optimizer, constants, evaluators, widths = optax.sgd(0.25), np.float32(5), {}, ()

    def init(self):
        return {"p": jnp.zeros(())}

    def losses(self, params, averaged, constants, step, batch):
        return jnp.square(params["p"] + constants - batch.images[:, 0, 0, 0])

    learning_rate = staticmethod(lambda step: 0.25)
    ema_rate = staticmethod(lambda step: 0.5)
    record = staticmethod(lambda folder: None)


def run(folder, n_iters, task, batch_size=8):
    plan = Plan(seed=3, batch_size=batch_size, n_iters=n_iters, log_freq=1)
    return train_task(task, plan, SPLIT, folder, PmapDevices())


def test_every_step_is_that_of_the_closed_form(tmp_path):
    """With all images in a batch: an update halves the distance to 32 - 5 = 27, and the average follows at half its step."""
    task, seen = Mean(), {}

    def note(averaged, step):
        seen[step] = float(averaged["p"])
        return {"p": seen[step]}

    task.evaluators = {"note": Evaluator(2, note), "never": Evaluator(0, None)}
    state, figures = run(tmp_path, 5, task)
    p, averaged, expected = 0.0, 0.0, {}
    for step in range(1, 6):
        p = 27 - 27 / 2**step
        averaged = (averaged + p) / 2
        expected[step] = averaged
    # Sums of halves of whole numbers: float32 has them exactly.
    assert float(state.params["p"]) == p
    assert float(state.ema_params["p"]) == averaged
    assert seen == {step: expected[step] for step in (2, 4, 5)}
    assert (figures["step"], figures["p"], figures["stopped_by"]) == (5, averaged, None)
    # The mean of (p + 5 - image)^2 is the images' variance and the squared distance to the optimum before the update.
    assert figures["loss"] == pytest.approx(VALUES.var() + (27 / 2**4) ** 2, rel=1e-6)


def test_a_run_of_batches_resumes_bit_for_bit(tmp_path):
    task = Mean()
    whole, _ = run(tmp_path / "whole", 7, task, batch_size=4)
    run(tmp_path / "parts", 4, task, batch_size=4)
    resumed, _ = run(tmp_path / "parts", 7, task, batch_size=4)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    with Checkpoints(tmp_path / "parts") as checkpoints:
        template = jax.eval_shape(lambda: first_state(task.init(), task.optimizer))
        assert float(checkpoints.restore(template).params["p"]) == float(whole.params["p"])


def test_what_an_evaluator_finds_must_be_finite(tmp_path):
    task = Mean()
    task.evaluators = {"broken": Evaluator(2, lambda averaged, step: {"distance": float("nan")})}
    with pytest.raises(NotFinite, match="distance is nan at step 2"):
        run(tmp_path, 5, task)


def test_a_run_goes_on_with_other_devices(tmp_path):
    """With four, one, two and four devices: sums of integers and halves, hence equal bit for bit."""
    whole = run(tmp_path / "whole", 8, Mean()).state
    plan = {"seed": 3, "batch_size": 8, "log_freq": 1}
    for n_iters, number in ((2, 4), (4, 1), (6, 2), (8, 4)):
        devices = PmapDevices((*jax.devices()[:number],))
        plan_of = Plan(n_iters=n_iters, **plan)
        state, _ = train_task(Mean(), plan_of, SPLIT, tmp_path / "parts", devices)
        assert len(state.step.addressable_shards) == number
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
