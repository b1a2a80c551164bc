"""The Frechet distance of few images, as they are drawn while a network trains or for a list of samplers."""

from __future__ import annotations

import numpy as np

from score_sde.quality.estimate import Estimate
from score_sde.quality.frechet import INDEPENDENT, frechet_estimate, frechet_limit
from score_sde.quality.strata import Strata


def has_limit(n: int, m: int, dimension: int) -> bool:
    """Whether `frechet_limit` is one of n images beside m, by features of so many dimensions.

    It takes the excess of a distance for proportional to 1/n, which is true of n that are large beside the dimension. Where half of the
    images hardly span it the limit is too low: of normal laws in 16 dimensions whose variances fall by 100, by more than
    a standard error with as many images as dimensions, half of one with twice as many and a tenth with four times as many
    (tests/quality/test_few_images.py).
    """
    return min(n, m) > 4 * dimension


def frechet_figures(
    x: np.ndarray,
    real: np.ndarray,
    seed: int,
    strata: tuple[Strata, Strata] = INDEPENDENT,
) -> dict[str, Estimate]:
    """`frechet`, and where there is one `frechet_limit`, of features (n, d) beside (m, d).

    Args:
      seed: deals images into the halves of the limit.
      strata: of either set.
    """
    found = {"frechet": frechet_estimate(x, real, strata)}
    if has_limit(len(x), len(real), x.shape[1]):
        found["frechet_limit"] = frechet_limit(x, real, np.random.default_rng(seed), strata=strata)
    return found
