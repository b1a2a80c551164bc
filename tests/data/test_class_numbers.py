"""A network knows classes by numbers: those of its training, whichever folders of classes there are later."""

import json
import shutil

import flax.linen as nn
import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.models.networks import NETWORKS
from score_sde.quality.reference import open_reference
from score_sde.restoration.observed import originals
from score_sde.training.score_task import train
from tests.data.picture_folder import save

IMAGES = {"ant": (2, 3, 11), "walrus": (0, 1, 5, 10), "yak": (4, 6, 7, 8, 9)}
NAMES = tuple(IMAGES)


@pytest.fixture
def animals(tmp_path):
    """A folder of each class, file i of the colour of number i."""
    for name, images in IMAGES.items():
        for i in images:
            save(tmp_path / "animals" / ["train", "test"][i % 2] / name / f"{i}.png", i)
    return tmp_path / "animals"


def without(folder, name):
    for part in ("train", "test"):
        shutil.rmtree(folder / part / name)
    return folder


def check_labels(split):
    """By what is seen in the images, not by any order of folders."""
    batch = split.take(range(split.num_images))
    for image, label in zip(batch.images, batch.condition["label"], strict=True):
        assert image[0, 0, 0] in IMAGES[NAMES[label]]


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_a_class_keeps_its_number_where_another_is_missing(animals, folder_config, in_memory):
    fewer = folder_config(without(animals, "ant"), in_memory=in_memory)
    found = data.load(fewer, ("label",), classes=NAMES)
    assert found.class_names == NAMES
    check_labels(found.train)
    check_labels(found.test)
    assert data.load(fewer, ("label",)).class_names == ("walrus", "yak")
    of_one = data.load(folder_config(animals, label=2), classes=NAMES).train
    assert set(of_one.take(range(of_one.num_images)).images[:, 0, 0, 0]) == {4, 6, 8}


def test_a_class_of_another_name_is_refused(animals, folder_config):
    (animals / "train" / "yak").rename(animals / "train" / "ox")
    with pytest.raises(
        data.DatasetError, match=r"not trained with: ox; it knows ant, walrus, yak\."
    ):
        data.load(folder_config(animals), classes=NAMES)


class OneLayer(nn.Module):
    """The smallest thing that trains and asks for classes."""

    @classmethod
    def from_config(cls, config):
        return cls()

    @staticmethod
    def conditions(config):
        return ("label",)

    def null_condition(self, condition):
        return condition

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        return nn.Dense(3)(x)


@pytest.fixture
def told(animals, monkeypatch):
    """A configuration of a network that is told the class."""
    monkeypatch.setitem(NETWORKS, "one_layer", OneLayer)
    config = get_config()
    config.data.update(name="folder", folder=str(animals), num_channels=3, num_levels=256)
    config.model.update(name="one_layer", num_classes=3)
    config.training.update(batch_size=4, n_iters=1, log_freq=1, eval_freq=0, snapshot_freq=0)
    return config


def test_a_run_keeps_the_numbers_of_its_classes(animals, told, tmp_path):
    for name in ("run", "another"):
        (tmp_path / name).mkdir()
    train(told, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert kept["dataset"]["classes"] == list(NAMES)

    without(animals, "ant")
    told.training.n_iters = 2
    assert train(told, tmp_path / "run")["classes"] == list(NAMES)
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert kept["dataset"]["classes"] == list(NAMES)
    told.evaluation.features = "pixels"
    reference = open_reference(told, tmp_path / "run").reference
    told.restore.images = "test"
    for images in (reference.images, originals(told, NAMES)):
        for row, label in zip(range(images.num_images), images.labels(), strict=True):
            assert images.take([row])[0, 0, 0, 0] in IMAGES[NAMES[label]]

    for part in ("train", "test"):
        (animals / part / "yak").rename(animals / part / "ox")
    told.training.n_iters = 3
    with pytest.raises(data.DatasetError, match="not trained with: ox"):
        train(told, tmp_path / "run")
    assert train(told, tmp_path / "another")["classes"] == ["ox", "walrus"]
