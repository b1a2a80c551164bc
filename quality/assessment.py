"""All quality figures of one set of features against another, each with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from score_sde.errors import UserError
from score_sde.likelihood.anomaly import auc
from score_sde.quality.estimate import Estimate
from score_sde.quality.few_images import has_limit
from score_sde.quality.frechet import (
    INDEPENDENT,
    frechet_estimate,
    frechet_limit,
    frechet_limit_to,
    frechet_to,
)
from score_sde.quality.kernel_distance import FEWEST_BLOCKS, kernel_distance
from score_sde.quality.moments import Gaussian
from score_sde.quality.neighbours import Nearest, nearest, neighbourhood
from score_sde.quality.sliced import sliced_distance, unit_directions
from score_sde.quality.strata import EVEN, Even, Strata, independent_count

FEWEST = 2 * FEWEST_BLOCKS  # images per set
TIED = 0.01
"""Share of images on the edge of a ball above which a note says so."""


class Assessment(NamedTuple):
    """The quality of features (n, d) compared with real ones (m, d)."""

    figures: dict[str, Estimate]
    """frechet, frechet_limit, kid, precision, recall, density, coverage, mind; only the first two if just moments are known."""
    notes: tuple[str, ...]
    """Remarks for the reader on the reliability of the figures."""


def assess(
    x: np.ndarray,
    real: np.ndarray,
    k: int,
    seed: int,
    strata: tuple[Strata, Strata] = INDEPENDENT,
) -> Assessment:
    """Compute all figures.

    Args:
      x, real: features, at least FEWEST rows each, and more than k.
      k: number of neighbours for precision, recall, density and coverage.
      seed: seed for the random blocks, halves and directions.
      strata: those of x and of real; only the Frechet distance uses them.

    Raises:
      UserError: too few images.
    """
    check_numbers(len(x), len(real), k)
    rng = np.random.default_rng(seed)
    equal = min(len(x), len(real))
    chosen = [rng.permutation(len(rows))[:equal] for rows in (x, real)]
    # If all rows are taken their order does not matter, which saves a copy.
    some, some_real = (
        rows if len(rows) == equal else rows[which]
        for rows, which in zip((x, real), chosen, strict=True)
    )
    around = neighbourhood(x, real, k)
    figures = {
        "frechet": frechet_estimate(x, real, strata),
        "frechet_limit": frechet_limit(x, real, rng, strata=strata),
        "kid": kernel_distance(x, real, rng),
        **around.figures,
        "mind": sliced_distance(some, some_real, unit_directions(x.shape[1], rng)),
    }
    few = (
        *singular(x, "images"),
        *singular(real, "real images"),
        *without_limit(x, real, strata[0]),
    )
    return Assessment(figures, (*few, *even(strata), *tied(around.on_edge)))


def assess_beside_law(x: np.ndarray, law: Gaussian, seed: int, strata: Strata = None) -> Assessment:
    """The Frechet distance of features (n, d) to a distribution of which only mean and covariance are known.

    Raises:
      UserError: too few images.
    """
    check_number(len(x))
    rng = np.random.default_rng(seed)
    figures = {
        "frechet": frechet_to(x, law, strata),
        "frechet_limit": frechet_limit_to(x, law, rng, strata=strata),
    }
    return Assessment(
        figures,
        (
            "the reference is only a mean and a covariance: no other figure can be computed, errors are those of the images alone, and the "
            "limit does not correct for the finite number of real images",
            "the file does not say which features it holds: the distance is meaningful only if they are those of evaluation.features",
            *singular(x, "images"),
            *without_limit(x, None, strata),
            *even((strata, None)),
        ),
    )


def even(strata: tuple[Strata, Strata]) -> tuple[str, ...]:
    """A note for each set with equally many images of each class."""
    return tuple(
        EVEN.format(what=what)
        for what, of in zip(("images", "real images"), strata, strict=True)
        if isinstance(of, Even)
    )


def tied(on_edge: float) -> tuple[str, ...]:
    """A note if this share of the images, on the edge of a real image's ball, is large enough to change figures."""
    if on_edge <= TIED:
        return ()
    return (
        f"{on_edge:.1%} of the images are exactly on the edge of a real image's ball, as distances between images of few levels tie, and count "
        "as within it: density, precision, recall and coverage are higher than without the edges, as prdc computes them",
    )


def singular(rows: np.ndarray, what: str) -> tuple[str, ...]:
    """A note if there are no more images than dimensions."""
    count, dimension = rows.shape
    if count > dimension:
        return ()
    return (
        f"{count} {what} in {dimension} dimensions: their covariance is singular, and the Frechet distance covers only the subspace that they span",
    )


def without_limit(x: np.ndarray, real: np.ndarray | None, strata: Strata) -> tuple[str, ...]:
    """A note if the limit of infinitely many images is unreliable; without `real`, only the images are extrapolated."""
    count, dimension = x.shape
    n = independent_count(count, strata)
    what = "images" if n == count else "different condition or start images"
    m = n if real is None else len(real)
    if has_limit(n, m, dimension):
        return ()
    beside, each = ("", "") if real is None else (f" and {m} real ones", " of each")
    return (
        f"{n} {what}{beside}, in {dimension} dimensions: the limit for infinitely many images is too low, by a standard error or more "
        "with as many images as dimensions, half of one with twice as many, a tenth with four times as many; "
        f"more than {4 * dimension} images{each} are needed",
    )


def fewest_images(k: int) -> int:
    """Fewest images per set that allow errors of all figures and a k-th neighbour."""
    return max(FEWEST, k + 1)


def check_number(n: int) -> None:
    """Refuse n images, compared with mean and covariance only, if they are too few for an error."""
    if n < FEWEST:
        raise UserError(
            f"{n} images: a standard error needs {FEWEST}; draw more (sampling.num_images), or give more"
        )


def check_numbers(n: int, m: int, k: int) -> None:
    """Refuse n images and m real ones if either are too few for an error or for a k-th neighbour."""
    fewest = fewest_images(k)
    if min(n, m) < fewest:
        raise UserError(
            f"{n} images and {m} real ones: standard errors of all figures need {fewest} of each; draw more (sampling.num_images), or give more"
        )


class Memory(NamedTuple):
    """Memorization: whether images are nearer to training images than held-out ones are."""

    auc: Estimate
    """Probability that an image is nearer to its nearest training image than a held-out image is to its own: 1/2 without
    memorization."""
    nearest: Nearest
    """The nearest training image of each image."""


def memory(x: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> Memory:
    """Measure memorization from features (n, d) of images, of training images and of held-out ones."""
    found, new = nearest(x, train), nearest(held_out, train)
    nearer = auc(-new.distance, -found.distance)
    return Memory(Estimate(nearer.value, nearer.standard_error), found)
