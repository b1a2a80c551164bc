"""Loading of configurations from Python files with a get_config(), or from the config.json of a trained folder."""

from __future__ import annotations

import contextlib
import importlib.machinery
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.guesses import field_names, no_such_field
from score_sde.nearest import nearest
from score_sde.options import absent, value_of

MODULE = "config_file"  # name of the module while the file runs


def load_config(name: str) -> ConfigDict:
    """Load the configuration of FILE.py, FILE.py:VARIANT, FOLDER/config.json or FOLDER.

    Raises:
      UserError: there is none, or the Python file raises an error, which is reported with file and line.
    """
    # A folder may have a colon in its name.
    whole = user_path(name).is_dir() or (name.endswith(".json") and user_path(name).is_file())
    file, colon, variant = (name, "", "") if whole else name.partition(":")
    path = user_path(file)
    if path.is_dir() or path.suffix == ".json":
        # Imported here because it imports JAX.
        from score_sde.training.recorded_config import read_config

        if colon:
            raise UserError(
                f"--config={name}: a recorded config has no variants; leave out ':{variant}'"
            )
        return read_config(path)
    get_config = getattr(run_file(path), "get_config", None)
    if not callable(get_config):
        raise UserError(f"{path}, given to --config, is no configuration: it has no get_config()")
    return call(get_config, path, [variant] if colon else [])


def run_file(path: Path) -> ModuleType:
    """Run a file as a module, and return the module."""
    if not path.is_file():
        reason = "it is no file" if path.exists() else "No such file or directory"
        raise UserError(
            f"cannot read the config file {path} given to --config: {reason}{file_like(path)}"
        )
    loader = importlib.machinery.SourceFileLoader(MODULE, str(path))
    module = ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module  # needed by dataclasses in the file
    with located(path):
        loader.exec_module(module)
    return module


def file_like(path: Path) -> str:
    """A suggestion of the intended file or trained folder, next to the missing one or in configs/."""
    if path.exists():
        return ""
    found = [
        *path.parent.glob("*.py"),
        *Path("configs").glob("*.py"),
        *path.parent.glob("*/config.json"),
    ]
    folders = {str(file.parent): str(file.parent) for file in found if file.suffix == ".json"}
    files = {
        str(file): str(file) for file in found if file.suffix == ".py" and file.stem != "__init__"
    }
    # Match the whole path or, in case the folder or suffix was left out, the name alone.
    by_name = {Path(file).stem: file for file in files}
    name = nearest(str(path), {**files, **folders}) or by_name.get(
        nearest(path.stem, by_name) or ""
    )
    return "" if name is None else f"; did you mean --config {name}?"


def call(get_config: Any, path: Path, arguments: list[str]) -> ConfigDict:
    """Call get_config with these arguments; refuse a result that is not a configuration."""
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        raise UserError(
            f"{path}: this configuration has no variants; leave out ':{arguments[0]}'"
            if arguments
            else f"{path}: this configuration has variants only; choose one, as --config={path}:NAME"
        ) from error
    with located(path):
        config = get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{path}: get_config() gives a {type(config).__name__}; expected the ConfigDict of score_sde.configs.default.get_config(), "
            "with changes"
        )
    return checked(config, path)


def checked(config: ConfigDict, path: Path) -> ConfigDict:
    """Check that a configuration has exactly the known fields; convert NumPy numbers in tuples to Python's, for the record.

    Raises:
      UserError: an unknown field, with the most similar known one, or a missing field.
    """
    from score_sde.configs.default import get_config  # which imports JAX, as most config files do
    from score_sde.models.networks import declares_options

    default = get_config()
    known, found = set(field_names(default)), [*field_names(config)]
    if missing := sorted(known - {*found}):
        raise UserError(f"{path}: {absent(missing[0])}")
    of_network = () if declares_options(config.model.name) else ("model.",)
    for name in found:
        if name not in known and not name.startswith(of_network):
            raise UserError(f"{path}: {no_such_field(default, name)}")
    for name in found:
        section, _, field = name.rpartition(".")
        value = value_of(config, name)
        if isinstance(value, tuple) and any(isinstance(item, np.generic) for item in value):
            numbers = (item.item() if isinstance(item, np.generic) else item for item in value)
            value_of(config, section)[field] = tuple(numbers)
    return config


@contextlib.contextmanager
def located(path: Path) -> Iterator[None]:
    """Turn an error in the file into a UserError of one line with its place."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        place, words = f"{path}:{lines[-1]}" if lines else str(path), str(error)
        if isinstance(error, SyntaxError) and error.filename:
            place, words = f"{error.filename}:{error.lineno}", error.msg
        raise UserError(f"{place}: {type(error).__name__}: {' '.join(words.split())}") from error
