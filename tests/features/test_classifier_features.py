"""The classifier trained on demand: it learns, is reproducible, and is trained only once."""

import dataclasses

import numpy as np
import pytest

from score_sde import data
from score_sde.configs.subvp_digits import get_config
from score_sde.data.splits import ImagesInMemory
from score_sde.errors import UserError
from score_sde.features import classifier
from score_sde.features.classifier import channels_for, load_classifier
from score_sde.features.extractors import build_extractor, check_features


@pytest.fixture(scope="module", autouse=True)
def small():
    """Code that is not optimized takes minutes for the whole of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "CHANNELS", (16, 32))
        patch.setattr(classifier, "BATCH", 32)
        patch.setattr(classifier, "UPDATES", 120)
        yield


@pytest.fixture(scope="module")
def config():
    config = get_config()
    config.evaluation.features = "classifier"
    return config


@pytest.fixture(scope="module")
def kept(config, tmp_path_factory):
    """The folder, what is said of the weights, and features and logits of the held-out digits."""
    folder = tmp_path_factory.mktemp("kept")
    extractor = build_extractor(config, folder)
    return folder, extractor, extractor.extract(held_out(config).images)


def held_out(config):
    split = data.load(config, ("label",)).test
    return split.take(np.arange(split.num_images))


def test_it_tells_held_out_digits_apart(config, kept):
    """More than 80 of 100 correct, against 10 by chance; the reported accuracy is the actual one."""
    _, extractor, found = kept
    right = found.logits.argmax(axis=1) == held_out(config).condition["label"]
    assert right.mean() > 0.8
    assert extractor.recorded["features_accuracy"] == pytest.approx(right.mean())


@pytest.mark.parametrize(("side", "convolutions"), [(8, 3), (28, 5), (32, 5), (64, 6)])
def test_larger_images_have_more_convolutions(side, convolutions):
    """Each convolution after the first halves the image, down to 2 pixels."""
    assert len(channels_for(side)) == convolutions


def test_features_are_normalized(kept):
    """The features of each image have mean 0 and mean square 1."""
    _, extractor, found = kept
    assert found.of_images.shape == (297, extractor.dimension)
    np.testing.assert_allclose(found.of_images.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(found.of_images).mean(axis=1), 1, rtol=0.01)


def test_it_is_read_again_and_not_trained(config, kept, monkeypatch):
    folder, extractor, found = kept
    monkeypatch.setattr(classifier, "trained", lambda *_: pytest.fail("trains"))
    again = build_extractor(config, folder)
    assert again.recorded == extractor.recorded
    np.testing.assert_array_equal(again.extract(held_out(config).images).logits, found.logits)


def test_samples_of_another_seed_are_seen_by_the_same_classifier(config, monkeypatch, tmp_path):
    """The same weights, anew and from the file of the first; images that are prepared otherwise have another file."""
    monkeypatch.setattr(classifier, "UPDATES", 2)
    first = load_classifier(config, tmp_path)[1]["sha256"]
    other = config.copy_and_resolve_references()
    other.seed = 3
    assert load_classifier(other, None)[1]["sha256"] == first
    assert load_classifier(other, tmp_path)[1]["sha256"] == first
    assert len(list((tmp_path / "evaluation").iterdir())) == 1
    splits = data.load(config)
    other.data.resample = "box"
    assert classifier.identity(other, splits) != classifier.identity(config, splits)


def test_other_images_in_files_of_the_same_names_and_sizes_train_another(config):
    splits = data.load(config, ("label",))
    images = 16 - splits.train.take(np.arange(splits.train.num_images)).images
    others = dataclasses.replace(splits, train=ImagesInMemory(images))
    assert others.fingerprint == splits.fingerprint
    assert classifier.identity(config, others) != classifier.identity(config, splits)


def test_a_damaged_file_is_said_to_be(config, kept, tmp_path):
    folder, _, _ = kept
    (path,) = (folder / "evaluation").iterdir()
    copy = tmp_path / "evaluation" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="classifier-.*is damaged .* remove the file"):
        load_classifier(config, tmp_path)
    np.savez(copy, kernel=np.zeros(3))
    with pytest.raises(UserError, match="it holds other arrays"):
        load_classifier(config, tmp_path)


def test_one_class_is_refused():
    config = get_config()
    config.evaluation.features = "classifier"
    config.data.label = 3
    with pytest.raises(UserError, match=r"data.label=3 leaves only one"):
        check_features(config)


def test_images_without_labels_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((9, 8, 8, 1), np.uint8))
    config = get_config()
    config.data.update(name="arrays", file=str(tmp_path / "x.npz"), num_levels=256)
    with pytest.raises(UserError, match="has no label"):
        load_classifier(config, None)
