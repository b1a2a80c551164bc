"""Masks by hand, and kernels by their moments, which are known for any way of sharing among pixels."""

import numpy as np
import PIL.Image
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from score_sde.errors import ConfigError
from score_sde.measurements.fourier import Frequencies
from score_sde.measurements.kernels import gaussian_kernel, motion_kernel
from score_sde.measurements.masks import frequencies, half, picture, random_pixels, without_box


def test_boxes_and_halves():
    assert_array_equal(
        without_box((4, 5), (2, 3)),
        [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]],
    )
    assert_array_equal(without_box((2, 3), (1, 2), (0, 1)), [[1, 0, 0], [1, 1, 1]])
    for name, rows in {
        "left": [[1, 0, 0]] * 3, "right": [[0, 0, 1]] * 3,
        "top": [[1] * 3, [0] * 3, [0] * 3], "bottom": [[0] * 3, [0] * 3, [1] * 3],
    }.items():  # fmt: skip
        assert_array_equal(half((3, 3), name), rows)


def test_random_pixels():
    known = [random_pixels((8, 6), 0.25, seed) for seed in range(200)]
    assert {mask.sum() for mask in known} == {12}
    assert_array_equal(known[3], random_pixels((8, 6), 0.25, 3))
    # Each pixel's count is hypergeometric with variance 200 / 4 * 3 / 4: none of 48 is 6 standard deviations off, but
    # for one time in ten million.
    assert np.max(np.abs(np.sum(known, axis=0) - 50)) < 6 * np.sqrt(37.5)


def test_a_picture(tmp_path):
    known = random_pixels((3, 5), 0.5, 0)
    for mode in ("L", "RGB", "1"):
        path = tmp_path / f"{mode}.png"
        PIL.Image.fromarray((known * 255).astype(np.uint8)).convert(mode).save(path)
        assert_array_equal(picture(path, (3, 5)), known)
    with pytest.raises(ConfigError, match="3 x 5 pixels for images of 5 x 3"):
        picture(path, (5, 3))
    PIL.Image.fromarray(np.arange(15, dtype=np.uint8).reshape(3, 5)).save(path)
    with pytest.raises(ConfigError, match="has grey levels, from 0 to 14"):
        picture(path, (3, 5))
    PIL.Image.fromarray(np.zeros((3, 5), np.uint8)).save(path)
    with pytest.raises(ConfigError, match=r"1.png is black everywhere: expected white, 255, where"):
        picture(path, (3, 5))
    for bad in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(ConfigError, match="cannot be read as a picture"):
            picture(bad, (3, 5))


REFUSED = {
    "a box of": lambda: without_box((4, 4), (5, 1)),
    "from .3, 3. on": lambda: without_box((4, 4), (2, 2), (3, 3)),
    "fraction 0 of": lambda: random_pixels((4, 4), 0, 0),
    "fraction 0.01": lambda: random_pixels((4, 4), 0.01, 0),
    "known half='middle' is unknown": lambda: half((4, 4), "middle"),
    "length=0": lambda: motion_kernel(0.0),
    "std=-1": lambda: gaussian_kernel(-1),
}


@pytest.mark.parametrize("words", REFUSED)
def test_masks_and_kernels_that_are_none(words):
    with pytest.raises(ConfigError, match=words):
        REFUSED[words]()


def moments(kernel):
    """Sum, mean (2,) and covariance (2, 2) in rows and columns."""
    radius = len(kernel) // 2
    places = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * 2, indexing="ij"), -1)
    mean = np.einsum("ij,ijk->k", kernel, places)
    second = np.einsum("ij,ijk,ijl->kl", kernel, places, places)
    return kernel.sum(), mean, second - np.outer(mean, mean)


@pytest.mark.parametrize("angle", [0.0, 17.0, 45.0, 90.0, 118.0, -30.0])
@pytest.mark.parametrize("length", [0.4, 1.0, 4.0, 7.3])
def test_motion_moves_as_far_as_it_says(length, angle):
    """Bilinear sharing keeps the mean and adds the mean of f (1 - f) to a variance, f being the distance to the lower grid line."""
    kernel = motion_kernel(length, angle)
    total, mean, covariance = moments(kernel)
    direction = np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    assert kernel.min() >= 0
    assert total == pytest.approx(1.0, abs=1e-14)
    assert_allclose(mean, 0.0, atol=1e-14)
    points = np.linspace(-0.5, 0.5, 200_001)[:, None] * length * direction
    past = points - np.floor(points)
    weights = np.full(len(points), 1.0 / (len(points) - 1))
    weights[[0, -1]] /= 2
    spread = np.diag(weights @ (past * (1 - past)))
    expected = length**2 / 12 * np.outer(direction, direction) + spread
    assert_allclose(covariance, expected, atol=1e-7)


def test_motion_to_the_right():
    """Hat functions integrated over four pixels."""
    kernel = motion_kernel(4.0)
    assert_allclose(kernel[2], [1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8], atol=1e-15)
    assert_allclose(np.delete(kernel, 2, axis=0), 0.0, atol=1e-15)
    assert_allclose(motion_kernel(4.0, 90.0), kernel.T, atol=1e-15)
    upwards = motion_kernel(4.0, 45.0)
    assert upwards[0, -1] < upwards[1, -2]
    assert upwards[-1, -1] == pytest.approx(0.0, abs=1e-15)


def test_a_gaussian_kernel():
    """Sampled at whole pixels, a Gaussian of two pixels keeps its variance up to truncation."""
    total, mean, covariance = moments(gaussian_kernel(2.0))
    assert total == pytest.approx(1.0, abs=1e-14)
    assert_allclose(mean, 0.0, atol=1e-14)
    assert_allclose(covariance, 4.0 * np.eye(2), atol=4e-3)
    assert gaussian_kernel(2.0).shape == (17, 17)


@pytest.mark.parametrize("sides", [(8, 8), (5, 6)])
def test_known_frequencies(sides):
    """As many as requested, up to a pair; k together with -k; half of them are the lowest, the others depend on the seed."""
    count = sides[0] * sides[1]
    found = [frequencies(sides, 0.4, 0.5, seed) for seed in range(40)]
    lengths = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, sides), indexing="ij"))
    for known in found:
        assert abs(known.sum() - round(0.4 * count)) <= 1
        Frequencies.of_mask(known, (*sides, 1))  # refuses k without -k
    always = np.all(found, axis=0)
    lowest = np.sort(lengths[always])[-1]
    assert abs(always.sum() - 0.2 * count) <= 2
    assert not (~always & (lengths < lowest - 1e-12)).any()
    assert np.any(
        found, axis=0
    ).all()  # each of the rest with chance 1/4 or more: none missing but once in 10^4
    assert frequencies(sides, 1.0, 0.5, 0).all()
