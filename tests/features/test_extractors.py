"""Features of many images: pixels in [0, 1], and those of networks in batches of 8-bit colors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.subvp_digits import get_config
from score_sde.errors import UserError
from score_sde.features import dinov2, extractors
from score_sde.features.dinov2_weights import DINOV2
from score_sde.features.extractors import build_extractor, check_features
from score_sde.features.inception import InceptionFeatures
from score_sde.features.inception_weights import INCEPTION

IMAGES = np.random.default_rng(0).integers(0, 17, (70, 8, 8, 1)).astype(np.uint8)


def pooled(params, images):
    """Means of each channel, in place of a network."""
    return params * images.astype(jnp.float32).mean(axis=(1, 2))


def with_logits(params, images):
    found = pooled(params, images)
    return InceptionFeatures(found, 2 * found, *(found,) * 3)


def test_pixels():
    found = build_extractor(get_config()).extract(IMAGES)
    np.testing.assert_array_equal(found.of_images, IMAGES.reshape(70, 64) / 16)
    assert found.logits is None


@pytest.fixture
def of_file(tmp_path, monkeypatch):
    """The public file -> an extractor of one that is found to be it, with networks of three features."""
    monkeypatch.setattr(extractors, "inception_features", with_logits)
    monkeypatch.setattr(dinov2, "dinov2_features", pooled)
    monkeypatch.setattr(extractors, "POOLED", 3)
    monkeypatch.setattr(dinov2, "WIDTH", 3)

    def built(public):
        read = {"network": public.network, "file": "weights.pth"}
        monkeypatch.setattr(extractors, "read_weights", lambda path, known: (public, 3.0, read))
        config = get_config()
        config.evaluation.features = str(tmp_path / "weights.pth")
        return build_extractor(config)

    return built


@pytest.mark.parametrize("public", [INCEPTION, DINOV2], ids=lambda public: public.network)
def test_a_networks_features_are_of_all_images_in_their_order(of_file, public):
    """70 images in batches of 32, the last padded; level 16 of 0 ... 16 is white, and gray becomes RGB."""
    found = of_file(public).extract(IMAGES)
    grey = 3 * np.round(IMAGES * (255 / 16)).mean(axis=(1, 2))
    np.testing.assert_allclose(found.of_images, np.repeat(grey, 3, axis=1), rtol=1e-5)


def test_logits_are_inceptions_alone(of_file):
    found = of_file(INCEPTION).extract(IMAGES)
    np.testing.assert_allclose(found.logits, 2 * found.of_images)
    assert of_file(DINOV2).extract(IMAGES).logits is None


def test_what_is_told_of_a_file(of_file):
    """The name of the convention includes the resizing if there is a choice."""
    recorded = {"features_network": "inception-2015-12-05", "features_file": "weights.pth"}
    assert of_file(INCEPTION).recorded == recorded
    convention = of_file(DINOV2).convention
    assert convention == {"features_network": "dinov2-vitl14", "features_resize": dinov2.RESIZE}


def test_weights_of_lpips_go_to_the_device_once(monkeypatch):
    """Weights passed to each batch are already on the device, as seen from their type outside tracing."""
    seen = []

    def features(name, params, images):
        seen.append(params)
        return jnp.zeros((len(images), 3))

    monkeypatch.setattr(extractors, "load_perceptual", lambda _: ({"w": np.ones(3)}, {}))
    monkeypatch.setattr(extractors, "perceptual_features", features)
    with monkeypatch.context() as patch:
        patch.setattr(extractors.jax, "jit", lambda function: function)
        extractor = extractors.of_perceptual("alexnet", 17)
    extractor.of_batch(IMAGES[:4])
    extractor.of_batch(IMAGES[4:8])
    assert isinstance(seen[0]["w"], jax.Array)
    assert seen[1]["w"] is seen[0]["w"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data.num_levels": 0}, "sees grey or RGB images of levels, not 1 channels with data.num_levels=0"),
        ({"data.num_channels": 2}, "sees grey or RGB images of levels, not 2 channels"),
        ({"evaluation.features": "none.pth"}, "no such file; give pixels, classifier, alexnet, vgg16, or the weights of .*pt_inception-2015.*dinov2_vitl14_pretrain.pth, 1.2 GB.*nothing is downloaded"),
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
