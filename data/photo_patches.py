"""Colour patches of photographs included in scikit-learn and scikit-image, as a TFDS dataset: 32x32 pixels without a download."""

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
# Columns of patches in each photograph: the last ones are for testing, preceded by a gap that belongs to neither split.
TEST_COLUMNS, GAP = 4, 1

PACKAGES = {"sklearn": "scikit-learn", "skimage": "scikit-image"}


class Photograph(NamedTuple):
    """Location of a photograph, and its height and width."""

    module: str
    file: str
    size: tuple[int, int]


# In the order of their labels. Only colour photographs of everyday scenes: no stars, tissue or textures, nor the stereo pair
# of a motorcycle, whose licence is not stated.
PHOTOGRAPHS = {
    "china": Photograph("sklearn", "datasets/images/china.jpg", (427, 640)),
    "flower": Photograph("sklearn", "datasets/images/flower.jpg", (427, 640)),
    "astronaut": Photograph("skimage", "data/astronaut.png", (512, 512)),
    "chelsea": Photograph("skimage", "data/chelsea.png", (300, 451)),
    "coffee": Photograph("skimage", "data/coffee.png", (400, 600)),
    "rocket": Photograph("skimage", "data/rocket.jpg", (427, 640)),
}


class PhotoPatches(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Disjoint patches, 32x32x3, 256 levels, of six photographs; the class of a patch is its photograph."""

    VERSION = tfds.core.Version("1.0.0")
    NUM_LEVELS = 256
    # Set explicitly: TFDS 4.9 would look it up with importlib_resources, which is not one of its requirements.
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
    """The columns of patches of a split.

    The test patches are the right end of each photograph, so that both splits have every class. One column of patches in
    between is unused, so that no test patch adjoins a training patch. Holding out whole photographs would instead measure
    how different six photographs are from each other.
    """
    first = columns - TEST_COLUMNS
    return range(first, columns) if test else range(first - GAP)


def grid(picture: np.ndarray) -> np.ndarray:
    """Cut a picture (h, w, 3) into patches (rows, columns, 32, 32, 3) from the upper left corner; the remainder is dropped."""
    rows, columns = (side // SIDE for side in picture.shape[:2])
    whole = picture[: rows * SIDE, : columns * SIDE]
    return whole.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)


def decoded(where: Photograph, folder: Path) -> np.ndarray:
    """Read a photograph as uint8 (h, w, 3).

    Raises:
        DatasetError: the file is missing, cannot be read, or has another size than in this version of the dataset.
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
