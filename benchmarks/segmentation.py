"""python -m benchmarks.segmentation --workdir runs/vp_shapes: how well masks sampled given pictures match the true masks.

For each class, prints the intersection over union with the masks of the test split, over all pixels of all images together: for one
sample per image, and for the most frequent class among several. exact_segmentation.py gives the values of the exact posterior.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.command import run_main
from score_sde import data
from score_sde.data.batch import Batch
from score_sde.data.shapes import CLASSES, to_classes
from score_sde.errors import UserError
from score_sde.trained import Trained


def overlaps(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Intersection over union of each class, for arrays of class indices with equal shapes."""
    both = {
        name: ((found == k) & (truth == k), (found == k) | (truth == k))
        for k, name in enumerate(CLASSES)
    }
    return {name: float(one.sum() / max(any_.sum(), 1)) for name, (one, any_) in both.items()}


def most_frequent(drawn: np.ndarray) -> np.ndarray:
    """The most frequent class among draws (L, ...); the lowest in a tie."""
    counts = np.stack([(drawn == k).sum(axis=0) for k in range(len(CLASSES))])
    return counts.argmax(axis=0)


def held_out(config: Any, count: int) -> Batch:
    """The first `count` masks of the test split, with their pictures.

    Raises:
      UserError: a dataset other than shapes, or `count` outside the size of the split.
    """
    if config.data.name != "shapes":
        raise UserError(
            f"a configuration of data.name={config.data.name!r}: expected one of shapes, as configs/vp_shapes.py is"
        )
    test = data.load(config, ("paired",)).test
    if not 1 <= count <= test.num_images:
        raise UserError(f"--images {count}: expected 1 to {test.num_images}, the test split")
    return test.take(range(count))


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--draws", type=int, default=3)
    given = parser.parse_args(arguments)
    trained = Trained.load(given.workdir)
    truth = to_classes(held_out(trained.config, given.images).images)
    if given.draws < 1:
        raise UserError(f"--draws {given.draws}: expected 1 or more")
    drawn = np.stack(
        [
            to_classes(trained.sample(given.images, seed=seed, show=True))
            for seed in range(given.draws)
        ]
    )
    found = {
        "one draw": overlaps(drawn, np.broadcast_to(truth, drawn.shape)),
        f"most frequent of {given.draws}": overlaps(most_frequent(drawn), truth),
    }
    print(in_words(found))
    return found


def in_words(found: dict[str, dict[str, float]]) -> str:
    """Format a line for each way of predicting the classes of a picture, with the mean over classes."""
    listed = {
        name: "  ".join(f"{of} {value:.4f}" for of, value in of_classes.items())
        + f"  mean {np.mean([*of_classes.values()]):.4f}"
        for name, of_classes in found.items()
    }
    return "\n".join(f"{name}: intersection over union  {of}" for name, of in listed.items())


if __name__ == "__main__":
    run_main(main)
