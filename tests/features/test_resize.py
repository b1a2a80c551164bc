"""Resizing, against torch-fidelity and NumPy's interpolation."""

import numpy as np
import pytest

from score_sde.features.inception import SIDE, preprocessed
from score_sde.features.resize import neighbours, resized
from tests.features.conftest import images


@pytest.mark.parametrize("key", ["a", "b", "c"])
def test_preprocessed_images_are_those_of_torch_fidelity(golden, key):
    """To 1e-6 on [-1, 1]; with positions in float64 the results would differ by up to 4e-6."""
    x = np.asarray(preprocessed(images(golden, key)), np.float64).transpose(0, 3, 1, 2)
    at = golden["sub_index"]
    np.testing.assert_allclose(x[:, :, at][..., at], golden[f"{key}/resized_sub"], atol=1e-6)
    figures = np.stack([x.mean(axis=(2, 3)), x.std(axis=(2, 3))], axis=-1)
    np.testing.assert_allclose(figures, golden[f"{key}/resized_mean_std"], atol=1e-6)


def test_smaller_and_larger_lines_are_interpolated_from_the_edge():
    """By np.interp along rows and columns separately. In float32 a position among 700 is off by up to 4e-5, and levels change by up to 255 from one to the next."""
    rows, columns = 700, 23
    levels = np.random.default_rng(0).integers(0, 256, (1, rows, columns, 3)).astype(np.uint8)
    at = np.arange(SIDE)
    expected = np.apply_along_axis(
        lambda line: np.interp(at * rows / SIDE, np.arange(rows), line), 1, levels
    )
    expected = np.apply_along_axis(
        lambda line: np.interp(at * columns / SIDE, np.arange(columns), line), 2, expected
    )
    np.testing.assert_allclose(resized(levels, SIDE), expected, atol=0.02)


def test_images_of_the_size_are_left_alone():
    levels = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.uint8)
    np.testing.assert_array_equal(resized(levels, SIDE), levels.astype(np.float32))


@pytest.mark.parametrize("before", [1, 2, 8, 299, 1024])
def test_neighbours_are_places_of_the_line(before):
    lower, upper, fraction = neighbours(before, SIDE)
    assert 0 <= lower.min() <= upper.max() < before
    assert np.all((fraction >= 0) & (fraction < 1))
