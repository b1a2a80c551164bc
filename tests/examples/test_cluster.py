"""Scripts that start a run over several hosts: they start a command that main.py accepts."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from score_sde.command_line import parse
from score_sde.devices import DEVICES
from score_sde.hosts import Hosts

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "examples" / "cluster"


def run_script(tmp_path, srun_exits):
    """The sbatch script with stand-ins for SLURM's programs, which note what they are called with."""
    for name, status in (("srun", srun_exits), ("scontrol", 0)):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/{name}.arguments"\nexit {status}\n'
        )
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    command = ["bash", str(CLUSTER / "train.sbatch"), "--config.training.batch_size=64"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


@pytest.mark.parametrize(("status", "queued"), [(0, False), (2, False), (143, True)])
def test_slurm_starts_a_run_and_queues_it_again_when_its_time_is_over(tmp_path, status, queued):
    assert run_script(tmp_path, status) == status
    program, script, *arguments = (tmp_path / "srun.arguments").read_text().splitlines()
    assert (program, script) == (".venv/bin/python", "main.py")
    options = parse([script, *arguments], "")
    assert options.mode == "train"
    assert options.hosts == Hosts()  # for JAX to find out
    assert options.config.training.batch_size == 64
    assert (tmp_path / "scontrol.arguments").exists() == queued
    if queued:
        assert (tmp_path / "scontrol.arguments").read_text().split() == ["requeue", "17"]


def test_a_kubernetes_job_is_one_that_jax_finds_its_way_in():
    """It satisfies jax/_src/clusters/k8s_cluster.py: an indexed Job whose pods have names in a headless service."""
    parts = {part["kind"]: part for part in yaml.safe_load_all((CLUSTER / "job.yaml").read_text())}
    job, service = parts["Job"], parts["Service"]
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"] > 1
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert job["metadata"]["labels"]
    account = parts["ServiceAccount"]["metadata"]["name"]
    assert pod["serviceAccountName"] == parts["RoleBinding"]["subjects"][0]["name"] == account
    assert parts["RoleBinding"]["roleRef"]["name"] == parts["Role"]["metadata"]["name"]
    allowed = {
        (r, verb)
        for rule in parts["Role"]["rules"]
        for r in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {("pods", "list"), ("jobs", "get"), ("services", "list")} <= allowed
    (container,) = pod["containers"]
    options = parse(["main.py", *container["args"]], "")
    assert options.mode == "train"
    assert options.hosts == Hosts()  # for JAX to find out
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert options.workdir.is_relative_to(mount["mountPath"])


@pytest.mark.slow
@pytest.mark.parametrize("way", list(DEVICES))
def test_two_processes_on_this_machine_train_what_one_does(way, tmp_path):
    """Run by the user's recipe with one interruption, and by one process with as many devices."""
    small = (
        "--config=configs/vp_digits.py --mode=train --config.model.nf=16 --config.model.ch_mult=(1,) "
        "--config.model.attn_resolutions=() --config.training.batch_size=8 "
        "--config.training.log_freq=1 --config.training.snapshot_freq=4 --config.training.snapshot_size=4 "
        "--config.training.snapshot_steps=2 --config.sampling.batch_size=4 --config.training.ema.sigma_rel=0.1,0.2 "
        f"--config.training.ema.save_freq=2 --config.data_parallel={way}"
    ).split()
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHON": sys.executable}
    with socket.socket() as free:
        free.bind(("localhost", 0))
        environment["JAX_COORDINATOR_PORT"] = str(free.getsockname()[1])
    script = ["sh", "examples/cluster/localhost.sh", *small, f"--workdir={tmp_path / 'two'}"]
    for n_iters in (2, 4):
        until = f"--config.training.n_iters={n_iters}"
        subprocess.run([*script, until], cwd=ROOT, env=environment, check=True, timeout=300)
    one = {**environment, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    command = [sys.executable, "main.py", *small, until, f"--workdir={tmp_path / 'one'}"]
    subprocess.run(command, cwd=ROOT, env=one, check=True, timeout=300)
    losses = {}
    for name in ("one", "two"):
        lines = [
            json.loads(line)
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        losses[name] = [line["loss"] for line in lines if "loss" in line]
        assert (tmp_path / name / "snapshots" / "step00000004.png").is_file()
    assert len(losses["one"]) == 4
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-5)
    lines = (tmp_path / "two" / "environment.jsonl").read_text().splitlines()
    assert [json.loads(line)["hosts"] for line in lines] == [2, 2]
    # The second update moves a parameter by at most lr = 4e-5, the first by nothing, and parts that were mixed up would differ by more.
    kept, expected = (np.load(tmp_path / name / "averages" / "2.npz") for name in ("two", "one"))
    for name in expected:
        np.testing.assert_allclose(kept[name], expected[name], atol=8e-5)
