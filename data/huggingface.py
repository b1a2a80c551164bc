"""A Hugging Face dataset in a folder, from `save_to_disk` or as Parquet files: `data.name = "huggingface"`, `data.folder`.

It is read with the package `datasets`, an optional dependency (`pip install -e '.[huggingface]'`), which memory-maps Arrow files and
first converts Parquet files to Arrow in its own cache (HF_DATASETS_CACHE). The network is not accessed.
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
from score_sde.data.held_out import own_test_split, rows_by_name, shuffled_rows
from score_sde.data.image_shape import image_shape
from score_sde.data.resizing import record_decoder
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk

SAVED = ("dataset_dict.json", "state.json")  # written by save_to_disk for several splits, for one
FORMATS = ("parquet", "arrow")  # file formats of folders without these
CACHE = "cache-"  # prefix of the package's cache files, which lie beside the data


def load_huggingface(data: Any) -> Datasets:
    """The images of the column `image` (else of the first image column), and the labels of `label` (else of the first ClassLabel).

    The splits are `train` and `test`, or else `validation`, as `own_test_split` says. If there is only one, some 5 % of its rows are held
    out, selected by hashes of their numbers. Both splits are in a fixed pseudorandom order (held_out.py). Classes are numbered as in
    `train`, because each split may have a numbering of its own; classes without a name in `train` follow after these.

    Args:
        data: config.data, with folder, image_size, num_channels, stored_levels, and the optional resize, crop_size, resample, pad.

    Raises:
        DatasetError: the package is missing, the folder holds no such dataset or no images, or its files number the classes differently.
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
    """The module `datasets`; DatasetError if it is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise DatasetError(
            f"data.name='huggingface' needs the optional package datasets, which is not installed ({one_line(error)}): pip install -e "
            "'.[huggingface]' in the checkout, or pip install datasets"
        ) from error
    return datasets


def saved(folder: Path) -> bool:
    """Whether a folder was written by save_to_disk, so that each split describes its own columns."""
    return any((folder / name).is_file() for name in SAVED)


def format_of(folder: Path) -> str | None:
    """Format of the files below a folder that save_to_disk did not write; None if there are none."""
    return next((kind for kind in FORMATS if any(folder.rglob(f"*.{kind}"))), None)


def opened(folder: Path) -> Any:
    """Open the folder as a Dataset or a DatasetDict."""
    datasets = package()
    datasets.disable_progress_bars()
    kind = format_of(folder)
    if not saved(folder) and kind is None:
        raise DatasetError(
            f"{folder} is not a Hugging Face dataset: expected {' or '.join(SAVED)}, as save_to_disk writes them, or "
            f"{' or '.join(f'.{kind}' for kind in FORMATS)} files"
        )
    try:
        if saved(folder):
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(kind, data_dir=str(folder))
    except Exception as error:  # damaged files can raise anything
        raise DatasetError(f"{folder} cannot be read by datasets: {one_line(error)}") from error


class Parts(NamedTuple):
    """The splits to read, and the sizes of all splits."""

    train: Any
    test: Any
    """None if there is no such split."""
    rows: dict[str, int]
    """Number of rows of the splits that are read, with a description of each as its key."""
    ignored: dict[str, int]
    """The same for all other splits."""


def two_of(folder: Path, splits: Any) -> Parts:
    """Select the training split, and the test split if there is one."""
    if not isinstance(splits, dict):
        return Parts(splits, None, {"rows": len(splits)}, {})
    if "train" not in splits:
        raise DatasetError(f"{folder} has no split 'train', only {', '.join(splits)}")
    label = label_column(splits["train"].features)
    test = own_test_split(
        str(folder), splits, lambda name: first_label(folder, splits[name], label)
    )
    rows, ignored = (
        {f"rows of {name}": len(of) for name, of in splits.items() if (name in used) == read}
        for used in [("train", test)]
        for read in (True, False)
    )
    return Parts(splits["train"], splits[test] if test else None, rows, ignored)


def first_label(folder: Path, dataset: Any, label: str | None) -> Any:
    """The label of a split's first image; None if the split has no such column or no images, 0 if the dataset has no labels."""
    if label is None:
        return 0
    if label not in dataset.features or not len(dataset):
        return None
    try:
        return dataset.with_format(None).select_columns([label])[[0]][label][0]
    except Exception as error:
        raise DatasetError(f"{folder} cannot be read by datasets: {one_line(error)}") from error


def class_names(features: Any, label: str | None) -> tuple[str, ...] | None:
    """Class names of a column; None if its feature has none."""
    names = getattr(features.get(label), "names", None)
    return tuple(names) if names else None


def check_one_numbering(files: Sequence[Path], label: str) -> None:
    """Refuse files that number their classes differently: the package reads all of them with the class names of one.

    Raises:
        DatasetError: two files have different class names.
    """
    found = [(path, names) for path in files if (names := names_in(path, label))]
    for (one, names), (other, others) in itertools.pairwise(found):
        if names != others:
            raise DatasetError(
                f"{one} numbers the classes of {label!r} as {listed(names)}, and {other} as {listed(others)}: encode the column of all "
                "files with one datasets.ClassLabel (cast_column), or write the splits with DatasetDict.save_to_disk"
            )


def names_in(path: Path, label: str) -> tuple[str, ...] | None:
    """Class names of a column according to one file; None if it has none."""
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
    """Schema of an Arrow file in the streaming format, which `datasets` writes, or in the file format, which it also reads."""
    import pyarrow.ipc

    with pyarrow.memory_map(str(path)) as file:
        try:
            return pyarrow.ipc.open_stream(file).schema
        except (OSError, pyarrow.lib.ArrowInvalid):
            file.seek(0)
            return pyarrow.ipc.open_file(file).schema


def image_column(folder: Path, features: Any) -> str:
    """The image column: `image` if it is one, else the first; DatasetError if there is none."""
    kind = package().Image
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    if not columns:
        raise DatasetError(
            f"{folder} has no column of images (datasets.Image), only {', '.join(features)}; cast the column that holds them"
        )
    return "image" if "image" in columns else columns[0]


def label_column(features: Any) -> str | None:
    """The label column: `label` if it holds integers, else the first ClassLabel, or None."""
    kind = package().ClassLabel
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    integers = "int" in str(getattr(features.get("label"), "dtype", ""))
    return "label" if integers else next(iter(columns), None)


class Rows:
    """Random access to rows of a dataset: a source of records for `ImagesOnDisk`."""

    def __init__(self, what: str, dataset: Any, image: str, label: str | None, rows: list[int]):
        columns = [image] if label is None else [image, label]
        self.what, self.rows, self.image, self.label = what, rows, image, label
        try:
            # Plain Python types, whatever format it was saved with; images stay encoded for image_decoder; other columns are not read.
            plain, undecoded = dataset.with_format(None), package().Image(decode=False)
            self.dataset = plain.select_columns(columns).cast_column(image, undecoded)
        except Exception as error:
            raise DatasetError(f"{what}: unexpected columns, {one_line(error)}") from error

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
    """The encoded image of a record, from the dataset or from the file that the dataset refers to."""
    image = record["image"]
    if image is None:
        raise DatasetError("this row has no image")
    return image["bytes"] or Path(image["path"]).read_bytes()
