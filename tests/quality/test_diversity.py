"""Mean distances of random disjoint pairs."""

import numpy as np
import pytest

from score_sde.quality import diversity
from score_sde.quality.diversity import mean_distance


def squared(a, b):
    assert len(a) == len(b) == diversity.BATCH  # the last are filled up
    return np.square(a - b).reshape(len(a))


def test_it_is_of_disjoint_pairs_of_all_images(monkeypatch):
    """E(x - y)^2 = 2 for variance 1, within four errors; each of 2,001 images is used at most once, and the error is that of independent
    pairs: sqrt(8 / pairs), to 10 % (four standard deviations for 1,000 squares)."""
    monkeypatch.setattr(diversity, "PAIRS", 1000)
    rng = np.random.default_rng(0)
    images, taken = rng.normal(size=2001), []

    def take(rows):
        taken.extend(rows)
        return images[rows]

    paired = []

    def noted(a, b):
        paired.extend([*a, *b])
        return squared(a, b)

    found = mean_distance(noted, take, 2001, rng, "pairs")
    assert len(set(taken)) == len(taken) == 2000
    assert len(set(paired)) == len(paired) == 2000
    assert found.error == pytest.approx(np.sqrt(8 / 1000), rel=0.2)
    assert abs(found.value - 2.0) < 4 * found.error


def test_every_pair_counts_once():
    """30 pairs in batches of 25 whose distances are 0, 1, 2, ...: the mean is 14.5."""
    numbers = iter(range(30))

    def distance(a, b):
        return np.array([next(numbers, np.nan) for _ in a])

    found = mean_distance(distance, lambda rows: rows, 60, np.random.default_rng(0), "pairs")
    assert found.value == pytest.approx(14.5)
