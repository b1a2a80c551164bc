"""Files of features with mean and covariance: made once, recognized again, and refused if they describe something else."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from score_sde import data
from score_sde.configs.subvp_digits import get_config
from score_sde.data.loader import labels_of
from score_sde.data.splits import ImagesInMemory
from score_sde.errors import UserError
from score_sde.features.extractors import Extractor, Features
from score_sde.quality import statistics_files
from score_sde.quality.frechet import frechet_limit
from score_sde.quality.reference import load_reference
from score_sde.quality.statistics_files import Law, features_of_split, read_statistics
from score_sde.version import made_by


def halves(images):
    """Means of the upper and the lower half of 8 x 8 digits, in place of a network's features."""
    means = images.reshape(len(images), 2, -1).mean(axis=2)
    return Features(means.astype(np.float32), -means)


def extractor(sha256="ab", of_batch=halves):
    return Extractor({"features_network": "halves", "features_sha256": sha256, "features_file": "x.pth"}, 2, of_batch)  # fmt: skip


@pytest.fixture(scope="module")
def splits():
    return data.load(get_config())


@pytest.fixture
def kept(splits, tmp_path):
    found = features_of_split(get_config(), tmp_path, extractor(), splits, "test", 0)
    (path,) = (tmp_path / "evaluation").iterdir()
    return tmp_path, path, found


def test_features_are_made_once(splits, kept, monkeypatch):
    folder, path, found = kept
    images = splits.test.take(np.arange(splits.test.num_images)).images
    np.testing.assert_array_equal(found.of_images, halves(images).of_images)
    fails = extractor(of_batch=lambda _: pytest.fail("computed again"))
    again = features_of_split(get_config(), folder, fails, splits, "test", 0)
    np.testing.assert_array_equal(again.of_images, found.of_images)
    np.testing.assert_array_equal(again.logits, found.logits)


def test_another_version_makes_no_other_features(splits, kept, monkeypatch):
    folder, _, _ = kept
    monkeypatch.setattr(statistics_files, "made_by", lambda: {"version": "9", "commit": None})
    fails = extractor(of_batch=lambda _: pytest.fail("computed again"))
    features_of_split(get_config(), folder, fails, splits, "test", 0)


@pytest.mark.parametrize("other", ["features", "split", "levels", "contents", "files"])
def test_what_is_of_something_else_is_made_anew(splits, kept, other):
    folder, _, _ = kept
    config = get_config()
    if other == "levels":
        config.data.resample = "box"
    if other == "contents":  # of files of the same names and sizes
        images = 16 - splits.test.take(np.arange(splits.test.num_images)).images
        splits = dataclasses.replace(splits, test=ImagesInMemory(images))
    if other == "files":  # of other names, in which the images looked at are the same
        splits = dataclasses.replace(splits, files=lambda: [("of another name", 1)])
    sha256 = "cd" if other == "features" else "ab"
    name = "train" if other == "split" else "test"
    features_of_split(config, folder, extractor(sha256), splits, name, 0)
    assert len(list((folder / "evaluation").iterdir())) == 2


