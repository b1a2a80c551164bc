"""The quality figures of each class, for images with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from score_sde.errors import UserError
from score_sde.quality.assessment import Assessment, assess, fewest_images
from score_sde.quality.strata import Groups, Strata, turns_in_words

SHOWN = 5  # classes listed in a message


def check_classes(
    labels: np.ndarray, real: np.ndarray, wanted: Sequence[int], k: int, dimension: int
) -> None:
    """Refuse a class that is empty, or too small for an error of every figure.

    Args:
      labels, real: labels of the images (n,) and of the reference (m,).
      wanted: classes to measure.
      k: number of neighbours.
      dimension: number of features, for the message.
    """
    fewest = fewest_images(k)
    for what, own in (("images", labels), ("real images", real)):
        counts = {label: int((own == label).sum()) for label in wanted}
        empty = [label for label, count in counts.items() if not count]
        if empty:
            raise UserError(
                f"evaluation.per_class: no {what} of class {listed(empty)}; every class needs {fewest} of them: give more, name the classes "
                "to measure with sampling.labels, or leave evaluation.per_class out"
            )
        few = [label for label, count in counts.items() if count < fewest]
        if few:
            raise UserError(
                f"evaluation.per_class: {counts[few[0]]} {what} of class {few[0]} (too few of {len(few)} classes: {listed(few)}); errors of "
                f"all figures need {fewest}, and a nonsingular covariance of all {dimension} features needs {dimension + 1}: give more, or "
                "leave evaluation.per_class out"
            )


def listed(labels: Sequence[int]) -> str:
    """List the first SHOWN labels, for a message."""
    return ", ".join(map(str, labels[:SHOWN])) + (", ..." if len(labels) > SHOWN else "")


def assess_classes(
    x: np.ndarray,
    labels: np.ndarray,
    real: np.ndarray,
    real_labels: np.ndarray,
    wanted: Sequence[int],
    k: int,
    seed: int,
    strata: Strata = None,
) -> dict[int, Assessment]:
    """`assess`, for each wanted class, the features x (n, d) of this class against the real ones (m, d) of the same class.

    `strata` are those of x. The real images of one class are independent, however many there are of each.
    """
    check_classes(labels, real_labels, wanted, k, x.shape[1])
    return {
        label: assess_class(x, labels == label, real[real_labels == label], k, seed, strata)
        for label in wanted
    }


def assess_class(
    x: np.ndarray, chosen: np.ndarray, real: np.ndarray, k: int, seed: int, strata: Strata
) -> Assessment:
    """`assess` the chosen rows, a mask (n,), of features x (n, d) with these strata; with a note if they share too few images."""
    own = None if strata is None else strata.part(chosen)
    found = assess(x[chosen], real, k, seed, (own, None))
    if not isinstance(strata, Groups) or isinstance(own, Groups):
        return found
    note = turns_in_words(int(chosen.sum()), len(np.unique(strata.of[chosen])))
    return found._replace(notes=(*found.notes, note))
