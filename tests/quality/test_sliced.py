"""MIND against torch-fidelity and closed forms."""

import numpy as np
import pytest

from score_sde.quality.assessment import assess
from score_sde.quality.sliced import sliced_distance, unit_directions
from tests.quality.conftest import sets


def test_stored_features_have_the_distance_that_others_found(golden):
    """Theirs is computed in float32."""
    x, y = sets(golden)
    if len(x) > len(y):
        x = x[golden["mind_index_1"]]
    found = sliced_distance(x, y, golden["mind_directions"]).value
    assert found == pytest.approx(float(golden["mind_f64_check"]), rel=1e-9)
    assert found == pytest.approx(float(golden["tf/mind"]), rel=1e-4)


def test_of_a_shift():
    """Every projection is shifted by shift.u: 3 d times the mean of (shift.u)^2, whose expectation is |shift|^2 / d.

    Its error over n images is that of 3 |shift|^2 with an estimated shift: 6 |shift| sqrt(2 / n), up to the accuracy of a variance of
    400 numbers (4 standard deviations are 15 %; a correct method exceeds them once in 16,000)."""
    rng = np.random.default_rng(0)
    x, shift = rng.normal(size=(400, 6)), rng.normal(size=6)
    directions = unit_directions(6, rng, 4000)
    found = sliced_distance(x, x + shift, directions)
    assert found.value == pytest.approx(18 * np.mean((directions @ shift) ** 2))
    assert found.value == pytest.approx(3 * shift @ shift, rel=0.1)
    assert found.error == pytest.approx(6 * np.sqrt(shift @ shift * 2 / 400), rel=0.15)


def test_of_two_scales():
    """Projections are scaled about 0: the distance is 3 d (a - b)^2 times the mean square of a projection.

    In one dimension its error is 6 |a - b| times that of a - b, sqrt((a^2 + b^2) / 2n), within 4 standard deviations for 4,000 numbers."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 1))
    found = sliced_distance(1.5 * x, 0.5 * x, np.array([[1.0], [-1.0]]))
    assert found.value == pytest.approx(3 * np.mean(x**2))
    assert found.error == pytest.approx(6 * np.sqrt(2.5 / 8000), rel=0.12)


@pytest.mark.parametrize(
    ("shift", "scale", "n"),
    [(0.5, 1.0, 500), (0.3, 1.4, 1000), pytest.param(0.0, 0.7, 2000, marks=pytest.mark.slow)],
)
def test_intervals_hold_the_true_distance(shift, scale, n):
    """3 |shift|^2 + 3 d (scale - 1)^2 lies in 91..98 % of 200 intervals. A correct method fails in one of 130 tests."""
    rng = np.random.default_rng(3)
    truth = 3 * 4 * shift**2 + 3 * 4 * (scale - 1) ** 2
    found = [
        sliced_distance(
            rng.normal(size=(n, 4)), shift + scale * rng.normal(size=(n, 4)), unit_directions(4, rng, 100)
        )
        for _ in range(200)
    ]  # fmt: skip
    inside = [one.interval[0] < truth < one.interval[1] for one in found]
    assert 0.91 <= np.mean(inside) <= 0.98


def test_directions_are_of_length_one_and_every_way():
    directions = unit_directions(3, np.random.default_rng(2), 4000)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    # A component has mean 0 and variance 1/3: within 4 errors.
    assert np.abs(directions.mean(axis=0)).max() < 4 / np.sqrt(3 * 4000)


def test_the_larger_set_is_thinned_at_random():
    """Ten apart, two modes of 100 images each, and the same of 400 in order: of 200 chosen at random the share f in the wrong mode has the
    standard deviation .031, and the distance is 3 f 10^2 and a few hundredths, below 46 at 5 of them; of the first 200 it is 150."""
    rng = np.random.default_rng(4)
    modes = np.array([[0.0, 0.0], [10.0, 0.0]])
    x, real = (np.repeat(modes, n, axis=0) + rng.normal(size=(2 * n, 2)) for n in (100, 400))
    for first, second in ((x, real), (real, x)):
        assert assess(first, second, 3, 0).figures["mind"].value < 46


def test_sets_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="expected equally many"):
        sliced_distance(np.zeros((5, 2)), np.zeros((4, 2)), np.eye(2))
