"""The Frechet distance of few images, as sampled during training or for each of several samplers."""

from __future__ import annotations

import numpy as np

from score_sde.quality.estimate import Estimate
from score_sde.quality.frechet import INDEPENDENT, frechet_estimate, frechet_limit
from score_sde.quality.strata import Strata, independent_count


def has_limit(n: int, m: int, dimension: int) -> bool:
    """Whether `frechet_limit` is reliable for n and m images with features of this dimension.

    It assumes that the excess of a distance is proportional to 1/n, which holds for n large compared with the dimension. If half of
    the images hardly span the space, the limit is too low: for normal distributions in 16 dimensions whose variances span a factor
    of 100, by more than a standard error with as many images as dimensions, half of one with twice as many and a tenth with four
    times as many (tests/quality/test_few_images.py).
    """
    return min(n, m) > 4 * dimension


def frechet_figures(
    x: np.ndarray,
    real: np.ndarray,
    seed: int,
    strata: tuple[Strata, Strata] = INDEPENDENT,
) -> dict[str, Estimate]:
    """`frechet`, and `frechet_limit` if it is reliable, of features (n, d) and (m, d).

    Args:
      x, real: features of the images and of the real ones.
      seed: seed for the random halves from which the limit is extrapolated.
      strata: those of x and of real.
    """
    found = {"frechet": frechet_estimate(x, real, strata)}
    if has_limit(independent_count(len(x), strata[0]), len(real), x.shape[1]):
        found["frechet_limit"] = frechet_limit(x, real, np.random.default_rng(seed), strata=strata)
    return found
