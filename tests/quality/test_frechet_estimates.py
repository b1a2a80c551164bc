"""The Frechet distance against four programs, moments merged from parts, and error bars by repetition against closed forms."""

import numpy as np
import pytest

from score_sde.quality.frechet import (
    frechet,
    frechet_distance,
    frechet_estimate,
    frechet_limit,
    influence,
    transport,
)
from score_sde.quality.moments import Moments, moments, moments_of_parts

PROGRAMS = ("tf/fid_f64", "pytorch_fid/fid", "clean_fid/fid", "dgm_eval/fd")


@pytest.mark.parametrize("name", PROGRAMS)
def test_stored_features_have_the_distance_that_others_found(golden, name):
    """Some of them compute means in float32."""
    found = frechet_distance(golden["features_1"], golden["features_2"])
    assert found == pytest.approx(float(golden[name]), rel=1e-8 if name == "tf/fid_f64" else 1e-6)


def test_sets_of_many_sizes(golden):
    """Subsets of the first rows, including fewer images than features."""
    whole = moments(golden["features_2"])
    ends = np.cumsum(golden["fd_infinity_sizes"])
    rows = np.split(golden["features_1"][golden["fd_infinity_index"]], ends[:-1])
    found = [frechet(moments(part), whole) for part in rows]
    np.testing.assert_allclose(found, golden["fd_infinity_fds"], rtol=1e-6)


def test_fewer_images_than_features(golden):
    n = int(golden["rank_deficient/n"])
    found = frechet_distance(golden["features_1"][:n], golden["features_2"][:n])
    assert found == pytest.approx(float(golden["rank_deficient/tf_fid"]), rel=1e-5)


def test_moments_of_parts_are_those_of_the_whole():
    """With a mean a million times the spread, for which sums of squares would lose twelve of sixteen digits."""
    x = np.random.default_rng(0).normal(size=(101, 5)) + 1e6
    found = moments_of_parts(np.split(x, [1, 40, 41, 90]))
    assert found.count == 101
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(found.covariance, np.cov(x.T), rtol=1e-9, atol=1e-9)


def test_too_few():
    with pytest.raises(ValueError, match="at least one"):
        moments_of_parts(())
    with pytest.raises(ValueError, match="covariance of 1 images"):
        moments(np.ones((1, 3))).covariance  # noqa: B018


def test_transport_moves_one_covariance_onto_the_other():
    rng = np.random.default_rng(1)
    a, b = (moments(rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))) for _ in range(2))
    t = transport(a, b)
    np.testing.assert_allclose(t, t.T, atol=1e-10)
    np.testing.assert_allclose(t @ a.covariance @ t, b.covariance, rtol=1e-8, atol=1e-9)


def test_influence_is_the_derivative_in_the_weight_of_a_row():
    """Derivative of the distance with 1 + h times the weight on one row, by a central difference."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(25, 3)) @ rng.normal(size=(3, 3)) + 0.5
    b = moments(y)

    def of_weights(w):
        w = w / w.sum()
        mean = w @ x
        scatter = (x - mean).T @ ((x - mean) * w[:, None])
        return frechet(Moments(len(x), mean, scatter * (len(x) - 1)), b)

    plain = np.ones(len(x))
    law = Moments(len(x), x.mean(axis=0), moments(x).scatter * (len(x) - 1) / len(x))
    found, h = influence(x, law, b), 1e-5
    for row in (0, 7):
        step = h * (np.arange(len(x)) == row)
        slope = (of_weights(plain + step) - of_weights(plain - step)) / (2 * h)
        assert slope * len(x) == pytest.approx(found[row], rel=1e-6)


LAWS = {  # mean and standard deviations of the second law, beside N(0, I)
    "shifted": (np.array([0.5, 0.0, 0.0, 0.0]), np.ones(4)),
    "wider": (np.zeros(4), np.array([1.5, 1.2, 1.0, 0.6])),
    "both": (np.array([0.2, -0.1, 0.0, 0.3]), np.array([0.7, 1.1, 1.3, 1.0])),
}


@pytest.mark.parametrize(
    ("law", "n", "m"),
    [
        ("shifted", 500, 700),
        ("wider", 500, 700),
        ("both", 500, 700),
        pytest.param("both", 5000, 1000, marks=pytest.mark.slow),
    ],
)
def test_intervals_hold_the_true_distance(law, n, m):
    """|m|^2 + sum (s - 1)^2 lies in 91..98 % of 400 intervals of 95 %. A correct method fails in one of 400 tests."""
    mean, deviations = LAWS[law]
    truth = np.sum(mean**2) + np.sum((deviations - 1.0) ** 2)
    rng = np.random.default_rng(3)
    found = [
        frechet_limit(rng.normal(size=(n, 4)), mean + deviations * rng.normal(size=(m, 4)), rng)
        for _ in range(400)
    ]
    inside = [one.interval[0] < truth < one.interval[1] for one in found]
    assert 0.91 <= np.mean(inside) <= 0.98
    # The mean of 400 is within four of its own errors: what is left of the excess is of the next order.
    values = [one.value for one in found]
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(400)


def test_the_limit_takes_the_excess_away():
    """For equal distributions of 8 features, the distance of 400 images is too large by many errors, and the limit is not."""
    rng = np.random.default_rng(4)
    pairs = [rng.normal(size=(2, 400, 8)) for _ in range(50)]
    excess = np.array([frechet_estimate(*pair).value for pair in pairs])
    limits = np.array([frechet_limit(*pair, rng).value for pair in pairs])
    assert excess.mean() > 30 * excess.std() / np.sqrt(50)
    assert abs(limits.mean()) < 0.15 * excess.mean()
