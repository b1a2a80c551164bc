"""Folders of pictures of a single color, which identifies the file of each."""

import numpy as np
import PIL.Image
import pytest

from score_sde import data
from score_sde.errors import UserError

COLOURS = 40


def save(path, i, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, colour(i)).save(path)


def colour(i):
    return (i, 2 * i, 255 - i)


def refusal(config):
    with pytest.raises(UserError) as caught:
        data.load(config)
    return str(caught.value)


def numbers(split):
    """Which files a split holds, in its order, from their colours; every pixel is looked at."""
    images = split.take(range(split.num_images)).images
    assert images.shape == (split.num_images, 8, 8, 3)
    assert images.dtype == np.uint8
    found = images[:, 0, 0, 0].tolist()
    for image, i in zip(images, found, strict=True):
        assert (image == colour(i)).all()
    return found
