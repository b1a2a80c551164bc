"""Colour patches of photographs that scikit-learn and scikit-image carry, as a TFDS dataset: 32 pixels with no network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.package_files import package_file, package_folder

SIDE = 32
# Of the columns of patches of each photograph: the last ones are the test's, and one between belongs to neither.
TEST_COLUMNS, GAP = 4, 1

PACKAGES = {"sklearn": "scikit-learn", "skimage": "scikit-image"}


class Photograph(NamedTuple):
    """Where a photograph is, and its height and width."""

    module: str
    file: str
    size: tuple[int, int]


# In the order of their labels. Photographs of things seen by eye, in colour: neither stars, tissue nor textures; and of
# the stereo pair of a motorcycle neither, whose licence is not stated.
PHOTOGRAPHS = {
    "china": Photograph("sklearn", "datasets/images/china.jpg", (427, 640)),
    "flower": Photograph("sklearn", "datasets/images/flower.jpg", (427, 640)),
    "astronaut": Photograph("skimage", "data/astronaut.png", (512, 512)),
    "chelsea": Photograph("skimage", "data/chelsea.png", (300, 451)),
    "coffee": Photograph("skimage", "data/coffee.png", (400, 600)),
    "rocket": Photograph("skimage", "data/rocket.jpg", (427, 640)),
}


class PhotoPatches(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Disjoint patches, 32x32x3, 256 levels, of six photographs, which are their classes."""

    VERSION = tfds.core.Version("1.0.0")
    NUM_LEVELS = 256
    # Stated, because TFDS 4.9 would look for it through importlib_resources, which it does not require.
    code_path = Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Patches of the photographs in scikit-learn and scikit-image; the test's from their right sides.",
            homepage="https://scikit-image.org/docs/stable/api/skimage.data.html",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=list(PHOTOGRAPHS)),
                }
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        folders = {m: package_folder(m, package, self.name) for m, package in PACKAGES.items()}
        pictures = {
            name: decoded(where, folders[where.module]) for name, where in PHOTOGRAPHS.items()
        }
        return {
            "train": self._generate_examples(pictures, test=False),
            "test": self._generate_examples(pictures, test=True),
        }

    def _generate_examples(
        self, pictures: dict[str, np.ndarray], test: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        import PIL.Image

        for name, picture in pictures.items():
            patches = grid(picture)
            for row, column in np.ndindex(*patches.shape[:2]):
                if column in columns_of(patches.shape[1], test):
                    # A PIL image, because TFDS encodes NumPy arrays with TensorFlow.
                    image = PIL.Image.fromarray(patches[row, column])
                    yield f"{name} {row} {column}", {"image": image, "label": name}


def columns_of(columns: int, test: bool) -> range:
    """Which columns of patches a split has.

    The test's are the right end of each photograph, so that both splits have every class, and a column of patches lies
    between, so that no test patch continues one that was trained on. Whole photographs held out would instead measure how
    unlike each other six photographs are.
    """
    first = columns - TEST_COLUMNS
    return range(first, columns) if test else range(first - GAP)


def grid(picture: np.ndarray) -> np.ndarray:
    """The patches from the upper left corner on, (rows, columns, 32, 32, 3) of (h, w, 3); what is left over is left out."""
    rows, columns = (side // SIDE for side in picture.shape[:2])
    whole = picture[: rows * SIDE, : columns * SIDE]
    return whole.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)


def decoded(where: Photograph, folder: Path) -> np.ndarray:
    """A photograph, uint8 (h, w, 3).

    Raises:
        DatasetError: it is not there, cannot be read, or is another picture than this version of the dataset has.
    """
    import PIL.Image

    path = folder / where.file
    content = package_file(folder, where.file, PACKAGES[where.module])
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as a picture: {one_line(error)}") from error
    if pixels.shape[:2] != where.size:
        raise DatasetError(
            f"{path} has {pixels.shape[0]}x{pixels.shape[1]} pixels, expected {where.size[0]}x{where.size[1]}: another version of "
            f"{PACKAGES[where.module]} than data/photo_patches.py knows"
        )
    return pixels