def test_other_programs_read_mean_and_covariance(kept):
    """And the file states what it describes."""
    _, path, found = kept
    with np.load(path) as file:
        np.testing.assert_allclose(file["mu"], found.of_images.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(file["sigma"], np.cov(found.of_images.T), rtol=1e-6)
        about = json.loads(str(file["about"]))
    assert about["convention"] == {"features_network": "halves", "features_sha256": "ab"}
    assert (about["split"], about["num_images"]) == ("test", 297)
    assert len(about["images_sha256"]) == 64
    assert about["made_by"] == made_by()


def test_a_reference_of_ours(kept):
    _, path, found = kept
    read = read_statistics("here", path, extractor())
    np.testing.assert_array_equal(read.of_images, found.of_images)
    with pytest.raises(
        UserError, match="another convention.*sha256 'ab' in the file, 'cd' asked for"
    ):
        read_statistics("here", path, extractor("cd"))


def with_equally_many(splits, number):
    """The splits of digits, with the first test images of each class alone, sorted by class."""
    labels = labels_of(splits.test)
    rows = np.concatenate([np.flatnonzero(labels == label)[:number] for label in range(10)])
    return dataclasses.replace(splits, test=splits.test.subset(rows))


def test_a_reference_of_ours_counts_as_the_images_that_it_is_of(splits, tmp_path):
    """The same limit and error, which for equally many images of each class are not those of independent ones; and the same classes."""
    config, even = get_config(), with_equally_many(splits, 12)
    x = halves(splits.train.take(np.arange(400)).images).of_images
    of_split = functools.partial(features_of_split, config, tmp_path, extractor(), even)
    config.evaluation.reference = "test"
    of_images = load_reference(config, extractor(), even, of_split)
    expected = limit(x, of_images)
    (path,) = (tmp_path / "evaluation").iterdir()
    config.evaluation.reference = str(path)
    of_file = load_reference(config, extractor(), even, of_split)
    assert limit(x, of_file) == expected
    assert expected != frechet_limit(x, of_images.features, np.random.default_rng(0))
    np.testing.assert_array_equal(of_file.labels(), np.repeat(np.arange(10), 12))
    config.evaluation.num_reference = 60
    np.testing.assert_array_equal(
        load_reference(config, extractor(), even, of_split).labels(), np.repeat(np.arange(5), 12)
    )


def limit(x, reference):
    rng = np.random.default_rng(0)
    return frechet_limit(x, reference.features, rng, strata=(None, reference.strata))


def test_classes_of_a_file_are_those_of_the_same_names(splits, tmp_path):
    """Whatever their numbers in another folder; and not those of other names."""
    config, named = get_config(), dataclasses.replace(splits, class_names=tuple("abcdefghij"))
    of_split = functools.partial(features_of_split, config, tmp_path, extractor(), named)
    of_split("test", 0)
    (path,) = (tmp_path / "evaluation").iterdir()
    config.evaluation.reference = str(path)
    other = dataclasses.replace(splits, class_names=tuple("jihgfedcba"))
    found = load_reference(config, extractor(), other, of_split).labels()
    np.testing.assert_array_equal(found, 9 - labels_of(splits.test))
    other = dataclasses.replace(splits, class_names=tuple("abcdefghix"))
    with pytest.raises(UserError, match="its class 'j' is no class of the data"):
        load_reference(config, extractor(), other, of_split).labels()


def test_images_without_labels_have_a_file_without(splits, tmp_path):
    config, bare = get_config(), dataclasses.replace(splits, test=ImagesInMemory(splits.test.take(np.arange(60)).images))  # fmt: skip
    of_split = functools.partial(features_of_split, config, tmp_path, extractor(), bare)
    of_split("test", 0)
    (path,) = (tmp_path / "evaluation").iterdir()
    config.evaluation.reference = str(path)
    found = load_reference(config, extractor(), bare, of_split)
    assert found.strata is None
    with pytest.raises(UserError, match="does not give the classes of its images"):
        found.labels()


def test_only_the_images_that_count_have_features_made(splits, tmp_path):
    """As many as asked for, at most once; those of all serve for fewer."""
    made = []

    def counted(images):
        made.append(len(images))
        return halves(images)

    of_split = functools.partial(
        features_of_split, get_config(), tmp_path, extractor(of_batch=counted), splits, "test"
    )
    images = splits.test.take(np.arange(297)).images
    for _ in range(2):
        np.testing.assert_array_equal(of_split(64).of_images, halves(images[:64]).of_images)
    assert sum(made) == 64
    of_split(0)
    before = len(made)
    found = of_split(100)
    np.testing.assert_array_equal(found.of_images, halves(images[:100]).of_images)
    np.testing.assert_array_equal(found.logits, halves(images[:100]).logits)
    assert of_split(1000).of_images.shape == (297, 2)
    assert len(made) == before


def test_a_damaged_file_of_ours(splits, kept):
    folder, path, _ = kept
    np.savez(path, features=np.zeros((297, 2), np.float32), about=np.array("{}"))
    with pytest.raises(UserError, match="is damaged .*holds other images or features.* remove it"):
        features_of_split(get_config(), folder, extractor(), splits, "test", 0)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="is damaged"):
        features_of_split(get_config(), folder, extractor(), splits, "test", 0)


GOOD = {"mu": np.array([1.0, 2.0]), "sigma": np.array([[2.0, 0.5], [0.5, 1.0]])}


def test_what_other_programs_publish(tmp_path):
    np.savez(tmp_path / "x.npz", **GOOD, mu_s=np.zeros(7))
    read = read_statistics("here", tmp_path / "x.npz", extractor())
    assert isinstance(read, Law)
    np.testing.assert_array_equal(read.mean, GOOD["mu"])
    np.testing.assert_array_equal(read.covariance, GOOD["sigma"])
    np.savez(tmp_path / "y.npz", images=np.zeros(3))
    assert read_statistics("here", tmp_path / "y.npz", extractor()) is None


@pytest.mark.parametrize("key", ["arr_0", "images"])
def test_images_with_mean_and_covariance_are_images(tmp_path, key, splits, capsys):
    """As in the reference batches of ADM's authors, whose statistics are of more images."""
    config = get_config()
    images = splits.test.take(np.arange(50)).images
    config.evaluation.reference = str(tmp_path / "batch.npz")
    np.savez(tmp_path / "batch.npz", **GOOD, mu_s=np.zeros(7), **{key: images})
    reference = load_reference(config, extractor(), splits, None)
    assert reference.law is None
    np.testing.assert_array_equal(reference.features, halves(images).of_images)
    assert f"has images (`{key}`) and also `mu`: the images are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"mu": np.zeros(3)},
            r"`mu` has the shape \(3,\), expected \(2,\) for evaluation.features",
        ),
        ({"sigma": np.eye(3)}, r"`sigma` has the shape \(3, 3\)"),
        ({"sigma": None}, "has `mu` but no `sigma`"),
        ({"sigma": np.array([[1.0, 0.5], [0.0, 1.0]])}, "not symmetric"),
        ({"sigma": np.diag([1.0, -1.0])}, "a variance below 0"),
        ({"mu": np.array([0.0, np.nan])}, "not finite real numbers"),
        ({"about": np.array("[]")}, "damaged"),
    ],
)
def test_what_is_no_mean_and_covariance(tmp_path, change, words):
    arrays = {name: array for name, array in (GOOD | change).items() if array is not None}
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=words):
        read_statistics("here", tmp_path / "x.npz", extractor())
