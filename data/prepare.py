"""Preparing a TFDS dataset once, as ArrayRecord files that are read without TensorFlow ever after.

    python -m data.prepare NAME [--data_dir DIR]

is the same from the command line: for machines that share a disk, or where TensorFlow lives in another
environment.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

DEFAULT_DATA_DIR = "~/tensorflow_datasets"

# Our own builders, by name: "module:class". Everything else goes to TFDS.
BUILDERS = {
    "cifar10": "data.cifar10:Cifar10",
    "digits": "data.digits:Digits",
}


class DatasetError(Exception):
    """A dataset cannot be had or does not fit the config; the message says what to do, and needs no traceback."""


def prepared_builder(name: str, data_dir: str | None) -> Any:
    """The TFDS builder of a dataset that is on disk as ArrayRecord, preparing it first if it is not.

    TFDS writes into a folder of its own beside the final one and renames it at the end, so that a killed
    preparation leaves nothing that looks finished, and of two that race one wins and the other reads its work.

    Args:
        name: a key of BUILDERS or a TFDS name such as "mnist" or "celeb_a".
        data_dir: where TFDS keeps datasets; None for ~/tensorflow_datasets.

    Raises:
        DatasetError: unknown name, no network, no TensorFlow where TFDS needs it, or an unreadable folder.
    """
    data_dir = str(Path(data_dir or DEFAULT_DATA_DIR).expanduser())
    builder = make_builder(name, data_dir)
    if not builder.is_prepared():
        try:
            builder.download_and_prepare(file_format="array_record")
        except Exception as error:
            builder = make_builder(name, data_dir)
            # Another process may have finished first, and the final rename failed for that reason.
            if not builder.is_prepared():
                raise DatasetError(explain(error, builder)) from error
        # A builder reads the finished folder only when it is constructed.
        builder = make_builder(name, data_dir)
    return builder


def make_builder(name: str, data_dir: str) -> Any:
    """A TFDS builder, not yet prepared perhaps."""
    import tensorflow_datasets as tfds

    if name in BUILDERS:
        module, attribute = BUILDERS[name].split(":")
        builder_class = getattr(importlib.import_module(module), attribute)
        return builder_class(data_dir=data_dir, file_format="array_record")
    try:
        return tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise DatasetError(
            f"data.name={name!r} is not known; expected 'mixture', {', '.join(map(repr, sorted(BUILDERS)))} "
            "or a name from https://www.tensorflow.org/datasets/catalog"
        ) from error
    except Exception as error:
        raise DatasetError(f"TFDS cannot open {name!r} in {data_dir}: {one_line(error)}") from error


def explain(error: BaseException, builder: Any) -> str:
    """One or two lines about a failed preparation: what happened, and what to do."""
    name, data_dir = builder.name, builder.data_dir_root
    causes = list(chain(error))
    for module in ("tensorflow", "importlib_resources"):
        if any(f"No module named '{module}" in str(cause) for cause in causes):
            return (
                f"TFDS needs {module} to prepare {name!r} (to read it afterwards, not).\n"
                f"Run once: pip install {module} && python -m data.prepare {name} --data_dir {data_dir}"
            )
    # requests' connection errors are OSErrors with a URL; so are the refusals of urllib3 beneath them.
    if any(type(cause).__module__.startswith(("requests", "urllib3")) for cause in causes):
        manual = getattr(builder, "MANUAL_ARCHIVE", None)
        hint = (
            f"Place {manual} in {data_dir}/downloads/manual, or prepare"
            if manual
            else "Prepare"
        )
        return (
            f"the download of {name!r} failed: {one_line(error)}\n"
            f"{hint} it on a machine with network (python -m data.prepare {name}) and copy {data_dir}/{name}."
        )
    return f"TFDS could not prepare {name!r} in {data_dir}: {one_line(error)}"


def chain(error: BaseException | None) -> Any:
    """An error and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def one_line(error: BaseException) -> str:
    """An error's type and the start of its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m data.prepare", description=__doc__.split("\n")[0])
    parser.add_argument("name", help="a dataset's name, as in config.data.name")
    parser.add_argument("--data_dir", default=DEFAULT_DATA_DIR, help="default: %(default)s")
    parsed = parser.parse_args(arguments)
    try:
        builder = prepared_builder(parsed.name, parsed.data_dir)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sizes = ", ".join(f"{split} {info.num_examples}" for split, info in builder.info.splits.items())
    print(f"{parsed.name}: {sizes}, in {builder.data_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
