"""Discs and squares: masks as analog bits, their pictures, and the network's inputs."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_sde import data
from score_sde.configs.vp_shapes import get_config
from score_sde.data.shapes import SHADE, draw, to_bits, to_classes
from score_sde.errors import UserError
from score_sde.spaces import build_space


@pytest.fixture(scope="module")
def shapes():
    return data.load(get_config(), ("paired",))


def test_the_bits_of_a_class():
    classes = np.array([[0, 1], [2, 3]])
    np.testing.assert_array_equal(to_bits(classes), [[[0, 0], [1, 0]], [[0, 1], [1, 1]]])
    np.testing.assert_array_equal(to_classes(to_bits(classes)), classes)


def test_a_picture_shows_its_mask(shapes):
    """Every pixel of a shape has its shade, and nearly no other pixel: 220 is 5.2 standard deviations from their mean."""
    batch = shapes.test.take(range(256))
    pictures, classes = batch.condition["paired"][..., 0], to_classes(batch.images)
    assert set(np.unique(classes)) == {0, 1, 2}
    assert (pictures[classes > 0] == SHADE).all()
    assert (pictures[classes == 0] != SHADE).mean() > 0.9999
    assert shapes.train.num_images == 4096
    assert not np.array_equal(shapes.train.take([0]).images, batch.images[:1])


def test_a_disc_and_a_square_are_what_they_are_called():
    """In a 100x100 frame, shapes fill their bounding box: pi / 4 of it for discs, all of it for squares."""
    classes, _ = draw(np.random.default_rng(1), 40, (100, 100))
    for k, share in ((1, np.pi / 4), (2, 1.0)):
        seen = []
        for mask in classes == k:
            box = [np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1)]
            if any(len(of) == 0 for of in box):
                continue  # behind the square
            width, height = (of[-1] - of[0] + 1 for of in box)
            if abs(int(width) - int(height)) <= 1:
                seen.append(mask.sum() / (width * height))
        assert len(seen) > 10
        assert np.median(seen) == pytest.approx(share, abs=0.03)


def test_the_model_sees_analog_bits():
    """Bits are encoded as -1 and 1, and the sign of a sample is its bit."""
    space = build_space(get_config())
    bits = jnp.array([[[[0, 1]]]], jnp.uint8)
    np.testing.assert_array_equal(space.encode_middle(bits), [[[[-1.0, 1.0]]]])
    noisy = jnp.array([[[[-0.1, 0.2]]], [[[1.7, -3.0]]]])
    np.testing.assert_array_equal(space.decode(noisy), [[[[0, 1]]], [[[1, 0]]]])


def test_other_channels_are_refused():
    config = get_config()
    config.data.num_channels = 3
    with pytest.raises(UserError, match="'shapes' with data.num_channels=3: three classes are 2"):
        data.load(config)
