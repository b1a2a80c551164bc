"""The Frechet distance between Gaussians fitted to two sets of images."""

from __future__ import annotations

import numpy as np


def fitted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and unbiased covariance (d, d) of images (n, ...) as vectors of d pixels, float64."""
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    return flat.mean(axis=0), np.cov(flat, rowvar=False, ddof=1).reshape(flat.shape[1], -1)


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), in squared units of a pixel (Dowson and Landau 1982).

    It is the squared 2-Wasserstein distance of the two Gaussians, here in pixel space; FID is the same of a
    network's features. Finite sets of one law have a positive distance, which falls as 1/n.

    Args:
      x, y: images (n, ...) and (m, ...) of one shape; n and m at least 2.

    Raises:
      ValueError: images of other shapes, or too few.
    """
    if x.shape[1:] != y.shape[1:] or min(len(x), len(y)) < 2:
        raise ValueError(
            f"sets of images {x.shape} and {y.shape}: expected one shape of image, and at least two of each"
        )
    (mean_x, cov_x), (mean_y, cov_y) = fitted(x), fitted(y)
    # C_x C_y has the eigenvalues of the symmetric root(C_x) C_y root(C_x); pixels that never change make both singular.
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    products = np.linalg.eigvalsh(root @ cov_y @ root)
    mixed = np.sum(np.sqrt(np.maximum(products, 0.0)))
    apart = np.sum(np.square(mean_x - mean_y))
    return float(apart + np.trace(cov_x) + np.trace(cov_y) - 2.0 * mixed)
