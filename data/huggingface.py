"""A Hugging Face dataset in a folder, of `save_to_disk` or of Parquet files: `data.name = "huggingface"`, `data.folder`.

By the package `datasets`, an extra of this one (`pip install -e '.[huggingface]'`), which maps Arrow files into memory, and
converts Parquet files to such in its own cache first (HF_DATASETS_CACHE). Nothing is asked of the network.
"""

from __future__ import annotations

import collections
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.conditions import Record
from score_sde.data.folder import folder_of
from score_sde.data.held_out import rows_by_name, shuffled_rows
from score_sde.data.image_shape import image_shape
from score_sde.data.resizing import record_decoder
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk

SAVED = ("dataset_dict.json", "state.json")  # of save_to_disk: of several splits, of one
FORMATS = ("parquet", "arrow")  # of folders without these
TEST_SPLITS = ("test", "validation")


def load_huggingface(data: Any) -> Datasets:
    """The images of the column `image`, or of the first column of images, and the classes of `label`, or of the first ClassLabel.

    The splits are `train` and `test`, or `validation`; where there is one only, some 5 % of its rows are held out, by hashes of
    their numbers. Both are in an order of their own (held_out.py).

    Args:
        data: config.data, with folder, image_size, num_channels, stored_levels, and the optional resize, crop_size, resample.

    Raises:
        DatasetError: no package, no such dataset in the folder, or no images in it.
    """
    folder = folder_of(data)
    splits = opened(folder)
    train, test = two_of(folder, splits)
    image = image_column(folder, train.features)
    label = label_column(train.features)
    decode = record_decoder(data, encoded)

    def split(what: str, dataset: Any, rows: list[int]) -> ImagesOnDisk:
        source = Rows(what, dataset, image, label, rows)
        return ImagesOnDisk(source, decode, image_shape(data), str(folder))

    if test is None:
        if len(train) < 2:
            raise DatasetError(
                f"{folder} has {len(train)} images; a train and a test split need two"
            )
        parts = [(str(folder), train, rows) for rows in rows_by_name(len(train))]
    else:
        parts = [
            (f"the {name} images of {folder}", part, shuffled_rows(len(part)))
            for name, part in (("training", train), ("test", test))
        ]
    first, second = (split(*part) for part in parts)
    names = getattr(train.features[label], "names", None) if label else None
    files = sorted(path for kind in FORMATS for path in folder.rglob(f"*.{kind}"))
    others = [name for name in train.features if name not in (image, label)]
    contents = Contents(
        collections.Counter(path.suffix for path in files), {f"column {n}": 1 for n in others}
    )

    def sizes() -> Iterator[tuple[str, int]]:
        for path in files:
            yield path.relative_to(folder).as_posix(), path.stat().st_size

    return Datasets(
        str(folder),
        first,
        second,
        data.stored_levels,
        names and tuple(names),
        sizes,
        lambda: contents,
    )


def package() -> Any:
    """The module `datasets`."""
    try:
        import datasets
    except ImportError as error:
        raise DatasetError(
            "data.name='huggingface' needs the package datasets, which is not installed with the others "
            f"({one_line(error)}): pip install -e '.[huggingface]' in the checkout, or pip install datasets"
        ) from error
    return datasets


def opened(folder: Path) -> Any:
    """A Dataset, or a DatasetDict of some."""
    datasets = package()
    datasets.disable_progress_bars()
    saved = any((folder / name).is_file() for name in SAVED)
    kind = next((kind for kind in FORMATS if any(folder.rglob(f"*.{kind}"))), None)
    if not saved and kind is None:
        raise DatasetError(
            f"{folder} is no Hugging Face dataset: expected {' or '.join(SAVED)}, as save_to_disk writes them, or "
            f"{' or '.join(f'.{kind}' for kind in FORMATS)} files"
        )
    try:
        if saved:
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(kind, data_dir=str(folder))
    except Exception as error:  # of whatever damaged files lead to
        raise DatasetError(f"{folder} cannot be read by datasets: {one_line(error)}") from error


def two_of(folder: Path, splits: Any) -> tuple[Any, Any]:
    """What to train on, and what to test on, if there is such."""
    if not isinstance(splits, dict):
        return splits, None
    if "train" not in splits:
        raise DatasetError(f"{folder} has no split 'train', only {', '.join(splits)}")
    return splits["train"], next((splits[name] for name in TEST_SPLITS if name in splits), None)


def image_column(folder: Path, features: Any) -> str:
    """The one column of images; DatasetError if there is none, or more than one."""
    kind = package().Image
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    if not columns:
        raise DatasetError(
            f"{folder} has no column of images (datasets.Image), only {', '.join(features)}; cast the one that holds them"
        )
    return "image" if "image" in columns else columns[0]


def label_column(features: Any) -> str | None:
    """The column of classes: `label` where it holds integers, else the first of that kind, or None."""
    kind = package().ClassLabel
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    integers = "int" in str(getattr(features.get("label"), "dtype", ""))
    return "label" if integers else next(iter(columns), None)


class Rows:
    """Random access to rows of a dataset, as `ImagesOnDisk` asks for records."""

    def __init__(self, what: str, dataset: Any, image: str, label: str | None, rows: list[int]):
        columns = [image] if label is None else [image, label]
        self.what, self.rows, self.image, self.label = what, rows, image, label
        try:
            # In Python's types, whatever it was saved for, and left encoded, for image_decoder; other columns are not read.
            plain, undecoded = dataset.with_format(None), package().Image(decode=False)
            self.dataset = plain.select_columns(columns).cast_column(image, undecoded)
        except Exception as error:
            raise DatasetError(f"{what}: other columns than expected, {one_line(error)}") from error

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        rows = [self.rows[i] for i in indices]
        try:
            found = self.dataset[rows]
        except Exception as error:
            raise DatasetError(f"{self.what} cannot be read: {one_line(error)}") from error
        images, labels = (
            found[of] if of in found else [None] * len(rows) for of in (self.image, self.label)
        )
        return [
            {
                "path": f"row {row} of {self.what}",
                "image": image,
                "label": -1 if label is None else label,
            }
            for row, image, label in zip(rows, images, labels, strict=True)
        ]

    def without_images(self) -> Rows:
        if self.label is None:
            return self
        labels = copy.copy(self)
        labels.dataset = self.dataset.select_columns([self.label])
        return labels


def encoded(record: Record) -> bytes:
    """The bytes of an image in the dataset, or in the file that it names."""
    image = record["image"]
    if image is None:
        raise DatasetError("there is none in this row")
    return image["bytes"] or Path(image["path"]).read_bytes()
