"""The config that a folder's checkpoints were trained with, so that weights are not read as what they are not.

Shapes tell one architecture from another; they cannot tell VP from sub-VP, or [-1, 1] from [0, 1], and a sample
or a likelihood under the wrong one looks like a bad model. Nor can a checkpoint tell that a run goes on with other
images or another loss than it began with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from score_sde.configs.default import get_config
from score_sde.data.fingerprint import NO_FILES, Fingerprint
from score_sde.errors import UserError
from score_sde.files import parse_json, write_whole
from score_sde.models.networks import declares_options
from score_sde.progress import say
from score_sde.training.field_roles import Role, role
from score_sde.training.judged_by import QUALITY, is_judged_by
from score_sde.training.origin import BEGAN_WITH
from score_sde.training.recorded_changes import CHANGES, as_of
from score_sde.version import made_by

FILE = "config.json"
ORIGIN = "training.init_from"
# In the file, beside the sections and CHANGES:
DATASET = "dataset"
CLASSES = "classes"  # in it
MADE_BY = "made_by"  # the version and commit with which the run began; environment.jsonl has those of every start


# What a field was called in folders of before: section, name then, name now.
RENAMED = (("model", "told_interval", "condition_interval"),)


def record_config(
    config: Any,
    workdir: Path,
    step: int | None,
    dataset: Fingerprint | None = None,
    classes: Sequence[str] = (),
    origin: dict[str, Any] | None = None,
) -> list[str]:
    """Write the config beside the checkpoints, and what the images and their classes are known by; gives the fields that change.

    Args:
      classes: names, in the order of the numbers that the network learns.
      origin: which weights a run begins with (origin.py), if with any that are given.
      step: the newest of them, from which training goes on. Then what changes is said and kept in the file (recorded_changes.py), and
        what had changed from there on is forgotten; without one there is nothing yet that an earlier config describes.

    Raises:
      UserError: the run began with another config, or the file is damaged.
    """
    # Which checkpoint a command takes is its own choice, and not the next one's.
    given, path = {**as_json(config), "checkpoint_step": 0}, workdir / FILE
    known = {} if dataset is None else dataset._asdict()
    if known or classes:
        given[DATASET] = known | ({CLASSES: list(classes)} if classes else {})
    earlier = recorded(workdir) if step is not None else None
    changes, new = list[dict[str, Any]](), list[str]()
    if earlier is not None and step is not None:
        refuse_differences(earlier, given, workdir, {Role.WEIGHTS, Role.RUN})
        refuse_other_figures(earlier, given, workdir)
        keep_origin(earlier, given)
        # After going back there are changes of steps that come again.
        then = as_of(earlier, step)
        changes = [
            {"step": step, "field": name, "from": before, "to": now}
            for name, before, now in differences(then, given, {Role.MAY_CHANGE})
        ]
        for change in changes:
            say("from step {step} on: {field}={to!r} (before: {from!r})".format_map(change))
        new = [change["field"] for change in changes]
        changes = [*then.get(CHANGES, []), *changes]
    began_by = made_by() if earlier is None else earlier.get(MADE_BY)
    began_with = origin if earlier is None else earlier.get(BEGAN_WITH)
    contents = {
        **given,
        **({CHANGES: changes} if changes else {}),
        # Folders of older versions have none.
        **({BEGAN_WITH: began_with} if began_with else {}),
        **({MADE_BY: began_by} if began_by else {}),
    }
    if jax.process_index() == 0 and contents != earlier:
        write_whole(path, (json.dumps(contents, indent=1) + "\n").encode())
    return new


def keep_origin(earlier: dict[str, Any], given: dict[str, Any]) -> None:
    """Keep what the run began with, which nothing that is given later can change."""
    began, now = (dict(fields(of)).get(ORIGIN, "") for of in (earlier, given))
    if now not in ("", began):
        origin = f"those of {began}" if began else "weights of its own"
        say(f"{ORIGIN}={now!r} is not used: the run goes on, and began with {origin}")
    given["training"]["init_from"] = began


def check_recorded(config: Any, workdir: Path) -> None:
    """Refuse a config under which the folder's weights mean something else.

    Raises:
      UserError: with the fields that differ; or the file is damaged.
    """
    earlier = recorded(workdir)
    if earlier is not None:
        # Where a consistency model leads to is part of what it is.
        also = ("training.eps",) if config.training.task == "consistency" else ()
        refuse_differences(earlier, as_json(config), workdir, {Role.WEIGHTS}, also)


def check_same_run(config: Any, workdir: Path) -> None:
    """Refuse a config with which training would not go on in this folder.

    Raises:
      UserError: with the fields that differ; or the file is damaged.
    """
    earlier = recorded(workdir)
    if earlier is not None:
        refuse_differences(earlier, as_json(config), workdir, {Role.WEIGHTS, Role.RUN})


def check_goes_on(config: Any, workdir: Path) -> None:
    """`check_same_run`, and refuse other figures of quality than those by which the folder's checkpoints are compared.

    Raises:
      UserError: with the fields that differ; or the file is damaged.
    """
    check_same_run(config, workdir)
    earlier = recorded(workdir)
    if earlier is not None:
        refuse_other_figures(earlier, as_json(config), workdir)


def refuse_other_figures(earlier: dict[str, Any], given: dict[str, Any], workdir: Path) -> None:
    """Refuse to compare checkpoints by distances of samples that were judged otherwise."""
    training = given["training"]
    by = training["keep_best_by"]
    if not (training["keep_best"] and by in QUALITY) or not dict(fields(earlier)).get(
        "training.quality_freq"
    ):
        return
    found = [
        f"{name}={now!r} ({before!r})"
        for name, before, now in differences(earlier, given, {Role.FREE})
        if is_judged_by(name, given)
    ]
    if found:
        raise UserError(
            f"the checkpoints in {workdir} are compared by training.keep_best_by={by!r}, and their figures were made otherwise: {', '.join(found)}; "
            "leave these as they were (in brackets), set training.keep_best_by=eval_loss, or begin another --workdir"
        )


def refuse_differences(
    earlier: dict[str, Any],
    given: dict[str, Any],
    workdir: Path,
    roles: set[Role],
    also: tuple[str, ...] = (),
) -> None:
    """Refuse fields of these roles, and these others, whose values differ from those of the earlier training."""
    found = [
        f"{name}={now!r} (trained with {before!r})"
        for name, before, now in differences(earlier, given, set(Role))
        if role(name) in roles or name in also
    ]
    if found:
        beside = (
            f"; training.init_from={str(workdir)!r} begins another run with its weights"
            if Role.RUN in roles
            else ""
        )
        raise UserError(
            f"the network in {workdir} was trained with another config: {', '.join(found)}; "
            f"use the config that it was trained with, or another --workdir{beside}"
        )


def differences(
    earlier: dict[str, Any], given: dict[str, Any], roles: set[Role]
) -> Iterator[tuple[str, Any, Any]]:
    """(field, recorded value, given value) of the fields with these roles that differ."""
    # What came after the folder was made has the value that changes nothing: a field its default, images those given.
    before = dict(fields({**as_json(get_config()), DATASET: given.get(DATASET, {})}))
    before |= dict(fields(earlier))
    now = dict(fields(given))
    # What no config has any more, no command could give.
    known = {name for name in before if name in now or name.startswith(f"{DATASET}.")}
    for name in sorted(known | now.keys()):
        if role(name) in roles and before.get(name) != now.get(name):
            yield name, before.get(name), now.get(name)


def recorded(workdir: Path) -> dict[str, Any] | None:
    """What config.json says, None if there is none.

    Raises:
      UserError: it is damaged.
    """
    return read(workdir / FILE)


def recorded_classes(workdir: Path) -> tuple[str, ...]:
    """Names of the classes in the order of the numbers that the folder's network knows; () where they are not recorded.

    Raises:
      UserError: the file is damaged.
    """
    return tuple(dict(fields(recorded(workdir) or {})).get(f"{DATASET}.{CLASSES}", ()))


def read(path: Path) -> dict[str, Any] | None:
    """`recorded`, of the file itself."""
    try:
        found = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(found, dict) or not isinstance(found.get(CHANGES, []), list):
        raise damaged(path, "no config")
    return updated(found)


def updated(found: dict[str, Any]) -> dict[str, Any]:
    """A record of before as it would be written now: under today's names, and without a value that had no part in it."""
    sections = {name: dict(of) if isinstance(of, dict) else of for name, of in found.items()}
    for section, before, now in RENAMED:
        values = sections.get(section)
        if isinstance(values, dict) and before in values:
            values.setdefault(now, values.pop(before))
    values = sections.get("data")
    # Such a size was ignored before it was refused.
    if isinstance(values, dict) and values.get("crop_size") and not values.get("resize"):
        values["crop_size"] = 0
    dataset = sections.get(DATASET)
    # What is drawn had no hash of its own.
    if isinstance(dataset, dict) and dataset.get("hash") == NO_FILES:
        del dataset["hash"]
    return sections


