"""Crop, resize and decode: the filters of the published data, and files of every kind."""

import io
import struct
import zlib

import jax
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from ml_collections import ConfigDict

from score_sde.data import DatasetError
from score_sde.data.options import DataOptions
from score_sde.data.resizing import FILTERS, crop_and_resize, decode_image, fit_to


def random_image(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def test_the_centre_is_cropped():
    image = np.zeros((6, 10, 3), np.uint8)
    image[1:5, 3:7] = 200
    np.testing.assert_array_equal(crop_and_resize(image, (4, 4), 4), np.full((4, 4, 3), 200))


def test_resizing_keeps_the_mean_and_the_channels():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (64, 64, 3)).astype(np.uint8)
    image[..., 2] = 33
    small = crop_and_resize(image, (16, 16), None)
    assert small.dtype == np.uint8
    assert (small[..., 2] == 33).all()
    # Four by four pixels a new one, so 16 are averaged: their spread of 40 falls to about 10.
    assert abs(small[..., 0].mean() - image[..., 0].mean()) < 1
    assert small[..., 0].std() < 16
    grey = crop_and_resize(image[..., :1], (16, 16), None)
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
    difference = crop_and_resize(image, (size, size), crop, resample) - np.asarray(expected)
    assert abs(difference).max() <= 1.5
    assert abs(difference.mean()) < 0.02


@pytest.mark.parametrize("channels", [1, 3])
def test_what_overshoots_beside_an_edge_is_clipped_at_the_largest_level(channels):
    """A white square on black at 16 levels: bicubic gives up to 17, and at 256 levels Pillow itself clips."""
    image = np.zeros((8, 8, channels), np.uint8)
    image[2:6, 2:6] = 15
    options = {"image_size": 16, "num_channels": channels, "stored_levels": 16, "resize": True}
    fitted = fit_to(ConfigDict({**DataOptions.defaults(), **options}))(image)
    expected = np.asarray(jax.image.resize(image.astype(np.float32), (16, 16, channels), "cubic"))
    assert expected.max() > 16.5
    assert abs(fitted - expected.clip(0, 15)).max() <= 1
    assert (fitted.min(), fitted.max()) == (0, 15)


def test_box_gives_means_of_blocks():
    image = random_image(64, 64, 3)
    means = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert abs(crop_and_resize(image, (16, 16), 0, "box") - means).max() <= 1


@pytest.mark.parametrize(
    ("stored", "crop", "part"),
    [
        ((6, 10), 0, (0, 6, 0, 9)),
        ((10, 6), 0, (3, 7, 0, 6)),
        ((9, 13), 2, (3, 5, 5, 8)),
        ((2, 3), 0, (0, 2, 0, 3)),
    ],
)
def test_the_part_in_the_middle_has_the_shape_that_is_wanted(stored, crop, part):
    """White inside the crop and black outside: the result is all white, and likewise for the transposed image."""
    top, bottom, left, right = part
    image = np.zeros((*stored, 3), np.uint8)
    image[top:bottom, left:right] = 200
    np.testing.assert_array_equal(crop_and_resize(image, (20, 30), crop), np.full((20, 30, 3), 200))
    turned = crop_and_resize(image.swapaxes(0, 1), (30, 20), crop)
    np.testing.assert_array_equal(turned, np.full((30, 20, 3), 200))
    image[top, left] = 0
    assert crop_and_resize(image, (20, 30), crop).min() < 200  # no less than the part


def test_rows_and_columns_are_resized_each_by_its_own_factor():
    """For sixty columns that rise by four, means of five rise by twenty, starting at eight."""
    ramp = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], 40, axis=0)
    small = crop_and_resize(np.repeat(ramp, 3, axis=2), (8, 12), 0, "box")
    np.testing.assert_array_equal(small[0, :, 0], 8 + 20 * np.arange(12))
    assert (small == small[:1]).all()


def test_all_filters_differ():
    image = random_image(64, 64, 3)
    results = {crop_and_resize(image, (16, 16), 0, resample).tobytes() for resample in FILTERS}
    assert len(results) == len(FILTERS)


