"""Position and shade of each image in a picture."""

import numpy as np
import pytest

from score_sde.evaluation.pictures import image_grid, save_grid, shades


def test_shades_span_black_to_white():
    np.testing.assert_array_equal(shades(np.arange(17), 17)[[0, 8, 16]], [0, 128, 255])
    np.testing.assert_array_equal(shades(np.arange(256), 256), np.arange(256))


def test_images_stand_row_by_row():
    """Five uniform gray images: three columns, two rows, the sixth place empty."""
    levels = np.arange(5).reshape(5, 1, 1, 1) * np.ones((1, 8, 8, 1), int)
    picture = np.asarray(image_grid(levels, 5))
    height, width = picture.shape
    centres = [
        picture[(2 * r + 1) * height // 4, (2 * c + 1) * width // 6]
        for r in (0, 1)
        for c in (0, 1, 2)
    ]
    assert [int(v) for v in centres] == [0, 64, 128, 191, 255, 40]


@pytest.mark.parametrize(
    ("n", "size", "columns"), [(16, (8, 2), 8), (16, (2, 8), 2), (3, (9, 1), 3)]
)
def test_wide_and_high_images_make_a_picture_that_is_square(n, size, columns):
    white = np.ones((n, *size, 1), int)
    bright = np.asarray(image_grid(white, 2)) > 100
    across = bright[bright.shape[0] // (2 * -(-n // columns))]
    assert np.count_nonzero(np.diff(across.astype(int)) == 1) == columns


def test_colour_channels_keep_their_order(tmp_path):
    image = np.zeros((1, 4, 4, 3), int)
    image[..., 0] = 255
    save_grid(tmp_path / "new" / "a.png", image, 256)
    picture = np.asarray(image_grid(image, 256))
    assert tuple(picture[picture.shape[0] // 2, picture.shape[1] // 2]) == (255, 0, 0)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


def test_of_four_channels_the_first_three_are_shown():
    levels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 4)).astype(np.uint8)
    np.testing.assert_array_equal(image_grid(levels, 256), image_grid(levels[..., :3], 256))


def test_two_channels_are_red_and_green():
    levels = np.zeros((2, 8, 8, 2), np.uint8)
    levels[0, ..., 0] = levels[1, ..., 1] = 1
    picture = np.asarray(image_grid(levels, 2))
    height, width, _ = picture.shape
    np.testing.assert_array_equal(picture[height // 2, width // 4], [255, 0, 0])
    np.testing.assert_array_equal(picture[height // 2, 3 * width // 4], [0, 255, 0])
