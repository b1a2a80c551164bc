"""python -m benchmarks.exact_segmentation: how well the exact posterior predicts masks from pictures of discs and squares.

The two shapes have the same shade, so a picture shows which pixels they cover together, but not which of them covers a pixel. The masks
of --masks random discs and of as many squares are counted. The posterior given a picture consists of all pairs that cover exactly the
pixels it shows, weighted by the product of their frequencies. Prints the intersection over union in the format of
benchmarks/segmentation.py. A perfect network reaches that of one draw; the most probable class of each pixel is about the best that
any method can reach. Takes two minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.command import run_main
from benchmarks.segmentation import held_out, in_words, most_frequent, overlaps
from score_sde.configs.vp_shapes import get_config
from score_sde.data.shapes import CLASSES, SHADE, discs, squares, to_classes
from score_sde.errors import UserError
from score_sde.progress import progress_bar

SEED = 0
AT_ONCE = 20_000


class Masks(NamedTuple):
    """The distinct masks of one shape (k, pixels), and their fractions of the draws (k,)."""

    covered: np.ndarray
    shares: np.ndarray


def counted(
    shape: Callable[..., np.ndarray],
    rng: np.random.Generator,
    n: int,
    sides: tuple[int, int],
    done: Callable[[int], Any] = lambda count: None,
) -> Masks:
    """Count the masks of n random draws, AT_ONCE at a time."""
    times: dict[bytes, int] = {}
    for first in range(0, n, AT_ONCE):
        now = min(AT_ONCE, n - first)
        drawn = shape(rng, now, sides).reshape(now, -1)
        packed, found = np.unique(np.packbits(drawn, axis=1), axis=0, return_counts=True)
        for key, count in zip(map(bytes, packed), found, strict=True):
            times[key] = times.get(key, 0) + int(count)
        done(now)
    packed = np.array([np.frombuffer(key, np.uint8) for key in times])
    covered = np.unpackbits(packed, axis=1, count=sides[0] * sides[1]).astype(bool)
    shares = np.array([*times.values()], np.float64)
    return Masks(covered, shares / shares.sum())


def posterior(
    covered: np.ndarray, of_discs: Masks, of_squares: Masks
) -> tuple[np.ndarray, np.ndarray]:
    """Classes (k, pixels) of all pairs that cover exactly these pixels, with the square on top, and their probabilities (k,).

    Raises:
      UserError: there is no such pair.
    """
    disc, square = within(of_discs, covered), within(of_squares, covered)
    bare = [(covered & ~masks.covered).astype(np.float32) for masks in (disc, square)]
    i, j = np.nonzero(bare[0] @ bare[1].T == 0)  # no pixel is left uncovered
    if not len(i):
        raise UserError("a picture that no pair of the masks drawn covers; give more --masks")
    classes = np.where(square.covered[j], 2, np.where(disc.covered[i], 1, 0))
    weights = disc.shares[i] * square.shares[j]
    return classes, weights / weights.sum()


def within(masks: Masks, covered: np.ndarray) -> Masks:
    """The masks that cover no pixel outside `covered`."""
    rows = ~(masks.covered & ~covered).any(axis=1)
    return Masks(masks.covered[rows], masks.shares[rows])


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.exact_segmentation", description=__doc__
    )
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--masks", type=int, default=2_000_000)
    given = parser.parse_args(arguments)
    split = held_out(get_config(), given.images)
    if given.masks < 1:
        raise UserError(f"--masks {given.masks}: expected 1 or more")
    truth, rng = to_classes(split.images), np.random.default_rng(SEED)
    with progress_bar(2 * given.masks, "masks", "mask") as bar:
        of_discs, of_squares = (
            counted(shape, rng, given.masks, truth.shape[1:], bar.update)
            for shape in (discs, squares)
        )
    found = []
    with progress_bar(len(truth), "pictures", "picture") as bar:
        for picture in split.condition["paired"]:
            classes, weights = posterior((picture == SHADE).ravel(), of_discs, of_squares)
            likely = np.stack([weights @ (classes == k) for k in range(len(CLASSES))])
            drawn = classes[rng.choice(len(weights), 3, p=weights)]
            found.append(np.stack([drawn[0], most_frequent(drawn), likely.argmax(axis=0)]))
            bar.update(1)
    names = ("one draw", "most frequent of 3", "most probable")
    shaped = np.stack(found, axis=1).reshape(len(names), *truth.shape)
    figures = {name: overlaps(of, truth) for name, of in zip(names, shaped, strict=True)}
    print(in_words(figures))
    return figures


if __name__ == "__main__":
    run_main(main)
