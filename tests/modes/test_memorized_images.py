"""What --mode evaluate shows of images that are training images: the nearest pairs, and nothing of the training images themselves."""

import numpy as np
import pytest

from score_sde import data
from score_sde.configs.subvp_digits import get_config as digits_config
from score_sde.configs.toy_mixture import get_config as toy_config
from score_sde.modes import evaluate
from score_sde.sde_lib import build_sde


def evaluated(config, folder):
    sde = build_sde(config)
    return evaluate.run(config, sde, folder, *evaluate.check(config, sde))


def test_the_picture_is_of_the_nearest_pairs(tmp_path, monkeypatch):
    """A copy after forty others: it is shown first, beside its original, and pairs are farther apart from there on."""
    config = digits_config()
    splits = data.load(config)
    others, copied = splits.test.take(np.arange(40)).images, splits.train.take(np.arange(1)).images
    np.savez(tmp_path / "mixed.npz", images=np.concatenate([others, copied]))
    config.evaluation.images = str(tmp_path / "mixed.npz")
    shown = []
    monkeypatch.setattr(evaluate, "save_grid", lambda path, pairs, *_: shown.append(pairs))
    evaluated(config, tmp_path)
    ours, theirs = shown[0].reshape(-1, 2, 64).transpose(1, 0, 2)
    np.testing.assert_array_equal(ours[0], copied.ravel())
    assert {image.tobytes() for image in ours[1:]} < {image.tobytes() for image in others}
    distances = np.linalg.norm(ours.astype(np.float64) - theirs, axis=1)
    assert distances[0] == 0 < distances[1]
    assert list(distances) == sorted(distances)


@pytest.mark.parametrize(("images", "reference"), [("train", "test"), ("test", "train")])
def test_images_of_the_splits_are_not_asked_for_memory(tmp_path, images, reference):
    """A training image is its own nearest; held-out ones would be compared with themselves, which gives 1/2 whatever they are."""
    config = toy_config()
    config.data.image_size = 2
    config.evaluation.update(images=images, reference=reference)
    found = evaluated(config, tmp_path)
    assert found["num_images"] == getattr(data.load(config), images).num_images
    assert not {"nearer_than_held_out", "nearest"} & found.keys()
