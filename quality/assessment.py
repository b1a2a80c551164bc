"""Every figure of one set of features beside another, each with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from score_sde.errors import UserError
from score_sde.likelihood.anomaly import auc
from score_sde.quality.frechet import Estimate, frechet_estimate, frechet_limit
from score_sde.quality.kernel_distance import FEWEST_BLOCKS, kernel_distance
from score_sde.quality.neighbours import Nearest, nearest, neighbourhood
from score_sde.quality.sliced import sliced_distance, unit_directions

FEWEST = 2 * FEWEST_BLOCKS  # images of a set


class Assessment(NamedTuple):
    """Of features (n, d) beside (m, d)."""

    figures: dict[str, Estimate]
    """frechet, frechet_limit, kid, precision, recall, density, coverage, mind."""
    notes: tuple[str, ...]
    """What a reader should know of them."""


def assess(x: np.ndarray, real: np.ndarray, k: int, seed: int) -> Assessment:
    """All of them.

    Args:
      x, real: features, at least FEWEST rows each, and more than k.
      k: neighbours, of precision, recall, density and coverage.
      seed: deals images into blocks and halves, and draws directions.

    Raises:
      UserError: too few images.
    """
    check_numbers(len(x), len(real), k)
    rng = np.random.default_rng(seed)
    equal = min(len(x), len(real))
    some, some_real = (rows[rng.permutation(len(rows))[:equal]] for rows in (x, real))
    figures = {
        "frechet": frechet_estimate(x, real),
        "frechet_limit": frechet_limit(x, real, rng),
        "kid": kernel_distance(x, real, rng),
        **neighbourhood(x, real, k)._asdict(),
        "mind": sliced_distance(some, some_real, unit_directions(x.shape[1], rng)),
    }
    dimension = x.shape[1]
    notes = [
        f"{len(rows)} {what} in {dimension} dimensions: their covariance is singular, and the Frechet distance is of what they span"
        for what, rows in (("images", x), ("real images", real))
        if len(rows) <= dimension
    ]
    return Assessment(figures, tuple(notes))


def check_numbers(n: int, m: int, k: int) -> None:
    """Refuse n images beside m real ones if they are too few for an error, or for a k-th neighbour."""
    fewest = max(FEWEST, k + 1)
    if min(n, m) < fewest:
        raise UserError(
            f"{n} images beside {m}: errors of all figures need {fewest} of each; draw more (sampling.num_images), or give more"
        )


class Memory(NamedTuple):
    """Whether images lie nearer to training images than new ones do."""

    auc: Estimate
    """The chance that an image is nearer to its nearest training image than a held-out one to its own: 1/2 where nothing is
    learnt by heart."""
    nearest: Nearest
    """Of each image, the training image."""


def memory(x: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> Memory:
    """From features of images (n, d), of training images and of held-out ones."""
    found, new = nearest(x, train), nearest(held_out, train)
    nearer = auc(-new.distance, -found.distance)
    return Memory(Estimate(nearer.value, nearer.standard_error), found)
