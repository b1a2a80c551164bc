"""A folder of IDX files as a dataset: `data.name = "idx"`, `data.folder`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.data.arrays import Rows
from score_sde.data.conditions import Record
from score_sde.data.folder import folder_of
from score_sde.data.held_out import shuffled_rows
from score_sde.data.idx_files import files_of, read_split
from score_sde.data.image_shape import check_shape, image_shape
from score_sde.data.resizing import fit_to
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk


def load_idx(data: Any) -> Datasets:
    """Images and labels of MNIST's four files, or of others with these names (Fashion-MNIST, KMNIST), in a fixed pseudorandom order.

    Args:
        data: config.data, with folder, image_size, num_channels (1), stored_levels, and the optional resize, crop_size,
            resample, pad.

    Raises:
        DatasetError: a file is missing or damaged, or the images are of another size.
    """
    folder = folder_of(data)
    fit = fit_to(data)

    def decode(record: Record) -> np.ndarray:
        return fit(record["image"])

    def split(images_path: Path, labels_path: Path) -> ImagesOnDisk:
        images, labels = read_split(images_path, labels_path)
        check_shape(str(images_path), (*images.shape[1:], 1), data)
        rows = np.asarray(shuffled_rows(len(images)))
        source = Rows(images_path, "the images", images[..., None], labels, None, rows)
        return ImagesOnDisk(source, decode, image_shape(data), str(folder))

    files = files_of(folder)

    def sizes() -> Iterator[tuple[str, int]]:
        for pair in files.values():
            for path in pair:
                yield path.name, path.stat().st_size

    train, test = split(*files["train"]), split(*files["test"])
    contents = Contents({path.name: 1 for pair in files.values() for path in pair})
    return Datasets(str(folder), train, test, data.stored_levels, None, sizes, lambda: contents)
