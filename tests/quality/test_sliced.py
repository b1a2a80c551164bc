"""MIND beside torch-fidelity, and its closed forms."""

import numpy as np
import pytest

from score_sde.quality.sliced import sliced_distance, unit_directions
from tests.quality.conftest import sets


def test_stored_features_have_the_distance_that_others_found(golden):
    """Theirs is in float32."""
    x, y = sets(golden)
    if len(x) > len(y):
        x = x[golden["mind_index_1"]]
    found = sliced_distance(x, y, golden["mind_directions"]).value
    assert found == pytest.approx(float(golden["mind_f64_check"]), rel=1e-9)
    assert found == pytest.approx(float(golden["tf/mind"]), rel=1e-4)


def test_of_a_shift():
    """Every projection is shifted by shift.u, so that it is 3 d |shift|^2 / d within the error over directions."""
    rng = np.random.default_rng(0)
    x, shift = rng.normal(size=(50, 6)), rng.normal(size=6)
    found = sliced_distance(x, x + shift, unit_directions(6, rng))
    assert abs(found.value - 3 * shift @ shift) < 4 * found.error


def test_of_two_scales():
    """Projections are scaled about 0: 3 d (a - b)^2 times the mean square of a projection."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5))
    found = sliced_distance(1.5 * x, 0.5 * x, unit_directions(5, rng))
    assert abs(found.value - 3 * np.mean(np.sum(x**2, axis=1))) < 4 * found.error


def test_directions_are_of_length_one_and_every_way():
    directions = unit_directions(3, np.random.default_rng(2), 4000)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    # A component has mean 0 and variance 1/3: within 4 errors.
    assert np.abs(directions.mean(axis=0)).max() < 4 / np.sqrt(3 * 4000)


def test_sets_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="expected equally many"):
        sliced_distance(np.zeros((5, 2)), np.zeros((4, 2)), np.eye(2))
