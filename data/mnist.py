"""MNIST and Fashion-MNIST as the TFDS datasets of these names, prepared from their IDX files without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from score_sde.data.idx_files import FILES, files_of, read_split

SIDE = 28
CLOTHES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip


def registered(name: str) -> dict[str, Any]:
    """Sizes and checksums of the files that TFDS downloads for the dataset of this name, by URL."""
    record = tfds.core.utils.tfds_path() / "url_checksums" / f"{name}.txt"
    return tfds.download.checksums.load_url_infos(record)


class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """70,000 images, 28x28x1, 256 levels, ten classes; 60,000 for training.

    Name, version, features and keys are those of TFDS's own builder, which needs TensorFlow to prepare the dataset. A folder
    prepared by either builder with file_format="array_record" can be read by the other, with the images in the same order.
    TFDS's default format, TFRecord, is refused (builders.py).
    """

    name = "mnist"
    VERSION = tfds.core.Version("3.0.1")
    NUM_LEVELS = 256
    # Set explicitly: TFDS 4.9 would look it up with importlib_resources, which is not one of its requirements.
    code_path = Path(__file__)
    URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
    # TFDS uses a file in <data_dir>/downloads/manual if there is one of its name.
    url_infos = registered("mnist")
    LABELS = tfds.features.ClassLabel(num_classes=10)
    DESCRIPTION = "The MNIST database of handwritten digits."
    HOMEPAGE = "http://yann.lecun.com/exdb/mnist/"
    # A folder installed by a package of the operating system, read instead of downloading if it exists.
    INSTALLED: Path | None = None
    # Alternatives without network, appended to the message of `builders.explain`.
    INSTEAD = (
        "\nOr read the four files from a folder: --config.data.name=idx --config.data.folder=PATH"
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            homepage=self.HOMEPAGE,
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(SIDE, SIDE, 1)), "label": self.LABELS}
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        if self.INSTALLED is not None and self.INSTALLED.is_dir():
            files = files_of(self.INSTALLED)
        else:
            urls = {
                split: [f"{self.URL}{name}.gz" for name in names] for split, names in FILES.items()
            }
            paths = dl_manager.download(urls)
            files = {
                split: (Path(images), Path(labels)) for split, (images, labels) in paths.items()
            }
        return {split: self._generate_examples(*pair) for split, pair in files.items()}

    def _generate_examples(
        self, images_path: Path, labels_path: Path
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        import PIL.Image

        images, labels = read_split(images_path, labels_path)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            # A PIL image, because TFDS encodes NumPy arrays with TensorFlow.
            yield i, {"image": PIL.Image.fromarray(image), "label": int(label)}


class FashionMnist(Mnist, skip_registration=True):  # type: ignore[call-arg]
    """70,000 pictures of clothes in the format of MNIST, 28x28x1, 256 levels, ten classes; 60,000 for training."""

    name = "fashion_mnist"
    URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    url_infos = registered("fashion_mnist")
    LABELS = tfds.features.ClassLabel(names=CLOTHES)
    DESCRIPTION = (
        "60,000 and 10,000 pictures of Zalando's articles in the form of MNIST, in ten classes."
    )
    HOMEPAGE = "https://github.com/zalandoresearch/fashion-mnist"
    # The package of Debian and Ubuntu; its files hold the same bytes but are gzipped differently.
    INSTALLED = Path("/usr/share/datasets/fashion-mnist")
    INSTEAD = f"\nOr apt-get install dataset-fashion-mnist where that is to be had.{Mnist.INSTEAD}"
