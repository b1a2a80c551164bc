"""Quality over several hosts: two processes get the results of one, for new samples and during training, without deadlock."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.modes import evaluate, evaluated_samples
from score_sde.quality.reference import load_splits
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import load_score_model
from score_sde.unfinished import UnfinishedFolder

REPOSITORY = pathlib.Path(__file__).parents[2]

SCRIPT = """
import dataclasses, sys, time
rank, hosts, port, folder = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5]
import jax
jax.config.update("jax_num_cpu_devices", 4 // hosts)
jax.config.update("jax_disable_most_optimizations", True)
if hosts > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", hosts, rank)
import json
import pathlib
import numpy as np
from score_sde.models.networks import NETWORKS
from score_sde.modes import evaluate, train
from score_sde.quality import reference
from score_sde.sde_lib import build_sde
from score_sde.unfinished import UnfinishedFolder
from tests.modes.test_quality_in_training import small
from tests.modes.test_quality_over_hosts import toy
from tests.training.stub_network import StubNetwork

NETWORKS["stub"] = StubNetwork
config = small()
config.training.update(keep_best=1, keep_best_by="frechet")
sde, workdir = build_sde(config), pathlib.Path(folder)
train.run(config, sde, workdir, *train.check(config, sde))

# Features with a distance between two images, which is asked of all hosts, and a first host that is slow to write.
build, save = reference.build_extractor, UnfinishedFolder.save

def with_distance(*arguments):
    def distance(a, b):
        return np.square(a - b).mean(axis=(1, 2, 3))
    return dataclasses.replace(build(*arguments), distance=distance)

def slowly(self, number, batch):
    time.sleep(3.0 if rank == 0 and hosts > 1 else 0.0)
    save(self, number, batch)

reference.build_extractor, UnfinishedFolder.save = with_distance, slowly
config = toy()
sde = build_sde(config)
found = evaluate.run(config, sde, workdir, *evaluate.check(config, sde))
(workdir.parent / f"of-{hosts}-{rank}.json").write_text(json.dumps(found))
"""


def toy():
    """An exact score; two batches."""
    config = get_config()
    config.data.image_size = 2
    config.sampling.update(sampler="ddim", num_images=60, batch_size=40)
    config.sampling.exponential.num_steps = 4
    config.evaluation.num_reference = 100
    return config


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


def lines(path):
    return list(map(json.loads, path.read_text().splitlines()))


@pytest.mark.slow
def test_two_processes_find_what_one_does(tmp_path):
    """Samples agree bit for bit; during training up to the rounding of sums over devices, which updates propagate."""
    port = free_port()
    runs = [(0, 1, port, tmp_path / "one"), *((rank, 2, port, tmp_path / "two") for rank in (0, 1))]
    for process in [start(*run) for run in runs]:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    one, *two = (
        json.loads((tmp_path / f"of-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")
    )
    own = {"seconds", "nearest"}
    assert {"frechet", "kid", "mind", "lpips", "nearer_than_held_out"} < one.keys() - own
    for found in two:
        assert {name: found[name] for name in one.keys() - own} == {
            name: one[name] for name in one.keys() - own
        }
    looks = {}
    for name in ("one", "two"):
        looks[name] = [
            line for line in lines(tmp_path / name / "metrics.jsonl") if "frechet" in line
        ]
        assert [line["step"] for line in looks[name]] == [2, 4]
        # The first host alone writes, and leaves no batches behind.
        modes = [line["mode"] for line in lines(tmp_path / name / "results.jsonl")]
        assert modes == ["train", "evaluate"]
        assert [path.suffix for path in (tmp_path / name / "evaluation").iterdir()] == [".npz"]
    for of_one, of_two in zip(*looks.values(), strict=True):
        for name in ("frechet", "frechet_error", "frechet_limit", "frechet_limit_error"):
            assert of_two[name] == pytest.approx(of_one[name], rel=1e-4), name
    kept = [
        sorted(path.name for path in (tmp_path / name / "checkpoints").iterdir())
        for name in ("one", "two")
    ]
    assert kept[0] == kept[1]


def test_another_host_finds_the_same_and_writes_nothing(tmp_path, monkeypatch, capsys):
    """Run as process 1 alone, for images of a file, since it cannot sample its part of a batch by itself."""
    images = load_splits(toy(), tmp_path).test.take(np.arange(100)).images
    np.savez(tmp_path / "images.npz", images=images)

    def found(folder):
        config = toy()
        config.evaluation.images = str(tmp_path / "images.npz")
        sde = build_sde(config)
        return evaluate.run(config, sde, folder, *evaluate.check(config, sde))

    first = found(tmp_path / "first")
    assert "KID" in capsys.readouterr().out
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    second = found(tmp_path / "second")
    same = first.keys() - {"seconds", "nearest"}
    assert pathlib.Path(first["nearest"]).is_file()
    assert same == second.keys() - {"seconds"}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    assert not list(tmp_path.glob("second/**/*.*"))
    assert capsys.readouterr().out == ""


def test_no_host_reads_samples_before_the_first_has_written_them(tmp_path, monkeypatch):
    """All hosts synchronize after the last batch; every image used is read after that."""
    order, read = [], UnfinishedFolder.read
    monkeypatch.setattr(evaluated_samples, "all_hosts_meet", order.append)

    def noted(self, number):
        order.append(number)
        return read(self, number)

    monkeypatch.setattr(UnfinishedFolder, "read", noted)
    config = toy()
    sde = build_sde(config)
    extractor = evaluate.open_reference(config, tmp_path).extractor
    evaluated, _ = evaluated_samples.drawn(
        config, sde, tmp_path, load_score_model(config, sde, tmp_path), extractor, None
    )
    evaluated.images.take(np.array([50, 0]))
    assert order == ["samples", 0, 1]
