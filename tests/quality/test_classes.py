"""The figures of each class, for its own images, and refused if it has too few."""

import numpy as np
import pytest

from score_sde.errors import UserError
from score_sde.quality.assessment import assess
from score_sde.quality.classes import assess_classes, check_classes

RNG = np.random.default_rng(0)
LABELS, REAL = np.arange(120) % 3, np.arange(150) % 3


def test_each_is_of_its_own_images():
    x, real = RNG.normal(size=(120, 2)), RNG.normal(size=(150, 2))
    found = assess_classes(x, LABELS, real, REAL, (0, 2), 5, 1)
    assert list(found) == [0, 2]
    assert found[2] == assess(x[2::3], real[2::3], 5, 1)


@pytest.mark.parametrize(
    ("labels", "real", "wanted", "k", "words"),
    [
        (LABELS, REAL, (0, 3), 5, "no images of class 3; every class needs 20"),
        (LABELS, REAL % 2, (0, 1, 2), 5, "no real images of class 2"),
        (LABELS[:58], REAL, (0, 1, 2), 5, r"19 images of class 1 \(too few of 2 classes: 1, 2\).*not singular 9"),
        (LABELS, REAL, (0, 1, 2), 40, "40 images of class 0 .* need 41"),
    ],
)  # fmt: skip
def test_empty_and_small_classes_are_refused(labels, real, wanted, k, words):
    with pytest.raises(UserError, match=words):
        check_classes(labels, real, wanted, k, 8)