def test_colour_grey_and_transparent_files_become_what_is_asked_for():
    rgb = PIL.Image.fromarray(random_image(5, 7, 3))
    np.testing.assert_array_equal(decode_image(encoded(rgb), 3), np.asarray(rgb))
    grey = PIL.Image.fromarray(random_image(5, 7))
    np.testing.assert_array_equal(decode_image(encoded(grey), 1)[..., 0], np.asarray(grey))
    # Grey as colour has three equal channels.
    assert (decode_image(encoded(grey), 3) == np.asarray(grey)[..., None]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_what_is_transparent_lies_on_black(mode, num_channels):
    """The hidden color of transparent pixels does not matter; opaque pixels are unchanged."""
    grey = random_image(5, 7)
    alpha = np.array([0, 255, 51], np.uint8)[np.arange(35).reshape(5, 7) % 3]
    picture = PIL.Image.merge("LA", [PIL.Image.fromarray(a) for a in (grey, alpha)])
    if mode == "P":
        alpha = np.where(grey == grey[2, 2], 0, 255)
        picture, options = PIL.Image.fromarray(grey).convert("P"), {"transparency": int(grey[2, 2])}
    else:
        picture, options = picture.convert(mode), {}
    decoded = decode_image(encoded(picture, **options), num_channels)
    for channel in np.moveaxis(decoded, -1, 0):
        np.testing.assert_allclose(channel, grey / 255 * alpha, atol=1)
        np.testing.assert_array_equal(channel[alpha == 0], 0)
        np.testing.assert_array_equal(channel[alpha == 255], grey[alpha == 255])


def test_a_picture_stored_sideways_is_turned_upright():
    upright = random_image(5, 7, 3)
    tags = PIL.Image.Exif()
    tags[0x0112] = 6  # orientation: what was on top is stored at the left
    sideways = PIL.Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    np.testing.assert_array_equal(decode_image(encoded(sideways, exif=tags), 3), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    picture = encoded(PIL.Image.fromarray(random_image(5, 7, 3)), exif=tags)
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(picture)))
    np.testing.assert_array_equal(decode_image(picture, 3), np.asarray(expected))


def test_another_field_may_be_bad_beside_the_orientation():
    upright = random_image(5, 7, 3)
    # Big-endian TIFF with two entries: the orientation 6, and a resolution that is no fraction but a text.
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(
        ">HHI4s", 0x011A, 2, 4, b"bad\0"
    )
    exif = b"MM\0*" + struct.pack(">IH", 8, 2) + entries + struct.pack(">I", 0)
    sideways = PIL.Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    picture = encoded(sideways, exif=b"Exif\0\0" + exif)
    # Of the second kind in Pillow 11.
    with pytest.raises((TypeError, ValueError)), PIL.Image.open(io.BytesIO(picture)) as image:
        PIL.ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(decode_image(picture, 3), upright)


def test_sixteen_bits_a_pixel_are_refused():
    deep = PIL.Image.fromarray(random_image(4, 4).astype(np.uint16) * 257)
    with pytest.raises(DatasetError, match="more than 8 bits"):
        decode_image(encoded(deep), 1)


def test_sixteen_bits_a_colour_are_refused():
    """The file is written by hand since Pillow cannot; Pillow would read only the upper eight bits."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in random_image(4, 4 * 3) * 200)
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    deep = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    with PIL.Image.open(io.BytesIO(deep)) as image:
        assert (image.mode, np.asarray(image).dtype) == ("RGB", np.uint8)
    with pytest.raises(DatasetError, match="mode RGB has more than 8 bits"):
        decode_image(deep, 3)


def deep_tiff():
    """A picture of 4x4 pixels in 16 bits a colour, written by hand as TIFF 6.0 says, Sec. 6: Pillow cannot write it."""
    deep = random_image(4, 4, 3).astype("<u2") * 257
    # Tag, type (3: 16 bits, 4: 32 bits), count, value or its place: after the header's 8 bytes and 8 entries.
    bits, strip = 8 + 2 + 8 * 12 + 4, 8 + 2 + 8 * 12 + 4 + 6
    entries = [
        (256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 3, bits), (259, 3, 1, 1),
        (262, 3, 1, 2), (273, 4, 1, strip), (277, 3, 1, 3), (279, 4, 1, deep.nbytes),
    ]  # fmt: skip
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return header + fields + bytes(4) + struct.pack("<3H", 16, 16, 16) + deep.tobytes()


DEEP = {
    "tiff": deep_tiff(),
    "ppm": b"P6 # of a camera\n 1\n2 65535\n" + random_image(12).tobytes(),
    "plain ppm": b"P3\n1 1\n256\n256 1 2\n",
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_colours_in_other_formats_are_refused(kind):
    """Pillow opens each as eight bits a colour."""
    with PIL.Image.open(io.BytesIO(DEEP[kind])) as image:
        assert (image.mode, np.asarray(image).dtype) == ("RGB", np.uint8)
    with pytest.raises(DatasetError, match="mode RGB has more than 8 bits"):
        decode_image(DEEP[kind], 3)


@pytest.mark.parametrize("kind", ["JPEG2000", "SGI"])
def test_formats_of_which_pillow_keeps_eight_bits_are_refused(kind):
    """Both are of eight bits here, which Pillow does not say."""
    with pytest.raises(DatasetError, match=f"in the format {kind}, of whose colours .* to PNG"):
        decode_image(encoded(PIL.Image.fromarray(random_image(4, 4, 3)), format=kind), 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "BMP"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_eight_bits_are_read_in_every_format(kind, mode):
    image = PIL.Image.fromarray(random_image(4, 5, 3)).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_image(encoded(image, format=kind), 3), expected)


@pytest.mark.parametrize("crop_size", [-1, 7])
def test_a_square_that_is_not_in_the_image_is_refused(crop_size):
    with pytest.raises(DatasetError, match=f"data.crop_size={crop_size}"):
        crop_and_resize(random_image(6, 8, 3), (4, 4), crop_size)
