"""The Inception score against torch-fidelity, and at its two extremes."""

import numpy as np
import pytest

from score_sde.quality.inception_score import inception_score


@pytest.mark.parametrize("shuffled", [True, False])
def test_stored_logits_have_the_scores_that_others_found(golden, shuffled):
    splits = 10 if len(golden["logits"]) == 500 else 5
    logits = golden["logits"][golden["isc_permutation"]] if shuffled else golden["logits"]
    for parts in (splits, 1):
        mean, spread = golden[f"tf/isc_splits{parts}_{'shuffled' if shuffled else 'in_order'}"]
        found = inception_score(logits, parts)
        assert found.value == pytest.approx(mean, rel=1e-6)
        if parts > 1:  # theirs is the population's deviation of the parts
            assert found.error * np.sqrt(parts - 1) == pytest.approx(spread, rel=1e-5)
        else:
            assert np.isnan(found.error)


def test_the_ends():
    """The number of classes for certain and balanced predictions, and 1 for uninformative ones."""
    certain = 200.0 * np.tile(np.eye(7), (4, 1))
    assert inception_score(certain, 4).value == pytest.approx(7)
    assert inception_score(np.zeros((20, 7)), 4).value == pytest.approx(1)


def test_parts_hold_all_images():
    """Of 11 images five and six, each certain to be of another class: 5 and 6, with the mean 5.5 and the error |6 - 5| / 2."""
    found = inception_score(200.0 * np.eye(11), 2)
    assert (found.value, found.error) == (pytest.approx(5.5), pytest.approx(0.5))


def test_intervals_hold_the_score_of_so_many():
    """In 91..98 % of 200: an error from ten parts needs Student's factor; with 1.96 coverage would be 91.8 %.

    The score of a part of 60 is known from 20,000 others, to a fiftieth of the error of ten. A correct method fails in one of 130 tests."""
    rng = np.random.default_rng(0)
    logits = 2.0 * rng.normal(size=(20_000, 60, 5))
    truth = inception_score(logits.reshape(-1, 5), 20_000)
    found = [inception_score(2.0 * rng.normal(size=(600, 5))) for _ in range(200)]
    assert truth.error < 0.03 * np.mean([one.error for one in found])
    inside = [one.interval[0] < truth.value < one.interval[1] for one in found]
    assert 0.91 <= np.mean(inside) <= 0.98
    assert {one.freedom for one in found} == {9}


@pytest.mark.parametrize("splits", [0, 6])
def test_more_parts_than_images_are_refused(splits):
    with pytest.raises(ValueError, match=f"of 5 images in {splits} parts"):
        inception_score(np.zeros((5, 3)), splits)
