"""InceptionV3, layer by layer, against torch-fidelity with weights drawn by a recipe."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from score_sde.errors import UserError
from score_sde.features.inception import as_rgb, inception_features
from score_sde.features.inception_weights import load_inception
from tests.features.conftest import images

NAMES = {
    "pooled": "2048",
    "logits": "logits_unbiased",
    "after_768": "768",
    "after_192": "192",
    "after_64": "64",
}
CHANNELS = np.array([0, 1, -2, -1])  # of which single values are stored


@pytest.fixture(
    scope="module",
    params=["a", *(pytest.param(key, marks=pytest.mark.slow) for key in "bc")],
)
def found(request, golden, weights_file):
    """The golden data's figures of one batch of images by name, ours of it, and ours of each layer."""
    key = request.param
    params, _ = load_inception(weights_file)

    @jax.jit
    def layers_too(params, images):
        layers = {}

        def note(next_function, args, kwargs, context):
            out = next_function(*args, **kwargs)
            if len(context.module.path) == 1:
                layers[context.module.name] = out
            return out

        with nn.intercept_methods(note):
            features = inception_features(params, images)
        del layers["fc"]
        return features, layers

    stored = {name[2:]: array for name, array in golden.items() if name.startswith(f"{key}/")}
    return stored, *jax.device_get(layers_too(params, images(golden, key)))


def test_each_layer(found, golden):
    """The first layer that differs has the mistake. 1e-5 of a layer's largest value: float32 of two programs."""
    stored, _, layers = found
    for row, name in enumerate(golden["block_names"]):
        if name.startswith("MaxPool"):  # no module here; see after_64 and after_192 below
            continue
        x = layers[name]
        height, width = x.shape[1:3]
        tolerance = 1e-5 * np.abs(x).max()
        for place, at in {"corner": (0, 0), "center": (height // 2, width // 2 - 1)}.items():
            np.testing.assert_allclose(
                x[:, *at][:, CHANNELS], stored[f"block_{place}"][row], atol=tolerance, err_msg=name
            )
        x = x.astype(np.float64)
        figures = [x.mean(), x.std()]
        np.testing.assert_allclose(
            figures, stored["block_mean_std"][row], atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("ours", NAMES)
def test_features(found, ours):
    """To 5e-6 of the largest value of a float64 run, from which torch-fidelity's float32 differs by 3e-7 and ours by 7e-7."""
    stored, features, _ = found
    expected = stored[f"features_f64/{NAMES[ours]}"]
    given = getattr(features, ours)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, rtol=0, atol=5e-6 * np.abs(expected).max())


def test_grey_images_are_repeated_and_others_refused():
    grey = np.arange(8, dtype=np.uint8).reshape(1, 2, 4, 1)
    colour = np.asarray(as_rgb(grey))
    assert colour.dtype == np.uint8
    np.testing.assert_array_equal(colour, np.concatenate([grey] * 3, axis=-1))
    np.testing.assert_array_equal(as_rgb(colour), colour)
    with pytest.raises(UserError, match=r"\(1, 2, 4, 2\) have neither one channel"):
        as_rgb(grey.repeat(2, axis=-1))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "float32 of shape"),  # of [0, 1], all but black
        (np.zeros((1, 8, 8, 1), np.uint8), r"\(1, 8, 8, 1\)"),
        (np.zeros((8, 8, 3), np.uint8), r"\(8, 8, 3\)"),
    ],
)
def test_what_is_no_levels_of_colour_is_refused(images, words):
    with pytest.raises(UserError, match=words):
        inception_features({}, images)
