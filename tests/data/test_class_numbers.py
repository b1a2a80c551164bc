"""A network knows classes by the numbers of its training, whatever class folders exist later."""

import json
import shutil

import flax.linen as nn
import numpy as np
import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.data.loader import labels_of
from score_sde.errors import ConfigError
from score_sde.generation.condition_images import given_images
from score_sde.generation.conditions import build_conditions, labels_of_samples
from score_sde.generation.generate import Generator
from score_sde.generation.guides import classes_of_samples, load_guides
from score_sde.models.networks import NETWORKS
from score_sde.modes import interpolate, sample
from score_sde.modes import train as train_mode
from score_sde.modes.evaluate import wanted_labels
from score_sde.quality.reference import open_reference
from score_sde.restoration.observed import originals
from score_sde.sde_lib import VP, build_sde
from score_sde.spaces import build_space
from score_sde.training.adapters import with_adapters
from score_sde.training.known_classes import check_same_classes, known_classes
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import train
from tests.data.picture_folder import save

IMAGES = {"ant": (2, 3, 11), "walrus": (0, 1, 5, 10), "yak": (4, 6, 7, 8, 9)}
NAMES = tuple(IMAGES)
WALRUS = NAMES.index("walrus")


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


def rename(folder, name, other):
    for part in ("train", "test"):
        (folder / part / name).rename(folder / part / other)


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
        data.load(folder_config(animals), ("label",), classes=NAMES)


@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_where_no_label_is_read_a_class_may_have_any_name(animals, folder_config, in_memory):
    """Such as anomalies whose likelihood is measured without a class; they are never mapped to known classes."""
    (animals / "train" / "ant").rename(animals / "train" / "asp")
    found = data.load(folder_config(animals, in_memory=in_memory), classes=NAMES)
    assert found.class_names == (*NAMES, "asp")
    images, labels = found.train.take(range(found.train.num_images)).images, labels_of(found.train)
    for name, number in (("asp", 3), ("walrus", 1), ("yak", 2)):
        own = IMAGES.get(name, IMAGES["ant"])
        assert set(images[labels == number][:, 0, 0, 0]) == {i for i in own if i % 2 == 0}
    with pytest.raises(data.DatasetError, match="not trained with: asp"):
        data.load(folder_config(animals, label=1), classes=NAMES)


class OneLayer(nn.Module):
    """The smallest thing that trains and asks for classes, and for images if it is given any."""

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


def test_a_run_keeps_the_numbers_of_its_classes(animals, told, tmp_path, capsys):
    for name in ("run", "another"):
        (tmp_path / name).mkdir()
    # Of a start that failed before its first checkpoint, which binds nothing.
    record_config(told, tmp_path / "run", None, classes=("ox", *NAMES[:2]))
    assert known_classes(told, tmp_path / "run") == ()
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

    rename(animals, "yak", "ox")
    told.training.n_iters = 3
    with pytest.raises(data.DatasetError, match="not trained with: ox"):
        train(told, tmp_path / "run")
    told.training.init_from = str(tmp_path / "run")
    assert train(told, tmp_path / "another")["classes"] == ["ox", "walrus"]
    assert "are ant, walrus, yak; here they are ox, walrus" in capsys.readouterr().err


