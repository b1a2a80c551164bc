"""The largest distance against SciPy's over all pairs, and for large numbers of points."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from score_sde.evaluation.largest_distance import BLOCK, affordable, largest_distance


@pytest.mark.parametrize("n", [1, 7, BLOCK + 3])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_against_all_pairs(n, offset):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 12)) + offset, rng.normal(size=(5, 12)) + offset
    assert largest_distance(x, y) == pytest.approx(cdist(x, y).max(), rel=1e-9)
    assert largest_distance(x, x) == pytest.approx(cdist(x, x).max(), rel=1e-9)


def test_wherever_the_two_are():
    """Opposite corners of a 200-dimensional cube, among 600 points inside it."""
    for i, j in ((0, 599), (599, 0), (255, 256), (300, 301)):
        points = np.random.default_rng(0).uniform(0.2, 0.8, (600, 200))
        points[i], points[j] = 0.0, 1.0
        assert largest_distance(points, points) == pytest.approx(np.sqrt(200))


def test_as_many_points_as_products_and_memory_allow():
    assert affordable(100, 10, 10**6, 10**9) == 100
    assert affordable(1000, 10, 10**6, 10**9) == 316  # 316^2 10 < 10^6 < 317^2 10
    assert affordable(1000, 10, 10**9, 2000) == 200
    assert affordable(1000, 10**6, 10, 10) == 2
