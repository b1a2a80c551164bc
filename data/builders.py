"""TFDS builders by name, prepared once as ArrayRecord files, which are then read without TensorFlow."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from score_sde.errors import UserError

# Our own builders, by name: "module:class". All other names are those of TFDS.
BUILDERS = {
    "cifar10": "score_sde.data.cifar10:Cifar10",
    "digits": "score_sde.data.digits:Digits",
    "fashion_mnist": "score_sde.data.mnist:FashionMnist",
    "mnist": "score_sde.data.mnist:Mnist",
    "mnist5k": "score_sde.data.mnist5k:Mnist5k",
    "photo_patches": "score_sde.data.photo_patches:PhotoPatches",
}

# By default TFDS tries an unreachable host eleven times, for 205 s in all; four tries give the same answer in 1 s.
DOWNLOAD_RETRIES = 3


# The start of TFDS's error for a folder that was prepared in another format.
OTHER_FORMAT = "File format is already set to"


class DatasetError(UserError):
    """A dataset is unavailable or does not match the config; the message says what to do, so that no traceback is needed."""


def prepared_builder(name: str, data_dir: str | None) -> Any:
    """The TFDS builder of a dataset in ArrayRecord format, which is prepared first if it is not on disk.

    TFDS writes into a temporary folder beside the final one and renames it at the end. An interrupted preparation
    therefore leaves nothing that looks finished, and of two concurrent ones the first to finish is read by both.

    Args:
        name: a key of BUILDERS or a TFDS name such as "mnist" or "celeb_a".
        data_dir: the folder where TFDS keeps datasets; None or "" for $TFDS_DATA_DIR or else ~/tensorflow_datasets.

    Raises:
        DatasetError: unknown name, no network, no TensorFlow although TFDS needs it, or an unreadable folder.
    """
    from tensorflow_datasets.core import constants
    from tensorflow_datasets.core.download import downloader

    data_dir = os.path.expanduser(data_dir or constants.DATA_DIR)
    builder = make_builder(name, data_dir)
    if not builder.is_prepared():
        downloader.MAX_RETRIES = DOWNLOAD_RETRIES
        # Its warnings about retries would bury the one message that says what to do.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        try:
            builder.download_and_prepare(file_format="array_record")
        except Exception as error:
            builder = make_builder(name, data_dir)
            # The final rename may have failed because another process finished first.
            if not builder.is_prepared():
                raise DatasetError(explain(error, name, builder)) from error
        # A builder reads the finished folder only when it is constructed.
        builder = make_builder(name, data_dir)
    return builder


def make_builder(name: str, data_dir: str) -> Any:
    """The TFDS builder of a dataset, prepared or not."""
    import tensorflow_datasets as tfds

    try:
        if name in BUILDERS:
            module, attribute = BUILDERS[name].split(":")
            builder_class = getattr(importlib.import_module(module), attribute)
            return builder_class(data_dir=data_dir, file_format="array_record")
        return tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise DatasetError(
            f"data.name={name!r} is not known; expected 'folder', 'arrays', 'huggingface', 'idx', 'mixture', 'shapes', 'captions', "
            f"{', '.join(map(repr, sorted(BUILDERS)))} "
            "or a name from https://www.tensorflow.org/datasets/catalog"
        ) from error
    except Exception as error:
        if OTHER_FORMAT in str(error):
            raise DatasetError(
                f"{name!r} is in {os.path.join(data_dir, name)} in another file format than ArrayRecord, perhaps TFRecord, TFDS's default, which "
                "only TensorFlow reads: choose another folder, --config.data.data_dir=PATH, in which the dataset is prepared again, or "
                "move that one away"
            ) from error
        raise DatasetError(f"TFDS cannot open {name!r} in {data_dir}: {one_line(error)}") from error


def explain(error: BaseException, name: str, builder: Any) -> str:
    """Explain a failed preparation in one or two lines: what happened, and what to do."""
    data_dir = builder.data_dir_root
    causes = list(chain(error))
    # An error of one of our builders is more specific.
    for cause in causes:
        if isinstance(cause, DatasetError):
            return str(cause)
    for module in ("tensorflow_io", "tensorflow", "importlib_resources"):
        if any(f"No module named '{module}" in str(cause) for cause in causes):
            return (
                f"TFDS needs {module} to prepare {name!r} (to read it afterwards, not).\n"
                f"Run once: pip install {module} && python -m score_sde.data.prepare {name} --data_dir {data_dir}"
            )
    if any(type(cause).__module__.startswith(("requests", "urllib3")) for cause in causes):
        manual = getattr(builder, "MANUAL_ARCHIVE", None)
        hint = f"Place {manual} in {data_dir}/downloads/manual, or prepare" if manual else "Prepare"
        return (
            f"the download of {name!r} failed: {one_line(error)}\n"
            f"{hint} it on a machine with network (python -m score_sde.data.prepare {name}) and copy {data_dir}/{builder.name}."
            + getattr(builder, "INSTEAD", "")
        )
    return f"TFDS could not prepare {name!r} in {data_dir}: {one_line(error)}"


def unreadable(folder: str, error: BaseException) -> str:
    """The message for a prepared folder whose records cannot be read."""
    return (
        f"{folder} cannot be read as ArrayRecord ({one_line(error)}); "
        "remove that folder, or choose another data.data_dir, and the dataset is prepared again"
    )


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line(error: BaseException) -> str:
    """An error's type and the start of its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
