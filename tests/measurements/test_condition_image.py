"""Condition images: the back-projected measurement, its noise, and its dependence on key and place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from score_sde.configs.digits import digits_config
from score_sde.errors import ConfigError
from score_sde.measurements.condition_image import build_condition_image

KEY = jax.random.key(3)


def told(fields, images, use="in_use", condition=(), key=KEY, index=None):
    config = digits_config("vp")
    config.update_from_flattened_dict({"model.condition_image": "measured", **fields})
    index = jnp.arange(len(images)) if index is None else index
    make = jax.jit(getattr(build_condition_image(config), use))
    return make(jnp.asarray(images), condition, key, index)


def digits(n=3):
    return np.random.default_rng(0).integers(0, 17, (n, 8, 8, 1)).astype(np.uint8)


def middle(images):
    """In the middle of their levels, on [-1, 1]."""
    return 2 * (images + 0.5) / 17 - 1


def test_means_of_pixels_are_taken_up_again():
    images = digits()
    means = middle(images).reshape(3, 4, 2, 4, 2, 1).mean(axis=(2, 4))
    fields = {"condition.name": "box_mean", "condition.sigma_y": 0.0}
    found = told(fields, images)
    assert set(found) == {"image"}
    np.testing.assert_allclose(found["image"], np.kron(means, np.ones((1, 2, 2, 1))), atol=1e-6)


def test_known_pixels_stay_where_they_are():
    images = digits()
    found = told({"condition.name": "half", "condition.sigma_y": 0.0}, images)["image"]
    np.testing.assert_allclose(found[:, :, :4], middle(images)[:, :, :4], atol=1e-6)
    np.testing.assert_array_equal(found[:, :, 4:], 0.0)


@pytest.mark.parametrize("name", ["box_mean", "bicubic", "gaussian_blur", "frequencies"])
def test_noise_is_brought_back_by_the_ridge(name):
    """A^T (sigma_y^2 I + A A^T)^{-1} y by NumPy, with y recovered from the condition image without noise."""
    images, fields = digits(), {"condition.name": name, "condition.sigma_y": 0.3}
    config = digits_config("vp")
    config.update_from_flattened_dict({"model.condition_image": "measured", **fields})
    maker = build_condition_image(config)
    measured, in_use, of_measured = map(jax.jit, (maker.measured, maker.in_use, maker.of_measured))
    a = np.asarray(maker.measurement.linear.matrix(), np.float64)
    y = np.asarray(measured(jnp.asarray(images), (), KEY, jnp.arange(3)), np.float64)
    noise = (y.reshape(3, -1) - middle(images).reshape(3, -1) @ a.T) / 0.3
    # Once in a million outside, of as many numbers as there are.
    assert abs(noise.mean()) < 4.9 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4.9 * np.sqrt(2 / noise.size)
    expected = y.reshape(3, -1) @ np.linalg.inv(0.09 * np.eye(len(a)) + a @ a.T) @ a
    found = in_use(jnp.asarray(images), (), KEY, jnp.arange(3))["image"]
    np.testing.assert_allclose(np.asarray(found).reshape(3, -1), expected, atol=2e-5)
    again = of_measured(jnp.asarray(y, jnp.float32), (), KEY, jnp.arange(3))["image"]
    np.testing.assert_allclose(again, found, atol=2e-5)


def test_what_is_told_is_the_images_own():
    """It depends on its key and place, not on the batch."""
    images = digits(4)
    fields = {"condition.sigma_y": 0.5, "model.condition_noise": 1.0}
    whole = told(fields, images, "in_training", index=jnp.arange(5, 9))
    part = told(fields, images[2:3], "in_training", index=jnp.array([7]))
    for name in ("image", "image_noise"):
        np.testing.assert_array_equal(whole[name][2:3], part[name])
    for other in ({"index": jnp.array([8])}, {"index": jnp.array([7]), "key": jax.random.key(4)}):
        found = told(fields, images[2:3], "in_training", **other)
        assert np.all(found["image_noise"] != part["image_noise"])
        assert np.abs(found["image"] - part["image"]).max() > 0.01


def test_augmentation_is_told_and_adds_to_the_noise():
    """Levels are uniform (Kolmogorov-Smirnov, one false alarm in a million), and the noise has its level's size combined with sigma_y."""
    images = np.zeros((4000, 8, 8, 1), np.uint8)
    fields = {"condition.name": "half", "condition.sigma_y": 0.3, "model.condition_noise": 0.8}
    found = told(fields, images, "in_training")
    levels = np.asarray(found["image_noise"])
    assert scipy.stats.kstest(levels / 0.8, "uniform").pvalue > 1e-6
    y = np.asarray(found["image"])[:, :, :4] * 1.09
    z = (y - middle(0)) / np.hypot(levels, 0.3)[:, None, None, None]
    size = np.sqrt(2 / (z.size / 2))
    for half in (levels < 0.4, levels >= 0.4):
        assert abs(z[half].var() - 1) < 4.9 * size
    in_use = told({**fields, "condition.noise": 0.5}, images)
    np.testing.assert_array_equal(in_use["image_noise"], np.float32(0.5))
    y = np.asarray(in_use["image"])[:, :, :4] * 1.09
    assert abs(y.var() / (0.25 + 0.09) - 1) < 4.9 * size


def test_a_pair_is_told_as_it_is():
    """8-bit shades are mapped to [-1, 1], real numbers are unchanged. Other conditions are kept."""
    fields = {"model.condition_image": "paired", "model.condition_channels": 3}
    shades = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    condition = {"paired": jnp.asarray(shades), "label": jnp.array([1, 2])}
    found = told(fields, digits(2), condition=condition)
    assert set(found) == {"image", "label"}
    np.testing.assert_allclose(found["image"], shades / 127.5 - 1, atol=1e-6)
    real = jnp.asarray(shades / 100.0, jnp.float32)
    np.testing.assert_array_equal(
        told(fields, digits(2), condition={"paired": real})["image"], real
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"condition.noise": 0.2}, "condition.noise=0.2 with model.condition_noise=0.0"),
        ({"condition.name": "sand"}, "condition.name='sand' is unknown"),
        ({"condition.name": "bicubic", "condition.factor": 3}, "condition.name='bicubic': .* by 3"),
    ],
)
def test_what_cannot_be_told_is_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        told(fields, digits())
