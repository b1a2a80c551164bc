"""The training loop: resuming is exact, figures are recorded once, and a run ends cleanly whatever ends it."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.errors import UserError
from score_sde.models.networks import NETWORKS, build_network
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.optimizer import build_optimizer
from score_sde.training.run import due
from score_sde.training.score_task import train
from score_sde.training.state import init_state
from score_sde.training.task import Evaluator, Plan

REPOSITORY = pathlib.Path(__file__).parents[2]


def final_state(config, workdir):
    template = jax.eval_shape(
        lambda: init_state(config, build_network(config), build_optimizer(config))
    )
    with Checkpoints(workdir) as checkpoints:
        return [np.asarray(leaf) for leaf in jax.tree.leaves(checkpoints.restore(template))]


def recorded(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def without_speed(lines):
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


@pytest.mark.slow
def test_a_resumed_run_is_the_run_without_a_stop(config, tmp_path):
    """Six updates at once or three and three: parameters, average and optimizer state equal bit for bit."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    config.training.log_freq = 1
    pictures = []
    figures = train(config, whole)
    config.training.n_iters = 3
    train(
        config,
        parts,
        {"pictures": Evaluator(2, lambda averaged, step: pictures.append(step) or {})},
    )
    assert pictures == [2, 3]
    # Lines of updates that the checkpoint does not know of, as a killed run leaves them.
    with (parts / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 4, "loss": 1.0}\n{"step": 5, "lo')
    config.training.n_iters = 6
    resumed = train(config, parts)

    for a, b in zip(final_state(config, whole), final_state(config, parts), strict=True):
        np.testing.assert_array_equal(a, b)
    assert without_speed(recorded(whole)) == without_speed(recorded(parts))
    assert figures["eval_loss"] == resumed["eval_loss"]
    assert figures["loss"] == resumed["loss"]
    assert figures["checkpoint_step"] == resumed["checkpoint_step"] == figures["step"] == 6
    assert [line["step"] for line in recorded(whole) if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in recorded(whole) if "eval_loss" in line] == [3, 6]
    assert any((whole / "tensorboard").iterdir())

    # A third call has nothing to do but to say how good the result is, and records nothing twice.
    again = train(config, parts)
    assert again["eval_loss"] == figures["eval_loss"]
    assert again["step"] == 6
    assert without_speed(recorded(parts)) == without_speed(recorded(whole))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    config, tmp_path, monkeypatch
):
    class Exploding(NETWORKS["stub"]):
        """Overflows once its parameters have moved far enough."""

        @nn.compact
        def __call__(self, x, noise_input, condition=(), dropout_keys=None):
            moved = self.param("moved", nn.initializers.zeros, ())
            return x * moved + jnp.where(jnp.abs(moved) > 0.025, jnp.inf, 0.0)

    monkeypatch.setitem(NETWORKS, "stub", Exploding)
    # Adam moves a parameter by about lr = .01 an update, so past .025 after three; the fourth loss is inf.
    config.optim.warmup = 0
    config.training.update(eval_freq=0, checkpoint_freq=2, n_iters=9)
    with pytest.raises(UserError, match=r"update 4 .*the checkpoint of step 2 is kept"):
        train(config, tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 2
    assert [line["step"] for line in recorded(tmp_path)] == [2]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "batch_size",
            6,
            "on 4 devices: expected a positive multiple of 4; set --config.training.batch_size=4",
        ),
        ("batch_size", 0, "expected a positive"),
        ("n_iters", 0, "n_iters=0"),
        ("log_freq", 0, "log_freq=0"),
        ("steps_per_call", 0, "steps_per_call=0"),
        ("keep_checkpoints", -1, "keep_checkpoints=-1"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_built(
    config, tmp_path, monkeypatch, field, value, message
):
    monkeypatch.setattr("score_sde.training.score_task.build_score_task", None)
    config.training[field] = value
    with pytest.raises(UserError, match=message):
        train(config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_due_counts_the_multiples_that_a_call_passes():
    assert [due(3, n, n + 1) for n in range(6)] == [False, False, True, False, False, True]
    assert [due(3, n, n + 2) for n in (0, 2, 4)] == [False, True, True]
    assert not due(0, 0, 100)


def test_calls_end_at_multiples_of_steps_per_call_and_at_the_end(config):
    config.training.update(steps_per_call=4, n_iters=10)
    plan = Plan.from_config(config, config.training)
    assert [plan.steps_in_call(step) for step in (0, 4, 6, 8)] == [4, 4, 2, 2]


@pytest.mark.slow
def test_several_steps_a_call_go_through_the_loop(config, tmp_path):
    """Five updates in calls of 2, 2 and 1; events happen at the end of the first call past their step."""
    config.training.update(steps_per_call=2, n_iters=5, log_freq=1, eval_freq=3, checkpoint_freq=0)
    figures = train(config, tmp_path)
    assert figures["checkpoint_step"] == 5
    assert [line["step"] for line in recorded(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5]
    assert [line["step"] for line in recorded(tmp_path) if "eval_loss" in line] == [4, 5]


# A run in a process of its own: workdir, number of updates, devices of the process, and for several
# processes the rank of this one and the address of the first.
SCRIPT = """
import sys
import jax
workdir, n_iters, devices, *ranks = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(devices))
jax.config.update("jax_disable_most_optimizations", True)
if ranks:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(ranks[1], 2, int(ranks[0]))
from score_sde.configs.default import get_config
from score_sde.models.networks import NETWORKS
from tests.training.stub_network import StubNetwork
NETWORKS["stub"] = StubNetwork
config = get_config()
config.model.update(name="stub", nf=8, dropout=0.3)
config.data.update(name="mixture", image_size=4, num_levels=0)
config.optim.update(warmup=2, eps=1.0)
config.training.update(batch_size=8, n_iters=int(n_iters), log_freq=20, eval_freq=0, snapshot_freq=0)
from score_sde.training.score_task import train
print(train(config, workdir))
"""


def start(*arguments):
    path = os.pathsep.join([str(REPOSITORY), str(pathlib.Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigterm_saves_and_ends_cleanly(tmp_path):
    process = start(tmp_path, 10**6, 1)
    metrics, deadline = tmp_path / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopped by SIGTERM" in err
    assert "'stopped_by': 'SIGTERM'" in out
    # Lines, as this is no terminal.
    assert "step 20/1000000" in err
    assert "images/s" in err
    with Checkpoints(tmp_path) as checkpoints:
        step = checkpoints.latest_step
    assert step >= 20
    assert f"step {step} is saved" in err
    assert all(line["step"] <= step for line in recorded(tmp_path))


@pytest.mark.slow
def test_two_hosts_train_what_one_does(config, tmp_path):
    """Twenty updates by two processes with two devices, resumed after ten, and by one process with four."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    for n_iters in (10, 20):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        hosts = [start(two, n_iters, 2, rank, address) for rank in (0, 1)]
        for host in hosts:
            _, err = host.communicate(timeout=120)
            assert host.returncode == 0, err
    _, err = start(one, 20, 4).communicate(timeout=120)
    assert [line["step"] for line in recorded(two)] == [10, 20]
    for a, b in zip(final_state(config, one), final_state(config, two), strict=True):
        # Twenty updates of round-off from another order of summation; eps = 1 keeps Adam from raising it.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
