"""Suggestions for mistakes on the command line, as text that ends the error message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from score_sde.errors import UserError
from score_sde.fields import known_fields
from score_sde.nearest import did_you_mean, did_you_mean_field, nearest
from score_sde.samplers.names import SECTIONS

DRAWING = ("sample", "evaluate", "interpolate", "restore")  # modes that draw by config.sampling


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


def unread_fields(mode: str, given: Iterable[str], config: Any) -> str:
    """A note on the given fields of config.sampling that nothing reads in this mode with this config; "" if there are none.

    None for modes that do not sample and for training, from whose config.json later commands take them.
    """
    sampling, given = config.sampling, list(dict.fromkeys(given))
    own, reader = SECTIONS.get(sampling.sampler), f"sampling.sampler={sampling.sampler!r}"
    if mode == "tradeoff":
        return by_the_list(given)
    if mode not in DRAWING or own is None:
        return ""
    own_sampler = mode == "restore" and has_own_sampler(config.restore.method)
    if own_sampler:
        own, reader = "pc", f"restore.method={config.restore.method!r}"
    others = {f"sampling.{name}" for name in SECTIONS.values()}
    unread = [name for name in given if name.rpartition(".")[0] in others - {f"sampling.{own}"}]
    notes = []
    if unread:
        notes.append(
            f"{reader} does not read {', '.join(unread)}, but the fields of sampling.{own}"
        )
    # restoration/methods.py names those of `pc` that a method's own sampler does not use.
    for setting, fields in () if own_sampler else idle_fields(sampling, own):
        idle = [name for name in given if name in fields]
        if idle:
            notes.append(f"with {setting} nothing reads {', '.join(idle)}")
    return f"note: {'; '.join(notes)}" if notes else ""


def idle_fields(sampling: Any, own: str) -> Iterator[tuple[str, set[str]]]:
    """Yield settings of a sampler with section `own`, each with the fields that have no effect under it."""
    steps = sampling[own].get("steps")
    if steps == "adaptive":
        yield f"sampling.{own}.steps=adaptive", {"sampling.grid.name", "sampling.grid.rho"}
    if steps == "grid":
        of_adaptive = {f"sampling.{own}.{name}" for name in ("rtol", "atol", "step_size")}
        yield f"sampling.{own}.steps=grid", of_adaptive
    if own == "pc" and sampling.pc.corrector == "none":
        yield "sampling.pc.corrector=none", {"sampling.snr", "sampling.n_steps_each"}


def has_own_sampler(method: str) -> bool:
    """Whether a restoration method has a sampler of its own, with options of sampling.pc; not if it is unknown."""
    from score_sde.restoration.methods import METHODS  # which imports JAX

    return method in METHODS and METHODS[method].sampler is not None


def by_the_list(given: Iterable[str]) -> str:
    """A note on the given fields that --mode tradeoff sets itself for each sampler of its list; "" if there are none."""
    from score_sde.samplers.entries import set_by_entries  # which imports JAX

    unread = [name for name in given if name.removeprefix("sampling.") in set_by_entries()]
    if not unread:
        return ""
    return (
        f"note: --mode tradeoff does not read {', '.join(unread)}, but samplers, steps and tolerances in tradeoff.samplers, "
        "grid, evaluations and tolerances"
    )


def field_names(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from field_names(value, f"{prefix}{name}.")
        else:
            yield prefix + name
