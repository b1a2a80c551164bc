"""Features of many images: pixels in [0, 1]; a network's in batches, of 8-bit colours."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.subvp_digits import get_config
from score_sde.errors import UserError
from score_sde.features import extractors
from score_sde.features.extractors import build_extractor, check_features
from score_sde.features.inception import InceptionFeatures

IMAGES = np.random.default_rng(0).integers(0, 17, (70, 8, 8, 1)).astype(np.uint8)


def means(params, images):
    """Of each channel, in place of a network."""
    pooled = params * images.astype(jnp.float32).mean(axis=(1, 2))
    return InceptionFeatures(pooled, 2 * pooled, *(pooled,) * 3)


def test_pixels():
    found = build_extractor(get_config()).extract(IMAGES)
    np.testing.assert_array_equal(found.of_images, IMAGES.reshape(70, 64) / 16)
    assert found.logits is None


def test_a_networks_features_are_of_all_images_in_their_order(tmp_path, monkeypatch):
    """70 images in batches of 32, of which the last is filled up; level 16 of 0 ... 16 is white, and grey becomes colour."""
    monkeypatch.setattr(extractors, "load_inception", lambda path: (3.0, {"file": str(path)}))
    monkeypatch.setattr(extractors, "inception_features", means)
    monkeypatch.setattr(extractors, "POOLED", 3)
    config = get_config()
    config.evaluation.features = str(tmp_path / "weights.pth")
    extractor = build_extractor(config)
    found = extractor.extract(IMAGES)
    grey = 3 * np.round(IMAGES * (255 / 16)).mean(axis=(1, 2))
    np.testing.assert_allclose(found.of_images, np.repeat(grey, 3, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.logits, 2 * found.of_images)
    assert extractor.told == {"features_file": str(tmp_path / "weights.pth")}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data.num_levels": 0}, "sees grey or RGB images of levels, not 1 channels with data.num_levels=0"),
        ({"data.num_channels": 2}, "sees grey or RGB images of levels, not 2 channels"),
        ({"evaluation.features": "none.pth"}, "no such file; give pixels, classifier, alexnet, vgg16, or the weights of .*nothing is downloaded"),
    ],
)  # fmt: skip
def test_what_a_network_cannot_see_is_refused(tmp_path, fields, words):
    (tmp_path / "weights.pth").touch()
    config = get_config()
    config.update_from_flattened_dict(
        {"evaluation.features": str(tmp_path / "weights.pth"), **fields}
    )
    with pytest.raises(UserError, match=words):
        check_features(config)
