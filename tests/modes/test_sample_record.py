"""What --mode sample says of its samples, and what it writes beside them."""

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kstest, norm

from score_sde.configs.toy_mixture import get_config
from score_sde.generation.trajectory import Trajectory
from score_sde.modes.sample import distance_to_law, write_path
from score_sde.sde_lib import Linear
from score_sde.spaces import PixelSpace


def test_the_distance_to_the_law_is_of_all_coordinates(tmp_path):
    """SciPy's statistic of 24 coordinates of six images, and the band of 24 independent ones, which is exceeded once in a million:
    sqrt(ln(2e6) / 48)."""
    images = np.random.default_rng(0).normal(0.2, 1.0, (6, 2, 2, 1)).astype(np.float32)
    np.savez(tmp_path / "drawn.npz", images=images, nfe=np.ones(6))
    found = distance_to_law(get_config(), tmp_path / "drawn.npz")

    def cdf(x):
        return 0.3 * norm.cdf(x, -1.0, 0.2) + 0.7 * norm.cdf(x, 0.6, 0.3)

    statistic = kstest(images.ravel().astype(np.float64), cdf).statistic
    assert found["ks_distance"] == pytest.approx(statistic, rel=1e-6)
    assert found["ks_band"] == pytest.approx(np.sqrt(np.log(2e6) / 48), rel=1e-12)


def test_a_path_keeps_its_contrast(tmp_path):
    """Two images of the straight path on [0, 1], at t = 1, 4/7 and 0: (alpha, sigma) = (0, 1), (3, 4)/7 and (1, 0), of the lengths 1, 5/7
    and 1. The picture has a row for each image, a column for each time; the file the states."""
    levels = np.array([[2, 16, 14], [9, 0, 5]])
    from_grey = (levels - 8) / 17  # of 17 levels the middle one is at 1/2
    at_times = np.array([0.0, 3 / 14, 1 / 2]) + np.array([1.0, 5 / 7, 1.0]) * from_grey
    states = np.broadcast_to(at_times.T[:, :, None, None, None], (3, 2, 8, 8, 1))
    times = np.array([1.0, 4 / 7, 0.0], np.float32)
    path = Trajectory(states.astype(np.float32), times)
    space = PixelSpace((8, 8, 1), 17, centered=False, uniform_dequantization=True)
    found = write_path(Linear(), space, path, tmp_path / "drawn.npz")
    assert found["path"] == str(tmp_path / "drawn-path.npz")
    with np.load(found["path"]) as file:
        np.testing.assert_array_equal(file["states"], path.x)
        np.testing.assert_array_equal(file["times"], times)
    with Image.open(found["path_picture"]) as picture:
        pixels = np.asarray(picture)
    middles = [[(2 * i + 1) * n // (2 * m) for i in range(m)] for n, m in zip(pixels.shape, (2, 3))]
    np.testing.assert_array_equal(pixels[np.ix_(*middles)], np.round(levels * 255 / 16))
