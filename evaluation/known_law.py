"""Distributions known in closed form: the distance of samples from them, and the exact map of the probability flow."""

from __future__ import annotations

import math
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from score_sde.sde_lib import SDE


def mixture_cdf(
    x: np.ndarray, weights: Iterable[float], means: Iterable[float], variances: Iterable[float]
) -> np.ndarray:
    """The distribution function of the 1-D mixture sum_k w_k N(mean_k, variance_k)."""
    parts = (
        weight * ndtr((x - mean) / math.sqrt(variance))
        for weight, mean, variance in zip(weights, means, variances, strict=True)
    )
    return np.sum(list(parts), axis=0)


def ks_distance(sorted_cdf: np.ndarray) -> float:
    """sup |F_n - F|, from F at the n sorted samples."""
    n = len(sorted_cdf)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - sorted_cdf).max(), (sorted_cdf - steps[:-1]).max()))


def dkw_band(n: int, false_alarm: float = 1e-6) -> float:
    """Upper bound of the KS distance of n independent samples from their own distribution, exceeded with this probability.

    sqrt(ln(2/alpha) / (2n)): Dvoretzky, Kiefer and Wolfowitz (1956) with Massart's constant (1990).
    """
    return math.sqrt(math.log(2.0 / false_alarm) / (2.0 * n))


def ks_of_true_samples(n: int) -> float:
    """Mean KS distance of n independent samples from their own distribution: sqrt(pi/2) ln 2 / sqrt(n), for large n.

    This is the mean of Kolmogorov's distribution (1933); distances of this size are indistinguishable from 0.
    """
    return math.sqrt(math.pi / 2.0) * math.log(2.0) / math.sqrt(n)


def marginal_mixture(
    sde: SDE, t: float, weights: np.ndarray, means: np.ndarray, variances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances (k,) of the marginal at time t, for mixture data with these parameters."""
    alpha, sigma = (float(f(jnp.asarray(t))) for f in (sde.alpha, sde.sigma))
    return weights, alpha * means, alpha**2 * variances + sigma**2


def mixture_quantiles(
    levels: np.ndarray, weights: np.ndarray, means: np.ndarray, variances: np.ndarray
) -> np.ndarray:
    """Quantiles (n,) of a 1-D mixture at these levels (n,) in (0, 1).

    In one dimension the probability flow preserves the order of points, so it maps the quantiles of the marginal at one
    time to those at another: the flow is known exactly, for any process.
    """
    from scipy.optimize import brentq  # takes half a second to import

    reach = -ndtri(min(levels.min(), 1.0 - levels.max()) / 2.0) * np.sqrt(variances)
    low, high = (means - reach).min(), (means + reach).max()

    def quantile(level: float) -> float:
        def above(x: float) -> float:
            return float(mixture_cdf(np.asarray(x), weights, means, variances)) - level

        return brentq(above, low, high, xtol=1e-14)

    return np.array([quantile(level) for level in levels])
