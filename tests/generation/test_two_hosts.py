"""Two processes with two devices each give the same results as one process with four, bit for bit."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from score_sde.devices import DEVICES

REPOSITORY = pathlib.Path(__file__).parents[2]

SCRIPT = """
import sys
rank, hosts, port, path, way = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
import jax
jax.config.update("jax_num_cpu_devices", 4 // hosts)
if hosts > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", hosts, rank)
import pathlib
import numpy as np
from score_sde import data
from score_sde.configs.toy_mixture import get_config
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.likelihood.bits_per_dim import measure_bits_per_dim
from score_sde.unfinished import UnfinishedFolder
from score_sde.models.exact import ProductMixtureScore
from score_sde.generation.generate import build_generator
from score_sde.sde_lib import build_sde
config = get_config()
config.data_parallel = way
config.data.image_size = 4
config.sampling.batch_size = config.likelihood.batch_size = 8
config.sampling.pc.num_steps = 20
config.likelihood.num_images = 11
sde = build_sde(config)
model = ProductMixtureScore(*(np.float32(p) for p in ([0.3, 0.7], [-1, 0.6], [0.04, 0.09])), sde)
results = {}
for sampler in ("pc", "ode"):
    config.sampling.sampler = sampler
    results[f"{sampler} samples"] = build_generator(config, sde, (4, 4, 1))(model, 11, 0, show=False).x
config.likelihood.bound_draws = 8
folder = UnfinishedFolder(pathlib.Path(path).with_suffix(".unfinished"), {})
split = data.load(config).test
measured = measure_bits_per_dim(config, sde, model, UniformDequantizer(), split, 0, folder, False)
bits = {"ode": measured.ode.bits_per_dim, "bound": measured.bound.bits_per_dim}
np.savez(path, batches=len(list(folder.folder.glob("*.npz"))), **bits, **results)
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"},
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("way", list(DEVICES))
def test_hosts_do_not_change_samples_or_likelihoods(way, tmp_path):
    paths = [tmp_path / f"{name}.npz" for name in ("one", "first", "second")]
    port = free_port()
    runs = [(0, 1, port, paths[0], way), (0, 2, port, paths[1], way), (1, 2, port, paths[2], way)]
    for process in [start(*run) for run in runs]:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    one, *others = map(np.load, paths)
    for other in others:
        for name in ("pc samples", "ode samples", "ode", "bound"):
            np.testing.assert_array_equal(one[name], other[name])
    # Two batches; the second of two hosts leaves the writing to the first.
    assert [int(file["batches"]) for file in (one, *others)] == [2, 2, 0]
