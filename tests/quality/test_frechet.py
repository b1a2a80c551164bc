"""The Frechet distance against optimal transport: a symmetric positive linear map is optimal for Gaussians."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from score_sde.quality.frechet import frechet_distance


def test_distance_to_a_linear_image():
    """y = A x + b with A symmetric and positive is the optimal map (Brenier), so the distance is E|x - y|^2."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 6))
    x = rng.normal(size=(50, 6)) @ a
    stretch = b @ b.T / 6
    y = x @ stretch + rng.normal(size=6)
    # E|x - y|^2 of laws with these covariances, which divide by n - 1, and these means
    apart = x - y
    cost = apart.var(axis=0, ddof=1).sum() + np.square(apart.mean(axis=0)).sum()
    shape = (50, 2, 3, 1)
    assert frechet_distance(x.reshape(shape), y.reshape(shape)) == pytest.approx(cost, rel=1e-9)


def test_distance_is_that_of_scipys_root():
    """Covariances without common eigenvectors, and pixels that neither of them uses."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5)) + 0.3
    covariances = np.cov(x.T), np.cov(y.T)
    root = sqrtm(covariances[0] @ covariances[1])
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(sum(covariances) - 2 * root.real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    still = np.zeros((40, 3)), np.zeros((30, 3))
    padded = (np.hstack(pair) for pair in zip((x, y), still, strict=True))
    assert frechet_distance(*padded) == pytest.approx(expected, rel=1e-6)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape of image, and at least two of each"):
        frechet_distance(np.zeros((4, 8, 8, 1)), np.zeros((4, 64)))
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))
