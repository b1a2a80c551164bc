"""Suggestions for mistakes on the command line, as text that ends the error message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ml_collections import ConfigDict

from score_sde.errors import UserError
from score_sde.fields import known_fields
from score_sde.nearest import did_you_mean, did_you_mean_field, nearest
from score_sde.samplers.names import SECTIONS


def guessed(argument: str, known: Iterable[str], modes: Iterable[str]) -> str:
    """A suggestion for an unknown argument: a flag, a field without `config.`, or a mode."""
    name = argument.lstrip("-").partition("=")[0]
    if not argument.startswith("-"):
        return did_you_mean(name, modes, "--mode {}")
    if "." not in name:
        if name in {field.rpartition(".")[2] for field in known_fields()}:
            return did_you_mean_field(name, known_fields())
        flag = did_you_mean(name, [*known, "help", "helpfull"], "--{}")
        return flag or did_you_mean_field(name, known_fields())
    return did_you_mean_field(name.partition(".")[2] if alike(name) else name, known_fields())


def alike(name: str) -> bool:
    """Whether a dotted name begins with `config` or a misspelling of it."""
    return nearest(name.partition(".")[0], ["config"]) is not None


def trained_like(workdir: Path, recorded: str) -> str:
    """A suggestion of the intended trained folder: one next to `workdir` that has the file `recorded`."""
    beside = {path.parent.name for path in workdir.parent.glob(f"*/{recorded}")} - {workdir.name}
    name = nearest(workdir.name, beside)
    return "" if name is None else f"; did you mean --workdir={workdir.parent / name}?"


def no_such_field(config: ConfigDict, field: str, sampler: str | None = None) -> UserError:
    """The error for a field that does not exist, with a suggestion: of several, first that of the chosen sampler's section."""
    section = f"sampling.{SECTIONS.get(sampler or config.sampling.sampler)}"
    guess = did_you_mean_field(field, field_names(config), prefer=section)
    return UserError(f"no such field in the config: {field}{guess or '; --helpfull lists them'}")


def field_names(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from field_names(value, f"{prefix}{name}.")
        else:
            yield prefix + name
