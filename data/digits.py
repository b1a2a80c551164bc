"""The UCI optical digits included in scikit-learn, as a TFDS dataset: real data without a download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from score_sde.data.order import fixed_permutation

NUM_TRAIN = 1500


def split_indices() -> tuple[np.ndarray, np.ndarray]:
    """Positions in scikit-learn's order of the 1,500 training and 297 test images.

    A fixed permutation is used because the file is ordered by writer, so that its tail holds the digits of other people.
    """
    permutation = fixed_permutation(1797)
    return permutation[:NUM_TRAIN], permutation[NUM_TRAIN:]


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """1,797 images, 8x8x1, 17 grey levels 0 .. 16, ten classes."""

    VERSION = tfds.core.Version("1.0.0")
    NUM_LEVELS = 17
    # Set explicitly: TFDS 4.9 would look it up with importlib_resources, which is not one of its requirements.
    code_path = Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Optical recognition of handwritten digits: 8x8 counts of ink, 0 to 16.",
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        train, test = split_indices()
        return {"train": self._generate_examples(train), "test": self._generate_examples(test)}

    def _generate_examples(self, indices: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        import PIL.Image
        import sklearn.datasets

        digits = sklearn.datasets.load_digits()
        # Integer levels, stored as float64.
        images = digits.images.astype(np.uint8)
        for i in indices.tolist():
            # A PIL image, because TFDS encodes NumPy arrays with TensorFlow.
            yield i, {"image": PIL.Image.fromarray(images[i]), "label": int(digits.target[i])}
