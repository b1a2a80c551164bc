"""The Frechet distance to a distribution known only by mean and covariance, as published by other programs."""

import numpy as np
import pytest

from score_sde.errors import UserError
from score_sde.quality.assessment import assess_beside_law
from score_sde.quality.frechet import frechet_distance, frechet_limit_to, frechet_to
from score_sde.quality.moments import moments
from score_sde.quality.statistics_files import Law


def test_it_is_the_distance_to_a_set_of_these_moments():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(80, 5)) * 1.5 + 0.3
    law = Law(y.mean(axis=0), np.cov(y.T))
    assert frechet_to(x, law).value == pytest.approx(frechet_distance(x, y), rel=1e-10)
    assert frechet_to(x, moments(y)).value == pytest.approx(frechet_distance(x, y), rel=1e-10)


@pytest.mark.parametrize("n", [500, 4000])
def test_intervals_hold_the_true_distance(n):
    """|m|^2 + sum (s - 1)^2 for diagonal covariances lies in 91..98 % of 400 intervals of 95 %, whose error is that of the samples alone. A
    correct method fails in one of 400 tests."""
    mean, deviations = np.array([0.2, -0.1, 0.0, 0.3]), np.array([0.7, 1.1, 1.3, 1.0])
    law, rng = Law(np.zeros(4), np.eye(4)), np.random.default_rng(1)
    truth = np.sum(mean**2) + np.sum((deviations - 1.0) ** 2)
    found = np.array(
        [
            frechet_limit_to(mean + deviations * rng.normal(size=(n, 4)), law, rng)
            for _ in range(400)
        ]
    )
    inside = np.abs(found[:, 0] - truth) < 1.96 * found[:, 1]
    assert 0.91 <= inside.mean() <= 0.98
    # The mean of 400 is within four of its own errors.
    assert abs(found[:, 0].mean() - truth) < 4 * found[:, 0].std() / np.sqrt(400)


def test_what_is_said_beside_a_law():
    rng = np.random.default_rng(2)
    found = assess_beside_law(rng.normal(size=(30, 40)), Law(np.zeros(40), np.eye(40)), 0)
    assert set(found.figures) == {"frechet", "frechet_limit"}
    assert "a mean and a covariance" in found.notes[0]
    assert "30 images in 40 dimensions" in found.notes[2]
    assert (
        "30 images in 40 dimensions: the distance of infinitely many is too low" in found.notes[3]
    )
    with pytest.raises(UserError, match="19 images: an error needs 20"):
        assess_beside_law(rng.normal(size=(19, 4)), Law(np.zeros(4), np.eye(4)), 0)


def test_the_limit_of_few_images_is_too_low_and_said_to_be():
    """For equal distributions, with distance 0: with as many images as dimensions the limit is too low by more than half its error on
    average over 100 sets; with more than four times as many by less than half, and no warning is given."""
    d, rng = 16, np.random.default_rng(3)
    spread = np.geomspace(1.0, 0.1, d)
    law = Law(np.zeros(d), np.diag(spread**2))
    for n, noted in ((d + 4, True), (4 * d, True), (4 * d + 1, False)):
        found = [assess_beside_law(rng.normal(size=(n, d)) * spread, law, k) for k in range(100)]
        limits = np.array([one.figures["frechet_limit"][:2] for one in found])
        bias = limits[:, 0].mean() / limits[:, 1].mean()
        assert (bias < -0.5) if n < 2 * d else (abs(bias) < 0.5)
        said = f"{n} images in {d} dimensions: the distance of infinitely many is too low"
        assert all(any(said in note for note in one.notes) == noted for one in found)
