"""Crop, resize and decode: the filters of the published data, and files of every kind."""

import io

import jax
import numpy as np
import PIL.Image
import pytest

from score_sde.data import DatasetError
from score_sde.data.resizing import FILTERS, crop_and_resize, decode_image


def random_image(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_the_centre_is_cropped():
    image = np.zeros((6, 10, 3), np.uint8)
    image[1:5, 3:7] = 200
    np.testing.assert_array_equal(crop_and_resize(image, 4, 4), np.full((4, 4, 3), 200))


def test_resizing_keeps_the_mean_and_the_channels():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (64, 64, 3)).astype(np.uint8)
    image[..., 2] = 33
    small = crop_and_resize(image, 16, None)
    assert small.dtype == np.uint8
    assert (small[..., 2] == 33).all()
    # Four by four pixels a new one, so 16 are averaged: their spread of 40 falls to about 10.
    assert abs(small[..., 0].mean() - image[..., 0].mean()) < 1
    assert small[..., 0].std() < 16
    grey = crop_and_resize(image[..., :1], 16, None)
    np.testing.assert_array_equal(grey[..., 0], small[..., 0])


@pytest.mark.parametrize(
    ("resample", "method", "crop", "size"), [("bilinear", "linear", 140, 64), ("bicubic", "cubic", 0, 48)]
)  # fmt: skip
def test_the_filters_are_those_of_the_published_data(resample, method, crop, size):
    # jax.image.resize has the kernels of tf.image.resize, with which CelebA and LSUN were made. Smooth as a
    # photograph; Pillow rounds after each of its two passes, whence one level of difference and a half.
    y, x = np.mgrid[:218, :178]
    waves = np.stack([np.sin(x / 3 + y / 5), np.cos(x * y / 900), np.sin(y / 2)], axis=-1)
    image = np.round(127.5 + 110 * waves).astype(np.uint8)
    side = crop or 178
    top, left = (218 - side) // 2, (178 - side) // 2
    square = image[top : top + side, left : left + side].astype(np.float32)
    expected = jax.image.resize(square, (size, size, 3), method, antialias=True)
    difference = crop_and_resize(image, size, crop, resample) - np.asarray(expected)
    assert abs(difference).max() <= 1.5
    assert abs(difference.mean()) < 0.02


def test_box_gives_means_of_blocks():
    image = random_image(64, 64, 3)
    means = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert abs(crop_and_resize(image, 16, 0, "box") - means).max() <= 1


def test_all_filters_differ():
    image = random_image(64, 64, 3)
    results = {crop_and_resize(image, 16, 0, resample).tobytes() for resample in FILTERS}
    assert len(results) == len(FILTERS)


def test_colour_grey_and_transparent_files_become_what_is_asked_for():
    rgb = PIL.Image.fromarray(random_image(5, 7, 3))
    np.testing.assert_array_equal(decode_image(encoded(rgb), 3), np.asarray(rgb))
    grey = PIL.Image.fromarray(random_image(5, 7))
    np.testing.assert_array_equal(decode_image(encoded(grey), 1)[..., 0], np.asarray(grey))
    # Grey as colour has three equal channels, and transparency is dropped.
    assert (decode_image(encoded(grey), 3) == np.asarray(grey)[..., None]).all()
    veiled = rgb.copy()
    veiled.putalpha(7)
    np.testing.assert_array_equal(decode_image(encoded(veiled), 3), np.asarray(rgb))


def test_a_picture_stored_sideways_is_turned_upright():
    upright = random_image(5, 7, 3)
    tags = PIL.Image.Exif()
    tags[0x0112] = 6  # orientation: what was on top is stored at the left
    sideways = PIL.Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    np.testing.assert_array_equal(decode_image(encoded(sideways, exif=tags), 3), upright)


def test_sixteen_bits_a_pixel_are_refused():
    deep = PIL.Image.fromarray(random_image(4, 4).astype(np.uint16) * 257)
    with pytest.raises(DatasetError, match="more than 8 bits"):
        decode_image(encoded(deep), 1)
