"""Precision, recall, density and coverage against torch-fidelity and prdc, not interchanged; nearest neighbors."""

import numpy as np
import pytest

from score_sde.quality import neighbours
from score_sde.quality.assessment import assess
from score_sde.quality.neighbours import nearest, neighbourhood, squared_radii
from tests.quality.conftest import sets


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that sets come in several."""
    monkeypatch.setattr(neighbours, "BLOCK", 128)


@pytest.mark.parametrize(("where", "k"), [("prdc", "prdc_k"), ("prdc_at_prc_k", "prc_k")])
def test_stored_features_have_the_shares_that_prdc_found(golden, where, k):
    found = neighbourhood(*sets(golden), int(golden[k]))
    for name, estimate in found.figures.items():
        assert estimate.value == pytest.approx(float(golden[f"{where}/{name}"]), abs=1e-12)


def test_precision_and_recall_are_torch_fidelitys(golden):
    """Theirs are computed in float32."""
    found = neighbourhood(*sets(golden), int(golden["prc_k"]))
    assert found.precision.value == pytest.approx(float(golden["tf/precision"]), abs=1e-7)
    assert found.recall.value == pytest.approx(float(golden["tf/recall"]), abs=1e-7)


def test_a_missing_half_costs_recall_and_a_wrong_half_costs_precision():
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(2, 300, 2)), rng.normal(size=(300, 2)) + 50.0
    missing = neighbourhood(near[0], np.concatenate([near[1], far]))
    assert missing.recall.value < 0.51
    assert missing.precision.value > 0.9
    wrong = neighbourhood(np.concatenate([near[0], far]), near[1])
    assert wrong.precision.value < 0.51
    assert wrong.recall.value > 0.9


def test_density_of_equal_laws_is_one():
    """Its error over the samples is that of a mean of n values."""
    rng = np.random.default_rng(1)
    found = neighbourhood(rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3)))
    assert found.density.value == pytest.approx(1.0, abs=4 * found.density.error)
    share = found.precision.value
    assert found.precision.error == pytest.approx(np.sqrt(share * (1 - share) / 1999))


def test_the_edge_of_a_ball_is_within_and_told():
    """On a line, first neighbours of 0, 10 and 11 are 10, 1 and 1 away: 12 and -10 are each on one edge, 12.25 within none, 5 within that of 0."""
    real = np.array([[0.0], [10.0], [11.0]])
    found = neighbourhood(np.array([[12.0], [-10.0], [12.25], [5.0]]), real, 1)
    assert (found.on_edge, found.precision.value) == (0.5, 0.75)
    assert neighbourhood(np.array([[12.25], [5.0]]), real, 1).on_edge == 0.0


def test_ties_are_noted():
    """Images of two levels, whose distances are the square roots of integers, unlike those of real numbers."""
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2, size=(2, 100, 8)).astype(float)
    assert any("on the edge" in note for note in assess(*bits, 5, 0).notes)
    normal = rng.normal(size=(2, 100, 8))
    assert not any("on the edge" in note for note in assess(*normal, 5, 0).notes)


@pytest.mark.slow
def test_errors_are_those_for_fixed_balls():
    """Where both sets are redrawn, density and coverage scatter about twice as much with 300 balls around real images; recall, with 1,000 balls
    around samples, does not."""
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sets = rng.normal(size=(1000, 8)), rng.normal(size=(300, 8))
        found.append(neighbourhood(*sets).figures)
    scatter = {
        name: np.std([one[name].value for one in found], ddof=1)
        / np.mean([one[name].error for one in found])
        for name in found[0]
    }
    assert scatter["density"] > 1.7
    assert scatter["coverage"] > 1.7
    assert 0.72 < scatter["recall"] < 1.28  # to 4 errors of a deviation of 100


def test_nearest_is_exact_far_from_the_origin():
    """The squares would cancel, so the distance is computed from the difference."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=(200, 4)) + 1e5
    x = y[[5, 150]] + np.array([[0.0], [1e-3]])
    found = nearest(x, y)
    np.testing.assert_array_equal(found.row, [5, 150])
    np.testing.assert_allclose(found.distance, [0.0, 2e-3], rtol=1e-6)


def test_no_such_neighbour():
    with pytest.raises(ValueError, match="neighbour number 5 of 5 images"):
        squared_radii(np.zeros((5, 2)), 5)
