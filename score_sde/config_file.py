"""A configuration from a file: Python with a get_config(), or the config.json of a folder in which a network was trained."""

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

MODULE = "config_file"  # what the file is called while it runs


def load_config(name: str) -> ConfigDict:
    """The configuration in FILE.py, its variant FILE.py:VARIANT, FOLDER/config.json or FOLDER.

    Raises:
      UserError: there is none; of an error in a Python file, with its file and line.
    """
    # A folder may have a colon in its name.
    whole = user_path(name).is_dir() or (name.endswith(".json") and user_path(name).is_file())
    file, colon, variant = (name, "", "") if whole else name.partition(":")
    path = user_path(file)
    if path.is_dir() or path.suffix == ".json":
        # Only now: this imports JAX.
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
    """The module that a file makes."""
    if not path.is_file():
        reason = "it is no file" if path.exists() else "No such file or directory"
        raise UserError(
            f"cannot read the config file {path} given to --config: {reason}{file_like(path)}"
        )
    loader = importlib.machinery.SourceFileLoader(MODULE, str(path))
    module = ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module  # where its dataclasses look for it
    with located(path):
        loader.exec_module(module)
    return module


def file_like(path: Path) -> str:
    """A guess at the file or trained folder that was meant: one beside it, or of configs/."""
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
    # By the whole path, and by the name alone where the folder or the ending was left out.
    by_name = {Path(file).stem: file for file in files}
    name = nearest(str(path), {**files, **folders}) or by_name.get(
        nearest(path.stem, by_name) or ""
    )
    return "" if name is None else f"; did you mean --config {name}?"


def call(get_config: Any, path: Path, arguments: list[str]) -> ConfigDict:
    """What get_config gives, which must be a configuration."""
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
    """A file's configuration with the fields that there are, all of them and no others; numbers of NumPy in tuples become Python's, for the record.

    Raises:
      UserError: a field that nobody reads, with the nearest that somebody does, or none where there is one.
    """
    from score_sde.configs.default import get_config  # and with it JAX, as in most such files
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
    """Say in a line what went wrong in the file, and where."""
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
