"""A command builds its process and sampler only once, and reads no image that it does not use."""

import pytest

import main
from score_sde.data import resizing
from score_sde.data.fingerprint import SOME
from score_sde.models.networks import NETWORKS
from score_sde.samplers.configured import SAMPLERS
from score_sde.sde_lib import VP
from tests.training.stub_network import StubNetwork

SMALL = (
    "--config=configs/vp_digits.py --config.model.name=stub --config.model.nf=8 "
    "--config.training.n_iters=2 --config.training.batch_size=8 --config.training.eval_freq=0 "
    "--config.training.snapshot_freq=2 --config.training.snapshot_size=4 --config.training.snapshot_steps=0 --config.sampling.batch_size=4 "
    "--config.sampling.num_images=4 --config.sampling.sampler=ddim --config.sampling.exponential.num_steps=2 --config.likelihood.num_images=4 "
    "--config.likelihood.batch_size=4 --config.likelihood.ode=False --config.likelihood.bound_draws=4"
).split()


@pytest.fixture(autouse=True)
def _stub(monkeypatch):
    monkeypatch.setitem(NETWORKS, "stub", StubNetwork)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("walks")


@pytest.fixture
def counts(monkeypatch):
    """How often a process and a sampler were built, and an image decoded."""
    counts = {"process": 0, "sampler": 0, "image": 0}
    build_process, build_sampler, decode = VP.from_config, SAMPLERS["ddim"], resizing.decode_image

    def counted(name, function):
        def wrapper(*arguments):
            counts[name] += 1
            return function(*arguments)

        return wrapper

    monkeypatch.setattr(VP, "from_config", counted("process", build_process))
    monkeypatch.setitem(SAMPLERS, "ddim", counted("sampler", build_sampler))
    monkeypatch.setattr(resizing, "decode_image", counted("image", decode))
    return counts


def run(workdir, *arguments):
    main.run(["main.py", *SMALL, f"--workdir={workdir}", *arguments])


def test_image_to_checkpoint(workdir, counts):
    run(workdir, "--mode=train")
    assert counts["process"] == counts["sampler"] == 1


def test_seed_to_pictures(workdir, counts):
    run(workdir, "--mode=sample")
    assert counts == {"process": 1, "sampler": 1, "image": 0}


def test_start_images_to_pictures(workdir, counts):
    """Four are requested; the first sixteen of each split are checked for levels, and SOME identify the data. The split is loaded twice."""
    start = ["--config.sampling.t_start=0.5", "--config.sampling.start_images=test"]
    run(workdir, "--mode=sample", *start)
    assert counts["image"] <= 2 * 2 * 16 + 4 + SOME


def test_image_to_bits(workdir, counts):
    run(workdir, "--mode=likelihood")
    assert counts["process"] == 1
    assert counts["sampler"] == 0
    assert counts["image"] <= 2 * 16 + 4 + SOME
