"""PSNR and SSIM against scikit-image's numbers and closed forms."""

import numpy as np
import pytest

from score_sde.evaluation.similarity import psnr, ssim

# skimage.metrics 0.26.0, structural_similarity(x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1,
# channel_axis=2) and peak_signal_noise_ratio(x, y, data_range=1) of `waves`.
GOLDEN = {
    (16, 20, 1): (0.6911346211916428, 13.470943703051045),
    (24, 13, 3): (0.8103791646015038, 15.572283576275458),
}


def waves(shape):
    i, j, c = np.meshgrid(*map(np.arange, shape), indexing="ij")
    x = 0.5 + 0.4 * np.sin(0.9 * i + 0.4 * j + c)
    y = 0.5 + 0.35 * np.sin(0.9 * i + 0.45 * j + c + 0.3)
    return x, y


@pytest.mark.parametrize("shape", GOLDEN)
def test_scikit_image_finds_the_same(shape):
    x, y = (np.stack([image, image[::-1]]) for image in waves(shape))
    similarity, ratio = GOLDEN[shape]
    np.testing.assert_allclose(ssim(x, y), similarity, rtol=1e-9)
    np.testing.assert_allclose(psnr(x, y), ratio, rtol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 8, 11, 12])
def test_of_even_grey_only_the_means_differ(side):
    """SSIM is (2 a b + C1) / (a^2 + b^2 + C1), and PSNR is 20 dB for a difference of 0.1, also for images smaller than the window."""
    x, y = (np.full((1, side, side, 1), grey) for grey in (0.3, 0.4))
    assert ssim(x, y)[0] == pytest.approx((0.24 + 1e-4) / (0.25 + 1e-4), rel=1e-9)
    assert psnr(x, y)[0] == pytest.approx(20.0)


def test_of_stripes_upside_down():
    """Means are equal and covariance is minus the variance: (C2 - 2 s^2) / (C2 + 2 s^2), of stripes one pixel wide. With the
    weights w of seven pixels the mean is 1/2 +- d/2, d the sum of w with alternating sign."""
    weights = np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2)
    weights /= weights.sum()
    d = weights[1::2].sum() - weights[::2].sum()
    x = np.zeros((1, 7, 7, 1))
    x[:, ::2] = 1.0
    a, b = (1 - d) / 2, (1 + d) / 2
    variance = a * b
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4) * (9e-4 - 2 * variance) / (9e-4 + 2 * variance)  # fmt: skip
    assert ssim(x, 1 - x)[0] == pytest.approx(expected, rel=1e-9)


def test_equal_images():
    x = waves((16, 20, 1))[0][None]
    assert (ssim(x, x)[0], psnr(x, x)[0]) == (pytest.approx(1.0), np.inf)