def test_a_class_without_images_is_not_trained(told, tmp_path):
    """With num_classes=5, labels 3 and 4 would be sampled from embeddings that no image has changed."""
    told.model.num_classes = 5
    with pytest.raises(ConfigError, match=r"classes 3 to 4 would have no images; set model.num_cl"):
        train(told, tmp_path)
    told.model.num_classes = 4
    with pytest.raises(ConfigError, match=r"\(ant, walrus, yak\): class 3 would have no images"):
        train(told, tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.fixture
def tuned(animals, told, tmp_path):
    """A network of three classes, fine-tuned on two of them."""
    for name in ("of_three", "of_two"):
        (tmp_path / name).mkdir()
    train(told, tmp_path / "of_three")
    without(animals, "yak")
    told.training.init_from = str(tmp_path / "of_three")
    told.sampling.update(sampler="ddim", num_images=6, batch_size=4, noise_removal=False)
    told.sampling.exponential.num_steps = 1
    told.training.update(snapshot_freq=1, snapshot_size=4, snapshot_steps=0)
    told.sampling.labels = (2,)
    with pytest.raises(ConfigError, match=r"sampling.labels=\(2,\) with .* leave these out"):
        train(told, tmp_path / "of_two")
    told.sampling.labels = ()
    return told, tmp_path / "of_two"


def test_classes_that_are_not_trained_are_not_sampled(tuned, capsys, monkeypatch):
    """Neither in pictures of the training, whether it has just begun or resumes, nor by --mode sample or evaluate."""
    config, folder = tuned
    labels = []
    made = Generator.batches

    def seen(self, model, number, *rest):
        labels.append(self.conditions(np.arange(number))["label"].tolist())
        return made(self, model, number, *rest)

    monkeypatch.setattr(Generator, "batches", seen)
    train_mode.run(config, build_sde(config), folder)
    assert "class 2 would have no images, and will not be sampled" in capsys.readouterr().err
    config.training.n_iters = 2
    train_mode.run(config, build_sde(config), folder)
    assert labels == [[0, 1, 0, 1]] * 2
    with np.load(sample.run(config, build_sde(config), folder)["arrays"]) as file:
        assert file["labels"].tolist() == [0, 1] * 3
        assert wanted_labels(config, file["labels"], np.arange(3)) == [0, 1]
    config.sampling.labels = (2,)
    with pytest.raises(ConfigError, match=r"of the classes 0 to 1 alone \(ant, walrus\), though"):
        sample.run(config, build_sde(config), folder)


def test_samples_of_images_have_their_numbers_too(animals, told, tmp_path, monkeypatch):
    """Both for condition images and for start images of one class, which keep its color with hardly any noise."""
    told.model.condition_image = "measured"
    told.condition.update(name="half", sigma_y=0.0, images="test")
    train(told, tmp_path)
    without(animals, "ant")
    told.sampling.update(sampler="ddim", num_images=4, batch_size=4, noise_removal=False)
    told.sampling.exponential.num_steps = 1
    given = given_images(told, known_classes(told, tmp_path))
    images, beside = given.at(np.arange(4))
    for image, label in zip(images, beside["label"], strict=True):
        assert image[0, 0, 0] in IMAGES[NAMES[label]]
    made = sample.build_generator
    generators = []

    def seen(*arguments):
        generators.append(made(*arguments))
        return generators[-1]

    monkeypatch.setattr(sample, "build_generator", seen)
    told.data.label = WALRUS
    told.sampling.update(start_images="test", t_start=2e-5, eps=1e-5)
    found = sample.run(told, build_sde(told), tmp_path)
    with np.load(found["arrays"]) as arrays:
        colours = arrays["images"][:, 0, 0, 0]
        assert [*arrays["class_names"][arrays["labels"]]] == ["walrus"] * 4
    assert np.abs(colours[:, None] - np.array([1.0, 5.0])).min(axis=1).max() <= 1
    (generator,) = generators
    np.testing.assert_array_equal(generator.conditions(np.arange(3))["label"], [WALRUS] * 3)
    np.testing.assert_array_equal(labels_of_samples(told, NAMES), [WALRUS] * 4)
    told.interpolation.update(split="test", images=(0, 1))
    x = interpolate.chosen_images(told, NAMES)
    assert {*build_space(told).decode(x)[:, 0, 0, 0].tolist()} == {1, 5}


def recorded(config, folder, classes):
    """A folder as a network of these classes leaves it, but for its weights."""
    (folder / "checkpoints" / "1").mkdir(parents=True)
    record_config(config, folder, None, classes=classes)
    return str(folder)


@pytest.mark.parametrize("field", ["consistency.teacher", "model.control_base"])
def test_a_run_that_learns_from_a_network_has_its_numbers(told, tmp_path, field):
    told.update_from_flattened_dict({field: recorded(told, tmp_path / "other", NAMES)})
    assert known_classes(told, tmp_path / "new") == NAMES
    recorded(told, tmp_path / "run", NAMES[:2])
    assert known_classes(told, tmp_path / "run") == NAMES[:2]


def test_samples_that_a_classifier_guides_have_its_numbers(told, tmp_path, monkeypatch):
    """Those of real images beside them too; the network is told no class, and the data have one more."""
    monkeypatch.setattr(OneLayer, "conditions", staticmethod(lambda config: ()))
    classifier = told.copy_and_resolve_references()
    classifier.training.task = "classifier"
    classifier.noisy_classifier.num_classes = 2
    told.sampling.guidance.classifier = recorded(classifier, tmp_path / "other", NAMES[1:])
    told.evaluation.features = "pixels"
    told.sampling.update(num_images=2, labels=(1, 0))
    drawn = labels_of_samples(told, classes_of_samples(told, tmp_path / "run"))
    assert [NAMES[1:][label] for label in drawn] == ["yak", "walrus"]
    images = open_reference(told, tmp_path / "run").reference.images
    for row, label in enumerate(images.labels()):
        name = ("walrus", "yak", "ant")[label]
        assert images.take([row])[0, 0, 0, 0] in IMAGES[name]


USES = {
    "sampling.guidance.worse": lambda config, folder: load_guides(config, VP(), folder),
    "sampling.guidance.classifier": lambda config, folder: load_guides(config, VP(), folder),
    "condition.cascade": lambda config, folder: build_conditions(config, NAMES),
    "adapters": lambda config, folder: with_adapters(config, {}, NAMES),
}


@pytest.mark.parametrize("field", USES)
def test_networks_of_other_classes_do_not_work_together(told, tmp_path, field):
    """Networks with as many, but other classes, are refused before any weight is read."""
    recorded(told, tmp_path / "run", NAMES)
    other = recorded(told, tmp_path / "other", ("ant", "ox", "walrus"))
    config = told.copy_and_resolve_references()
    config.update_from_flattened_dict({field: other, "model.condition_image": "measured"})
    with pytest.raises(
        ConfigError, match=rf"^{field}='.*other': .* are ant, ox, walrus, .* are ant, walrus, yak:"
    ):
        USES[field](config, tmp_path / "run")
    check_same_classes(field, tmp_path / "other", (), "a network without names")
    check_same_classes(field, tmp_path / "run", NAMES, "the same")
