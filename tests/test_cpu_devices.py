"""--cpu_devices: a batch over several devices of one CPU, and where it is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import main
from score_sde.cpu_devices import check_cpu_devices, split_cpu
from score_sde.errors import UserError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("count", [0, -2, 257])
def test_a_number_that_can_be_none_is_refused(count):
    with pytest.raises(UserError, match=f"--cpu_devices={count}: expected 1 to 256"):
        check_cpu_devices(count)


def test_none_asks_nothing_of_jax(monkeypatch):
    monkeypatch.setattr(jax.config, "update", None)
    split_cpu(None)
    check_cpu_devices(None)


def test_after_something_was_computed_it_is_too_late():
    jax.devices()
    with pytest.raises(UserError, match="--cpu_devices=2 comes too late"):
        split_cpu(2)


def test_where_jax_computes_on_something_else(monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *given: None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(UserError, match=r"JAX computes on 4 x gpu here: .*JAX_PLATFORMS=cpu"):
        split_cpu(2)


def test_as_many_devices_as_asked_for_whatever_the_environment_says():
    words = "from score_sde.cpu_devices import split_cpu; split_cpu(3); import jax; print(jax.devices())"
    done = subprocess.run(
        [sys.executable, "-c", words],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )  # fmt: skip
    assert done.stdout.count("CpuDevice") == 3, done.stderr


def test_samples_are_the_same_over_three_devices(tmp_path, monkeypatch):
    """Equal to those over this process's four devices; each sample has its own noise, so only rounding may differ."""
    monkeypatch.chdir(ROOT)
    sizes = ["num_images=48", "batch_size=48", "sde.num_steps=10"]
    asked = [
        "main.py",
        "--config=configs/toy_mixture.py",
        "--mode=sample",
        "--sampler=sde",
        *(f"--config.sampling.{size}" for size in sizes),
    ]
    here = main.run([*asked, f"--workdir={tmp_path / 'four'}"])
    done = subprocess.run(
        [sys.executable, *asked, "--json", "--cpu_devices=3", f"--workdir={tmp_path / 'three'}"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)["records"][0]
    four, three = (np.load(record["arrays"])["images"] for record in (here, there))
    assert four.shape[0] == 48
    np.testing.assert_allclose(three, four, rtol=2e-5, atol=2e-5)


def test_the_flag_reaches_jax(tmp_path):
    """A batch that cannot be divided among five devices is refused with their number."""
    asked = [
        "--config=configs/vp_digits.py",
        "--mode=train",
        "--config.training.n_iters=1",
        "--cpu_devices=5",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = subprocess.run(
        [sys.executable, "main.py", *asked], cwd=ROOT, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert done.returncode == 2
    assert "training.batch_size=64 on 5 devices" in done.stderr
