"""Similarity of images on [0, 1]: PSNR and SSIM."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

# Wang et al. 2004, Sec. III-B and C: radius and standard deviation of the window in pixels, and the two constants.
RADIUS, STD = 5, 1.5
C1, C2 = 0.01**2, 0.03**2


def psnr(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio (n,) in dB, -10 log10 of the mean squared difference, of images (n, h, w, c)."""
    squares = np.square(np.asarray(x, np.float64) - y)
    with np.errstate(divide="ignore"):  # infinite for equal images
        return -10.0 * np.log10(squares.reshape(len(squares), -1).mean(axis=1))


def ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean structural similarity (n,) over positions and channels (Wang et al. 2004, Eq. 13), of images (n, h, w, c).

        (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2))

    with means, variances and covariance under a Gaussian window of 11 x 11 pixels, at all positions within the
    image. For smaller images the window is cropped to the largest odd side that fits.
    """
    x, y = (np.asarray(images, np.float64) for images in (x, y))
    radius = min(RADIUS, (min(x.shape[1:3]) - 1) // 2)
    window = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / STD))
    window /= window.sum()

    def mean(images: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            images = correlate1d(images, window, axis)
        return images[:, radius : -radius or None, radius : -radius or None]

    of_x, of_y = mean(x), mean(y)
    spreads = mean(x * x) - of_x**2 + mean(y * y) - of_y**2
    together = mean(x * y) - of_x * of_y
    found = (
        (2 * of_x * of_y + C1) * (2 * together + C2) / ((of_x**2 + of_y**2 + C1) * (spreads + C2))
    )
    return found.reshape(len(found), -1).mean(axis=1)
