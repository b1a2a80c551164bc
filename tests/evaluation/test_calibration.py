"""SBC and TARP: distributions known in closed form, and correct and wrong posteriors of Gaussian data."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import binom, norm

from score_sde.evaluation.affine_law import affine_law
from score_sde.evaluation.calibration import coverage_ranks, figures_of_images, ranks_among
from score_sde.evaluation.uniformity import uniformity
from score_sde.guidance.exact_posterior import exact_posterior
from score_sde.guidance.likelihood_score import dps
from score_sde.measurements.matrices import Matrix
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import GaussianScore
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import ancestral_forward
from score_sde.sde_lib import VP

N, DRAWS = 1000, 19


def test_ranks_by_hand():
    draws = np.array([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0], [0.0, 0.0, 0.0]])
    truth = np.array([1.5, 9.0, 0.0])
    rng = np.random.default_rng(0)
    got = np.stack([ranks_among(truth, draws, rng) for _ in range(300)])
    np.testing.assert_array_equal(got[:, :2], [[2, 3]] * 300)
    # Ties: each place with chance 1/4; one is missing of 300 once in 10^37.
    assert set(got[:, 2]) == {0, 1, 2, 3}
    far = coverage_ranks(truth[:, None], draws[..., None], np.full((3, 1), 6.1), rng)
    np.testing.assert_array_equal(far[:2], [1, 3])


def wide(ranks_of, c):
    """The share of ranks at most k for draws c times as wide as the posterior, a standard normal: the truth has this chance
    u(z) of being beyond a draw, and the rank given z is binomial."""

    z = np.linspace(-8.0, 8.0, 2001)[None]
    given = binom.cdf(np.arange(DRAWS)[:, None], DRAWS, ranks_of(z, c))
    return trapezoid(norm.pdf(z) * given, z, axis=1)


@pytest.mark.parametrize(
    ("reference", "below"),
    [
        (1e6, lambda z, c: norm.sf(z / c)),  # the distance falls with x
        (0.0, lambda z, c: 2 * norm.cdf(abs(z) / c) - 1),
    ],
)
@pytest.mark.parametrize("c", [1.0, 1.6])
def test_coverage_of_draws_that_are_too_wide(reference, below, c):
    """With 20,000 truths, within 4.9 standard errors at each of 19 levels: one false alarm in 50,000."""
    n, rng = 20_000, np.random.default_rng(3)
    truth, draws = rng.standard_normal((n, 1)), c * rng.standard_normal((n, DRAWS, 1))
    ranks = coverage_ranks(truth, draws, np.full((n, 1), reference), rng)
    expected = wide(below, c)
    found = uniformity(ranks, DRAWS)
    error = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(found.found - expected) < 4.9 * error).all()
    assert (found.p_value > 1e-3) == (c == 1.0)  # of uniform ranks .1 % are rejected so


def posterior_law(build, y):
    """Of the pair that is measured as y, by ancestral sampling: exactly, with no samples."""
    sde = VP()
    model = GaussianScore.create(jnp.zeros(2), jnp.array([[1.0, 0.8], [0.8, 1.0]]), sde)
    score = build(model, Measurement.of(Matrix.of([[1.0, 0.0]], (2,)), 0.5), sde)
    sampler = PredictorCorrector(sde, ancestral_forward, None)
    grid = log_snr_grid(sde, 1.0, 1e-3, 400)
    return affine_law(sampler, score, grid, (2,), {"measured": jnp.array([y])})


@pytest.mark.parametrize(("build", "calibrated"), [(exact_posterior, True), (dps, False)])
def test_the_oracle_is_calibrated_and_dps_is_not(x64, build, calibrated):
    """A thousand pairs and their measurements, 19 draws each of the sampler's exact law. Of the oracle's p-values, of four figures,
    one is below 1e-3 by chance once in 250 seeds; those of DPS are as small as they can be."""
    rng = np.random.default_rng(5)
    at_zero, at_one = posterior_law(build, 0.0), posterior_law(build, 1.0)
    x = rng.multivariate_normal(np.zeros(2), [[1.0, 0.8], [0.8, 1.0]], N)
    y = x[:, 0] + 0.5 * rng.standard_normal(N)
    means = at_zero.mean + (at_one.mean - at_zero.mean) * y[:, None]  # affine in y
    draws = means[:, None] + rng.multivariate_normal(np.zeros(2), at_one.covariance, (N, DRAWS))
    assert figures_of_images(x, 0)["mean"] == pytest.approx(x.mean(axis=1))
    figures = {"first": (x[:, 0], draws[..., 0]), "second": (x[:, 1], draws[..., 1])}
    figures["residual"] = (
        np.abs(y - figures["first"][0]),
        np.abs(y[:, None] - figures["first"][1]),
    )
    p_values = {
        name: uniformity(ranks_among(*of, rng), DRAWS).p_value for name, of in figures.items()
    }
    references = np.stack([y, y], axis=1)
    ranks = coverage_ranks(x, draws, references, rng)
    p_values["coverage"] = uniformity(ranks, DRAWS).p_value
    if calibrated:
        assert min(p_values.values()) > 1e-3, p_values
    else:
        assert max(p_values.values()) < 3e-4, p_values


def test_draws_of_the_prior_are_found_out_by_what_depends_on_the_measurement():
    """Their ranks are uniform in statistics of x alone, but not in the residual or with references that depend on the measurement."""
    rng = np.random.default_rng(6)
    x, draws = rng.standard_normal((N, 1)), rng.standard_normal((N, DRAWS, 1))
    y = x + 0.3 * rng.standard_normal((N, 1))
    alone = uniformity(ranks_among(x[:, 0], draws[..., 0], rng), DRAWS).p_value
    blind = uniformity(coverage_ranks(x, draws, np.roll(x, 1, axis=0), rng), DRAWS).p_value
    assert min(alone, blind) > 1e-3
    assert uniformity(coverage_ranks(x, draws, y, rng), DRAWS).p_value < 3e-4


def test_projections_are_of_one_length_and_the_seeds():
    """Of N(0, I) each has variance 1; of 4,000 within 4.9 errors, one false alarm in 150,000."""
    x = np.random.default_rng(0).standard_normal((4000, 5, 9))
    found = figures_of_images(x, 1)
    assert len(found) == 7
    for name, of in found.items():
        assert of.shape == (4000, 5)
        variance = 1 / 9 if name == "mean" else 1.0
        assert of.var() == pytest.approx(variance, rel=4.9 * np.sqrt(2 / 20_000))
    again, other = (figures_of_images(x, seed)["projection 1"] for seed in (1, 2))
    np.testing.assert_array_equal(found["projection 1"], again)
    assert np.abs(other - again).max() > 0.1
