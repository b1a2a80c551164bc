"""KID against torch-fidelity and clean-fid, against its closed form, and its error by repetition."""

import numpy as np
import pytest

from score_sde.quality.kernel_distance import BLOCK, kernel_distance, squared_discrepancy
from tests.quality.conftest import sets


def test_stored_subsets_have_the_values_that_others_found(golden):
    x, y = sets(golden)
    pairs = zip(golden["kid_index_1"], golden["kid_index_2"], strict=True)
    found = [squared_discrepancy(x[i], y[j]) for i, j in pairs]
    # Theirs are in float32, and the same recomputed in float64.
    np.testing.assert_allclose(found, golden["tf/kid_subset_values"], rtol=1e-4, atol=1e-5)
    assert np.mean(found) == pytest.approx(float(golden["tf/kid_mean_f64"]), rel=1e-6)
    pairs = zip(
        golden["clean_fid/kid_index_feats1"], golden["clean_fid/kid_index_feats2"], strict=True
    )
    found = [squared_discrepancy(x[i], y[j]) for i, j in pairs]
    assert np.mean(found) == pytest.approx(float(golden["clean_fid/kid"]), rel=1e-4)


def test_all_features_at_once(golden):
    x, y = sets(golden)
    n = min(len(x), len(y))
    found = squared_discrepancy(x[:n], y[:n])
    assert found == pytest.approx(float(golden["tf/mmd2_full_unbiased"]), rel=1e-6)


D = 8


def moment(mean, deviation):
    """E (x.x' / D + 1)^3 of independent draws of two normal laws of D like features.

    Cumulants of a sum of independent terms add: those of the product of two normal numbers follow from its first three moments.
    """
    (m, n), (s, t) = mean, deviation
    first, second = m * n, (m**2 + s**2) * (n**2 + t**2)
    third = (m**3 + 3 * m * s**2) * (n**3 + 3 * n * t**2)
    variance, skew = second - first**2, third - 3 * first * second + 2 * first**3
    center = first + 1
    return center**3 + 3 * center * variance / D + skew / D**2


@pytest.mark.parametrize(
    ("law", "n", "m"),
    [
        ((0.0, 1.0), 1000, 800), ((0.2, 1.2), 1000, 800), ((0.3, 1.0), 500, 700), ((0.2, 0.8), 500, 200),
        pytest.param((0.2, 0.8), 5000, 2000, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_intervals_hold_the_true_distance(law, n, m):
    """In 91..98 % of 400, also for equal distributions, with ten blocks, whose spread has 9 degrees of freedom.

    Among 800 others coverage was 93 to 96 %, and 90 to 94 % with 1.96 errors: at 94 % one test in 150 fails.
    """
    mean, deviation = law
    truth = (
        moment((0, 0), (1, 1)) + moment((mean, mean), (deviation, deviation))
        - 2 * moment((0, mean), (1, deviation))
    )  # fmt: skip
    rng = np.random.default_rng(0)
    found = [
        kernel_distance(rng.normal(size=(n, D)), mean + deviation * rng.normal(size=(m, D)), rng)
        for _ in range(400)
    ]
    inside = [one.interval[0] < truth < one.interval[1] for one in found]
    assert {one.freedom for one in found} == {9}
    assert 0.91 <= np.mean(inside) <= 0.98
    values = [one.value for one in found]
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(400)


def test_too_few_images():
    with pytest.raises(ValueError, match="19 and 50 images: KID with its error needs 20 of each"):
        kernel_distance(np.ones((19, 2)), np.ones((50, 2)), np.random.default_rng(0))


def test_blocks_of_a_much_larger_set_are_no_larger_than_others(monkeypatch):
    """Whatever the size of the set, so that the kernel matrix of a block fits into memory."""
    seen = []
    monkeypatch.setattr(
        "score_sde.quality.kernel_distance.squared_discrepancy",
        lambda x, y: float(seen.append((len(x), len(y))) or 0.0),
    )
    kernel_distance(np.ones((200, 1)), np.ones((25_000, 1)), np.random.default_rng(0))
    assert seen == [(20, BLOCK)] * 10
