"""Mean distances of random disjoint pairs."""

import numpy as np
import pytest

from score_sde.configs.subvp_digits import get_config as digits_config
from score_sde.features.extractors import Extractor, Features
from score_sde.modes import evaluate
from score_sde.modes.evaluated_samples import Evaluated
from score_sde.quality import diversity
from score_sde.quality.diversity import mean_distance
from score_sde.quality.image_sets import ImageSet
from score_sde.quality.reference import Reference


def squared(a, b):
    assert len(a) == len(b) == diversity.BATCH  # the last are filled up
    return np.square(a - b).reshape(len(a))


def test_it_is_of_disjoint_pairs_of_all_images(monkeypatch):
    """E(x - y)^2 = 2 for variance 1, within four errors; of 2,001 images each is taken once at most, and the error is that of independent
    pairs: sqrt(8 / pairs), to 24 %, four deviations: those of a squared normal have the kurtosis 15, and a standard deviation of 1,000 of them
    deviates by sqrt(14 / 1000) / 2."""
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
    assert found.error == pytest.approx(np.sqrt(8 / 1000), rel=0.24)
    assert abs(found.value - 2.0) < 4 * found.error


def test_every_pair_counts_once():
    """30 pairs in batches of 25 whose distances are 0, 1, 2, ...: the mean is 14.5."""
    numbers = iter(range(30))

    def distance(a, b):
        return np.array([next(numbers, np.nan) for _ in a])

    found = mean_distance(distance, lambda rows: rows, 60, np.random.default_rng(0), "pairs")
    assert found.value == pytest.approx(14.5)


def test_pairs_are_drawn_whatever_the_order_of_the_images():
    """Ten classes in turn, of ten images each: two images differ in class with probability 90 / 99, and 50 pairs have that mean within
    5 errors of sqrt(.909 .091 / 50)."""
    classes = np.arange(100) % 10
    found = mean_distance(
        lambda a, b: (a != b).astype(float),
        lambda rows: classes[rows],
        100,
        np.random.default_rng(0),
        "pairs",
    )
    assert found.value == pytest.approx(90 / 99, abs=0.2)


def test_distances_of_pairs_are_of_the_images_and_of_the_real_ones():
    """Of equal images 0; of real ones, each white in one other pixel of four, two of four in every pair."""

    def of(images):
        return ImageSet(len(images), lambda rows: images[rows], lambda: None)

    def distance(a, b):
        return np.abs(a - b).mean(axis=(1, 2, 3))

    extractor = Extractor({}, 4, None, distance)
    one, each = np.ones((6, 2, 2, 1)), np.eye(4).reshape(4, 2, 2, 1)
    images = Evaluated(of(one), Features(np.zeros((6, 4)), None), {})
    reference = Reference(4, None, of(each), None, None)
    found = evaluate.other_figures(digits_config(), extractor, images, reference, None)
    assert (found["lpips"].value, found["lpips_real"].value) == (0.0, 0.5)