def damaged(path: Path, why: str) -> UserError:
    """The error for a recorded configuration that cannot be read."""
    return UserError(
        f"{path} is damaged ({why}); it says how the network in {path.parent} was trained: put back a copy, or remove it if you "
        "know, since the next training writes the config that it is given"
    )


def read_config(path: Path) -> Any:
    """The config that a folder was made with, or of its file; a field that came later has its default.

    Raises:
      UserError: there is none, or it is damaged.
    """
    path = path / FILE if path.is_dir() else path
    found = read(path)
    if found is None:
        raise UserError(f"{path} does not exist: give a folder in which a network was trained")
    config = get_config()

    def fill(section: Any, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name not in section and (section is not config.model or declares):
                continue  # of an older version
            if isinstance(value, dict):
                fill(section[name], value)
            else:
                # JSON has no tuples.
                section[name] = tuple(value) if isinstance(value, list) else value

    try:
        declares = declares_options(found["model"]["name"]) if "model" in found else True
        fill(config, found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise damaged(path, str(error)) from error
    config.checkpoint_step = 0  # files of older versions have that of a command
    return config


def as_json(config: Any) -> dict[str, Any]:
    """The configuration as values of JSON."""
    return json.loads(config.to_json())


def fields(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values."""
    for name, value in config.items():
        if not prefix and name in (MADE_BY, BEGAN_WITH):
            continue
        if isinstance(value, dict):
            yield from fields(value, f"{prefix}{name}.")
        elif prefix or name != CHANGES:
            yield f"{prefix}{name}", value
