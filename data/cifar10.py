"""CIFAR-10 as the TFDS dataset `cifar10`, prepared from its binary archive without TensorFlow."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

ARCHIVE = "cifar-10-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"

FOLDER = "cifar-10-batches-bin"
FILES = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["test_batch.bin"],
}
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

# A record is a label byte followed by 1,024 red, 1,024 green and 1,024 blue bytes, each plane in row-major order.
IMAGE_SIZE = 32
RECORD_BYTES = 1 + 3 * IMAGE_SIZE * IMAGE_SIZE


class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """60,000 images, 32x32x3, 256 levels, ten classes; 50,000 for training.

    Name, version, features and keys are those of TFDS's own builder, which needs TensorFlow to prepare the dataset. A folder
    prepared by either builder with file_format="array_record" can be read by the other, with the images in the same order.
    TFDS's default format, TFRecord, is refused (builders.py).
    """

    name = "cifar10"
    VERSION = tfds.core.Version("3.0.2")
    NUM_LEVELS = 256
    # TFDS uses the archive in <data_dir>/downloads/manual if there is a file of this name.
    MANUAL_ARCHIVE = ARCHIVE
    # Set explicitly: TFDS 4.9 would look it up with importlib_resources, which is not one of its requirements.
    code_path = Path(__file__)
    url_infos = {
        URL: tfds.download.checksums.UrlInfo(
            size=tfds.core.utils.Size(170052171),
            checksum="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            filename=ARCHIVE,
        )
    }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="60,000 tiny colour photographs in ten classes, 50,000 of them for training.",
            homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(IMAGE_SIZE, IMAGE_SIZE, 3)),
                    "label": tfds.features.ClassLabel(names=LABELS),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        archive = Path(dl_manager.download(URL))
        return {split: self._generate_examples(archive, split) for split in FILES}

    def _generate_examples(self, archive: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        import PIL.Image

        key = 0
        for records in read_records(archive, FILES[split]):
            for label, image in zip(*parse(records), strict=True):
                # A PIL image, because TFDS encodes NumPy arrays with TensorFlow.
                example = {
                    "id": f"{split}_{key:05d}",
                    "image": PIL.Image.fromarray(image),
                    "label": int(label),
                }
                yield key, example
                key += 1


def read_records(archive: Path, files: list[str]) -> Iterator[bytes]:
    """Yield the content of these files of the archive, in this order; nothing is unpacked to disk."""
    with tarfile.open(archive, "r:gz") as tar:
        for name in files:
            member = tar.extractfile(f"{FOLDER}/{name}")
            if member is None:
                raise ValueError(f"{FOLDER}/{name} in {archive} is not a file")
            yield member.read()


def parse(records: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Parse the records of a binary file into labels and images.

    Args:
        records: n records of RECORD_BYTES.

    Returns:
        uint8 labels (n,) and uint8 images (n, 32, 32, 3).
    """
    if len(records) % RECORD_BYTES:
        raise ValueError(
            f"a CIFAR-10 binary file holds records of {RECORD_BYTES} bytes; got {len(records)} bytes"
        )
    table = np.frombuffer(records, np.uint8).reshape(-1, RECORD_BYTES)
    planes = table[:, 1:].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    return table[:, 0], np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
