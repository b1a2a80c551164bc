"""Hosts that read different images are refused: two hosts, simulated one after the other in one process."""

import jax
import numpy as np
import pytest
from PIL import Image

from score_sde import data
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.data.splits import Datasets, ImagesInMemory
from score_sde.errors import UserError
from score_sde.generation.start_images import load_start_images
from score_sde.modes import classify, interpolate, likelihood
from score_sde.modes.restore import measurement_of
from score_sde.quality.image_sets import known_by
from score_sde.quality.reference import open_reference
from score_sde.restoration.observed import observe
from score_sde.sde_lib import build_sde
from score_sde.spaces import build_space
from score_sde.training import same_data
from score_sde.training.same_data import check_same_arrays, check_same_data


def dataset(train=4, test=2, files=(("a", 1),), classes=("x", "y")):
    splits = (ImagesInMemory(np.zeros((n, 2, 2, 1), np.uint8)) for n in (train, test))
    return Datasets("pictures", *splits, 256, classes, lambda: files)


@pytest.fixture
def hosts(monkeypatch):
    """(datasets of a host, datasets of the other) -> what the first is answered."""

    def check(own, other):
        sent = []
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(same_data, "of_every_host", lambda a: sent.append(a) or a[None])
        check_same_data(other)
        monkeypatch.setattr(same_data, "of_every_host", lambda a: np.stack([a, sent[0]]))
        check_same_data(own)

    return check


def test_copies_of_one_dataset_are_the_same(hosts):
    hosts(dataset(), dataset())


@pytest.mark.parametrize(
    ("other", "counts"),
    [
        (dataset(train=5), "0: 4/2, 1: 5/2"),
        (dataset(train=3, test=3), "0: 4/2, 1: 3/3"),
        (dataset(files=(("a", 2),)), "0: 4/2, 1: 4/2"),
        (dataset(classes=("y", "x")), "0: 4/2, 1: 4/2"),
    ],
)
def test_other_images_are_refused_on_every_host(hosts, other, counts):
    with pytest.raises(UserError, match=f"from pictures .*{counts}; or other files or classes"):
        hosts(dataset(), other)


@pytest.mark.parametrize(
    "run",
    [likelihood.run, classify.run, lambda config, sde, folder: open_reference(config, folder)],
)
def test_what_measures_data_refuses_other_images_too(run, monkeypatch, tmp_path):
    """--mode likelihood, classify, evaluate and tradeoff, before anything is measured."""
    config = toy_config()
    config.evaluation.features = "pixels"
    own = dataset()
    monkeypatch.setattr(data, "load", lambda *_, **__: own)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(same_data, "of_every_host", lambda a: np.stack([a, a + 1]))
    with pytest.raises(UserError, match="the hosts read different images from pictures"):
        run(config, build_sde(config), tmp_path)


NUMBERS = np.arange(4, dtype=np.float32)


@pytest.mark.parametrize(
    "other",
    [(NUMBERS + 1, None), (NUMBERS[:, None], None), (NUMBERS.view(np.int32), None), (NUMBERS, NUMBERS), (None, NUMBERS)],
)  # fmt: skip
def test_other_arrays_are_refused(monkeypatch, other):
    sent = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(same_data, "of_every_host", lambda a: sent.append(a) or a[None])
    check_same_arrays("field='x.npz'", other)
    monkeypatch.setattr(same_data, "of_every_host", lambda a: np.stack([a, sent[0]]))
    with pytest.raises(UserError, match="different images or labels from field='x.npz': give all"):
        check_same_arrays("field='x.npz'", (NUMBERS, None))
    check_same_arrays("field='x.npz'", other)  # those of the other are its own


def restored(config, path, of_file=False):
    config.restore.num_images = 2
    config.restore.measurement.update(name="half", sigma_y=0.1)
    space = build_space(config)
    measurement = measurement_of(config, space)
    if of_file:
        np.savez(path, y=np.zeros((2, *measurement.linear.measured_shape)))
        config.restore.measured = str(path)
    return observe(config, space, measurement)


def restored_from_measurements(config, path):
    return restored(config, path, of_file=True)


def started_from_a_file(config, path):
    np.savez(path, states=np.zeros((2, 8, 8, 1)))
    config.sampling.start_images = str(path)
    return load_start_images(config, build_space(config))


def started_from_a_folder(config, path):
    config.data.num_levels = 256
    path.with_suffix("").mkdir(exist_ok=True)
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(path.with_suffix("") / "0.png")
    config.sampling.start_images = str(path.with_suffix(""))
    return load_start_images(config, build_space(config))


def interpolated(config, path):
    return interpolate.chosen_images(config)


def known(config, path):
    """As the start or condition images of --mode sample."""
    return known_by(config, "test")


@pytest.mark.parametrize(
    "read",
    [
        restored,
        restored_from_measurements,
        started_from_a_file,
        started_from_a_folder,
        interpolated,
        known,
    ],
)
def test_what_uses_images_refuses_others_too(read, monkeypatch, tmp_path):
    config = toy_config()
    config.data.image_size = 8
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(same_data, "of_every_host", lambda a: np.stack([a, a]))
    read(config, tmp_path / "file.npz")
    monkeypatch.setattr(same_data, "of_every_host", lambda a: np.stack([a, a + 1]))
    with pytest.raises(UserError, match="the hosts read different images"):
        read(config, tmp_path / "file.npz")


def test_one_host_looks_at_no_files():
    check_same_data(dataset(files=None))
