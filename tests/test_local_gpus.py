"""GPUs that nobody uses: 8 of each host, of which SLURM starts one process, or one for each."""

import jax
import numpy as np
import pytest

from score_sde import local_gpus
from score_sde.local_gpus import say_idle_gpus, visible_gpus


def test_gpus_are_those_that_are_chosen_or_all_of_the_machine(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "sda"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path) == 3
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0,GPU-8932f937"}, tmp_path) == 2
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == 0
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == 0


@pytest.mark.parametrize(
    ("processes", "chosen", "backend", "words"),
    [
        (1, "0,1,2,3,4,5,6,7", "gpu", "has 8 GPUs, of which the processes on it use 1: "),
        (2, "0,1,2,3,4,5,6,7", "gpu", "has 8 GPUs, of which the processes on it use 2: "),
        (8, "0,1,2,3,4,5,6,7", "gpu", ""),
        (8, "5", "gpu", ""),  # bound to a process by SLURM
        (1, "0,1,2,3,4,5,6,7", "cpu", ""),
    ],
)
def test_idle_gpus_are_said(monkeypatch, capsys, processes, chosen, backend, words):
    """On two hosts, each process with one device."""

    def of_two_hosts(own):
        return np.array([own] * processes + [own + 1] * processes)

    monkeypatch.setattr(local_gpus, "of_every_host", of_two_hosts)
    monkeypatch.setattr(jax, "process_count", lambda: 2 * processes)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    say_idle_gpus({"CUDA_VISIBLE_DEVICES": chosen})
    said = capsys.readouterr().err
    assert words in said if words else not said
