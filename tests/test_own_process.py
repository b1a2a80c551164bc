"""From training to a likelihood through main.py, for a user-defined process with only alpha and sigma.

One small network is trained once on the digits and used in all modes, so this also tests the files that the
modes write.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import main
from score_sde.errors import UserError
from score_sde.sde_lib import SDE, SDES

SMALL = (
    "--config=configs/vp_digits.py --config.sde.name=straight --config.model.name=uvit --config.model.patch_size=4 "
    "--config.model.width=8 --config.model.depth=1 --config.model.num_heads=1 "
    "--config.optim.lr=0.01 --config.optim.warmup=1 --config.training.n_iters=6 --config.training.batch_size=16 --config.training.snapshot_freq=6 "
    "--config.training.snapshot_size=4 --config.sampling.batch_size=4 --config.sampling.pc.num_steps=4 "
    "--config.sampling.num_images=6 --config.likelihood.num_images=5 --config.likelihood.batch_size=4 "
    "--config.likelihood.eps=1e-3 --config.likelihood.rtol=0.1 --config.likelihood.atol=0.1"
).split()


class Straight(SDE):
    T = 0.99

    def alpha(self, t):
        return 1.0 - t

    def sigma(self, t):
        return t


@pytest.fixture(scope="module", autouse=True)
def registered():
    SDES["straight"] = Straight
    yield
    del SDES["straight"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, registered):
    folder = tmp_path_factory.mktemp("run")
    main.run(["main.py", *SMALL, "--mode=train", f"--workdir={folder}"])
    return folder


def run(workdir, *arguments):
    """The figures that the mode adds to results.jsonl."""
    main.run(["main.py", *SMALL, f"--workdir={workdir}", *arguments])
    return json.loads((workdir / "results.jsonl").read_text().splitlines()[-1])


def test_training_leaves_its_traces(workdir):
    figures = json.loads((workdir / "results.jsonl").read_text().splitlines()[0])
    assert figures["mode"] == "train"
    assert figures["checkpoint_step"] == 6
    assert figures["seconds"] > 0
    assert (workdir / "checkpoints" / "6").is_dir()
    assert (workdir / "metrics.jsonl").read_text().count("\n") >= 1
    assert list((workdir / "tensorboard").iterdir())
    # four images in two columns, pixels enlarged to about 640 in all
    with Image.open(workdir / "snapshots" / "step00000006.png") as picture:
        width, height = picture.size
    assert width == height
    assert 560 < width < 720
    # The same picture on TensorBoard.
    (events,) = (workdir / "tensorboard").iterdir()
    assert (workdir / "snapshots" / "step00000006.png").read_bytes() in events.read_bytes()
    # And the loss by noise, the means of groups of images.
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    bins = [value for name, value in lines[0].items() if name.startswith("loss_by_log_snr/")]
    assert min(bins) <= lines[0]["loss"] <= max(bins)


@pytest.mark.parametrize(("sampler", "nfe"), [("pc", 4 + 1), ("ode", None)])
def test_sampling(workdir, sampler, nfe):
    figures = run(workdir, "--mode=sample", f"--sampler={sampler}")
    assert (figures["mode"], figures["sampler"], figures["num_images"]) == ("sample", sampler, 6)
    assert figures["checkpoint_step"] == 6
    assert figures["nfe"] == nfe or (nfe is None and figures["nfe"] > 6)
    images = np.load(figures["arrays"])["images"]
    assert images.shape == (6, 8, 8, 1)
    assert images.dtype == np.uint8
    assert images.max() <= 16
    with Image.open(figures["picture"]) as picture:
        picture.verify()


# By parts in tests/generation/test_sample_files.py: the same images again, and a name of their own for other files.
@pytest.mark.slow
def test_samples_are_those_of_the_seed_and_nothing_is_written_over(workdir):
    arguments = "--mode=sample", "--sampler=ddim", "--config.sampling.exponential.num_steps=2"
    one, again = (run(workdir, *arguments)["arrays"] for _ in range(2))
    assert one != again
    np.testing.assert_array_equal(*(np.load(arrays)["images"] for arrays in (one, again)))


def test_likelihood(workdir):
    figures = run(workdir, "--mode=likelihood")
    assert (figures["mode"], figures["num_images"], figures["checkpoint_step"]) == (
        "likelihood",
        5,
        6,
    )
    values = np.load(figures["arrays"])["ode_bits_per_dim"]
    assert values.shape == (1, 5)
    assert figures["ode_bits_per_dim"] == pytest.approx(values.mean())
    assert figures["ode_standard_error"] == pytest.approx(values.std(ddof=1) / np.sqrt(5))
    # An untrained network knows little: near N(0, 1) under the flow, log2(17) - 1 bits and the Gaussian's.
    assert 2 < figures["ode_bits_per_dim"] < 12
    assert 2 < figures["bound_bits_per_dim"] < 12
    assert Path(figures["picture"]).stat().st_size > 10_000
    assert not list((workdir / "likelihood").glob("unfinished*"))


@pytest.mark.parametrize("mode", ["sample", "likelihood", "export", "train"])
def test_another_architecture_is_named_by_its_fields(workdir, mode):
    with pytest.raises(UserError, match=r"model.width=16 \(trained with 8\)"):
        run(workdir, f"--mode={mode}", "--config.model.width=16")


def test_arrays_are_named_where_the_config_was_not_recorded(workdir, tmp_path):
    shutil.copytree(workdir / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(UserError, match="checkpoint") as error:
        run(tmp_path, "--mode=sample", "--config.model.width=16")
    assert "decoder_pred.kernel: checkpoint (8, 16), config (16, 16)" in str(error.value)
    assert "17 arrays differ" in str(error.value)
    assert "...);" in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("--config.sde.name=subvp", r"sde.name='subvp' \(trained with 'straight'\)"),
        ("--config.data.centered=False", "data.centered=False"),
        ("--config.model.num_heads=2", "model.num_heads=2"),
    ],
)
@pytest.mark.parametrize("mode", ["sample", "train"])
def test_weights_are_not_read_as_something_else(workdir, change, words, mode):
    """None of these changes a shape, and each would silently give wrong numbers."""
    with pytest.raises(UserError, match=words):
        run(workdir, f"--mode={mode}", change)


def test_training_again_has_nothing_left_to_do(workdir):
    before = sorted((workdir / "checkpoints").iterdir())
    figures = run(workdir, "--mode=train")
    assert figures["checkpoint_step"] == 6
    assert sorted((workdir / "checkpoints").iterdir()) == before
