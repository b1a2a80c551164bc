"""The number of images from which the limit of infinitely many is given: its bias is then below its error."""

import numpy as np
import pytest

from score_sde.quality.assessment import assess
from score_sde.quality.few_images import frechet_figures, has_limit
from score_sde.quality.frechet import frechet_distance

D = 16
SPREAD = np.geomspace(1.0, 0.1, D)  # standard deviations: variances fall by 100
SHIFT, SCALE = 0.025, 1.15
# The squared 2-Wasserstein distance of the two normal laws.
TRUTH = D * SHIFT**2 + (SCALE - 1) ** 2 * np.sum(SPREAD**2)


def limits(n, repeats):
    """Value and error of each of so many repetitions."""
    rng = np.random.default_rng(0)
    for seed in range(repeats):
        x = rng.standard_normal((n, D)) * SPREAD
        y = rng.standard_normal((20 * D, D)) * SPREAD * SCALE + SHIFT
        yield frechet_figures(x, y, seed)


def test_the_bias_of_the_limit_is_below_its_error_where_it_is_given(monkeypatch):
    """By averages of 100, accurate to a tenth of the error; the seeds are fixed. With 2 D images it is half the error, as the note says."""
    bias = {}
    monkeypatch.setattr("score_sde.quality.few_images.has_limit", lambda *_: True)
    for n in (D, 2 * D, 4 * D + 1):
        found = [figures["frechet_limit"] for figures in limits(n, 100)]
        error = np.mean([one.error for one in found])
        bias[n] = (np.mean([one.value for one in found]) - TRUTH) / error
    assert abs(bias[4 * D + 1]) < 0.5
    assert bias[D] < -0.7
    assert -0.8 < bias[2 * D] < -0.2
    x, y = np.random.default_rng(1).standard_normal((2, 2 * D, D))
    (note,) = assess(x, y, 5, 0).notes
    assert "half of one with twice as many" in note


@pytest.mark.parametrize(("n", "m"), [(4 * D, 500), (500, 4 * D), (4 * D + 1, 4 * D + 1)])
def test_the_limit_takes_enough_of_both(n, m):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((n, D)), rng.standard_normal((m, D))
    found = frechet_figures(x, y, 0)
    assert found["frechet"].value == frechet_distance(x, y)
    assert ("frechet_limit" in found) == has_limit(n, m, D) == (min(n, m) > 4 * D)
    assert frechet_figures(x, y, 0) == found
    (*notes,) = assess(x, y, 5, 0).notes
    assert (
        notes == [] if has_limit(n, m, D) else "more than 64 images of each are needed" in notes[0]
    )
