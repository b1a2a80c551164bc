"""Distances of few-step samplers on a mixture for models with known results: exact ones, and Euler's method in one step."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.scipy.special import ndtr
from scipy.special import ndtri

from benchmarks.few_steps import EPS, LAW, SDE, Euler, exact_score, levels, rows_of
from score_sde.evaluation.known_law import marginal_mixture, mixture_quantiles


class Straight(NamedTuple):
    """From each quantile of the noise straight to that of the law: lines that do not cross, and known at the levels."""

    noise: Array
    ends: Array

    def average_velocity(self, x, r, t):
        line = jnp.interp(
            x[:, 0], t[0] * self.noise + (1 - t[0]) * self.ends, self.noise - self.ends
        )
        return line[:, None]


class Exact(NamedTuple):
    """The law's quantile at the level that x has in the process's law at t."""

    quantiles: Array

    def consistency(self, x, t):
        weights, means, variances = (jnp.asarray(part, jnp.float32) for part in LAW)
        alpha, sigma = SDE.alpha(t[0]), SDE.sigma(t[0])
        spread = jnp.sqrt(alpha**2 * variances + sigma**2)
        below = ndtr((x - alpha * means[None]) / spread[None])
        level = jnp.sum(weights[None] * below, axis=1)
        return jnp.interp(level, jnp.asarray(levels(), jnp.float32), self.quantiles)[:, None]


def test_a_map_of_quantiles_is_at_no_distance():
    ends = mixture_quantiles(levels(), *LAW)
    model = Straight(*(jnp.asarray(part, jnp.float32) for part in (ndtri(levels()), ends)))
    for row in rows_of("straight", model, False):
        assert row.map < 1e-5
        assert row.law < 1e-5


def test_an_exact_consistency_function_is_as_near_as_samples():
    """One step is exact except for the remaining signal at T; with more steps new noise is drawn, so the ends are samples."""
    quantiles = mixture_quantiles(levels(), *marginal_mixture(SDE, EPS, *LAW))
    rows = rows_of("exact", Exact(jnp.asarray(quantiles, jnp.float32)), True)
    assert [row.map is None for row in rows] == [False, True, True]
    assert rows[0].map < 3e-3
    assert all(row.law < 0.02 for row in rows)


def test_eulers_one_step_ends_in_the_mean():
    """Noise is independent of the image, so the velocity at T is z - E x and the distance is the data's standard deviation. More steps
    are of first order."""
    weights, means, variances = LAW
    mean = weights @ means
    deviation = math.sqrt(weights @ (variances + np.square(means)) - mean**2)
    rows = rows_of("Euler", Euler(exact_score()), False)
    assert [row.steps for row in rows] == [1, 2, 4]
    for row in rows:
        assert row.map == pytest.approx(deviation / row.steps, rel=0.02)
        assert row.law == pytest.approx(row.map, rel=1e-4)
    assert rows[0].map == pytest.approx(deviation, rel=2e-4)
