"""A Hugging Face dataset in a folder, of `save_to_disk` or of Parquet files: `data.name = "huggingface"`, `data.folder`.

By the package `datasets`, an extra of this one (`pip install -e '.[huggingface]'`), which maps Arrow files into memory, and
converts Parquet files to such in its own cache first (HF_DATASETS_CACHE). Nothing is asked of the network.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.classes import listed, renumbered, together
from score_sde.data.conditions import Record
from score_sde.data.folder import folder_of
from score_sde.data.held_out import rows_by_name, shuffled_rows
from score_sde.data.image_shape import image_shape
from score_sde.data.resizing import record_decoder
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk

SAVED = ("dataset_dict.json", "state.json")  # of save_to_disk: of several splits, of one
FORMATS = ("parquet", "arrow")  # of folders without these
CACHE = "cache-"  # files of results of the package's functions, beside the data
TEST_SPLITS = ("test", "validation")


def load_huggingface(data: Any) -> Datasets:
    """The images of the column `image`, or of the first column of images, and the classes of `label`, or of the first ClassLabel.

    The splits are `train` and `test`, or `validation`; where there is one only, some 5 % of its rows are held out, by hashes of
    their numbers. Both are in an order of their own (held_out.py). A class has the number of its name in `train`, for each
    split may have been numbered by itself; those that `train` has no name for come after.

    Args:
        data: config.data, with folder, image_size, num_channels, stored_levels, and the optional resize, crop_size, resample.

    Raises:
        DatasetError: no package, no such dataset in the folder, no images in it, or files that number classes each by itself.
    """
    folder = folder_of(data)
    splits = opened(folder)
    parts = two_of(folder, splits)
    train, test = parts.train, parts.test
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
        halves = [(str(folder), train, rows) for rows in rows_by_name(len(train))]
    else:
        halves = [
            (f"the {name} images of {folder}", part, shuffled_rows(len(part)))
            for name, part in (("training", train), ("test", test))
        ]
    files = sorted(
        path
        for kind in FORMATS
        for path in folder.rglob(f"*.{kind}")
        if not path.name.startswith(CACHE)
    )
    if label and not saved(folder):
        kind = format_of(folder)
        check_one_numbering([path for path in files if path.suffix == f".{kind}"], label)
    first, second = (split(*half) for half in halves)
    names, own = (class_names(half.features, label) for _, half, _ in halves)
    if names and own and own != names:
        every = together(names, own)
        names, second = every, renumbered(second, own, every)
    columns = [name for name in train.features if name not in (image, label)]
    contents = Contents(parts.rows, parts.ignored | {f"column {name}": 1 for name in columns})

    def sizes() -> Iterator[tuple[str, int]]:
        for path in files:
            yield path.relative_to(folder).as_posix(), path.stat().st_size

    return Datasets(
        str(folder),
        first,
        second,
        data.stored_levels,
        names,
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


def saved(folder: Path) -> bool:
    """Whether save_to_disk wrote a folder, where each split says what its columns are."""
    return any((folder / name).is_file() for name in SAVED)


def format_of(folder: Path) -> str | None:
    """In which format the files below a folder are read, where save_to_disk wrote none of them."""
    return next((kind for kind in FORMATS if any(folder.rglob(f"*.{kind}"))), None)


def opened(folder: Path) -> Any:
    """A Dataset, or a DatasetDict of some."""
    datasets = package()
    datasets.disable_progress_bars()
    kind = format_of(folder)
    if not saved(folder) and kind is None:
        raise DatasetError(
            f"{folder} is no Hugging Face dataset: expected {' or '.join(SAVED)}, as save_to_disk writes them, or "
            f"{' or '.join(f'.{kind}' for kind in FORMATS)} files"
        )
    try:
        if saved(folder):
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(kind, data_dir=str(folder))
    except Exception as error:  # of whatever damaged files lead to
        raise DatasetError(f"{folder} cannot be read by datasets: {one_line(error)}") from error


class Parts(NamedTuple):
    """What a dataset is read from."""

    train: Any
    test: Any
    """None where there is no such split."""
    rows: dict[str, int]
    """Of those splits, how many there are, in words."""
    ignored: dict[str, int]
    """Those of all others."""


def two_of(folder: Path, splits: Any) -> Parts:
    """What to train on, and what to test on, if there is such."""
    if not isinstance(splits, dict):
        return Parts(splits, None, {"rows": len(splits)}, {})
    if "train" not in splits:
        raise DatasetError(f"{folder} has no split 'train', only {', '.join(splits)}")
    test = next((name for name in TEST_SPLITS if name in splits), None)
    rows, ignored = (
        {f"rows of {name}": len(of) for name, of in splits.items() if (name in used) == read}
        for used in [("train", test)]
        for read in (True, False)
    )
    return Parts(splits["train"], splits[test] if test else None, rows, ignored)


def class_names(features: Any, label: str | None) -> tuple[str, ...] | None:
    """What the classes of a column are called, where its feature says so."""
    names = getattr(features.get(label), "names", None)
    return tuple(names) if names else None


def check_one_numbering(files: Sequence[Path], label: str) -> None:
    """Refuse files that number their classes each by itself: the package reads all of them by the names that one has.

    Raises:
        DatasetError: with the names of two.
    """
    found = [(path, names) for path in files if (names := names_in(path, label))]
    for (one, names), (other, others) in itertools.pairwise(found):
        if names != others:
            raise DatasetError(
                f"{one} numbers the classes of {label!r} as {listed(names)}, and {other} as {listed(others)}: encode the column of all "
                "files with one datasets.ClassLabel (cast_column), or write the splits with DatasetDict.save_to_disk"
            )


def names_in(path: Path, label: str) -> tuple[str, ...] | None:
    """What the classes of a column are called in one file, where it says so."""
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            schema = pyarrow.parquet.read_schema(path)
        else:
            schema = arrow_schema(path)
        return class_names(package().Features.from_arrow_schema(schema), label)
    except Exception as error:
        raise DatasetError(f"{path} cannot be read: {one_line(error)}") from error


def arrow_schema(path: Path) -> Any:
    """Of a file in Arrow's format of streams, as `datasets` writes them, or in that of files, which it reads too."""
    import pyarrow.ipc

    with pyarrow.memory_map(str(path)) as file:
        try:
            return pyarrow.ipc.open_stream(file).schema
        except (OSError, pyarrow.lib.ArrowInvalid):
            file.seek(0)
            return pyarrow.ipc.open_file(file).schema


def image_column(folder: Path, features: Any) -> str:
    """The column of images: `image`, else the first of that kind; DatasetError if there is none."""
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
