"""The recorded config of a folder's checkpoints, which ensures that the weights are not misinterpreted.

Shapes distinguish architectures, but not VP from sub-VP, or images in [-1, 1] from images in [0, 1], and samples or
likelihoods under the wrong one look like those of a bad model. Nor can a checkpoint show that a run is resumed with
other images or another loss than it began with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from score_sde.configs.default import get_config
from score_sde.data.fingerprint import NO_FILES, Fingerprint
from score_sde.data.image_shape import DRAWN, OF_STORED
from score_sde.errors import UserError
from score_sde.files import parse_json, write_whole
from score_sde.models.networks import condition_names, declares_options
from score_sde.progress import say
from score_sde.training.field_roles import Role, role
from score_sde.training.judged_by import QUALITY, is_judged_by
from score_sde.training.origin import BEGAN_WITH
from score_sde.training.recorded_changes import CHANGES, as_of
from score_sde.training.recorded_mask import MASK, check_mask, mask_of
from score_sde.version import made_by

FILE = "config.json"
ORIGIN = "training.init_from"
LABEL_DROPOUT = "training.label_dropout"
# Further keys of the file, besides the sections and CHANGES:
DATASET = "dataset"
CLASSES = "classes"  # a key of DATASET
MADE_BY = "made_by"  # the version and commit with which the run began; environment.jsonl has those of every start


# Renamed fields, for folders of older versions: (section, old name, new name).
RENAMED = (("model", "told_interval", "condition_interval"),)


def record_config(
    config: Any,
    workdir: Path,
    step: int | None,
    dataset: Fingerprint | None = None,
    classes: Sequence[str] = (),
    origin: dict[str, Any] | None = None,
) -> list[str]:
    """Write the config, the dataset's fingerprint and the class names next to the checkpoints; return the names of changed fields.

    Args:
      step: the newest checkpoint, from which training resumes. Changed fields are printed and recorded in the file
        (recorded_changes.py), and earlier records of changes from this step on are dropped. None: there is no checkpoint, so an
        earlier config is overwritten.
      classes: the class names in the order of the network's labels.
      origin: the weights that a new run starts from, as given by `origin_of` (origin.py).

    Raises:
      UserError: the run began with an incompatible config, or the file is damaged.
    """
    # The checkpoint that a command selects applies to this command only.
    given, path = {**as_json(config), "checkpoint_step": 0}, workdir / FILE
    known = {} if dataset is None else dataset._asdict()
    if known or classes:
        given[DATASET] = known | ({CLASSES: list(classes)} if classes else {})
    earlier = recorded(workdir) if step is not None else None
    changes, new = list[dict[str, Any]](), list[str]()
    if earlier is not None and step is not None:
        refuse_differences(earlier, given, workdir, {Role.WEIGHTS, Role.RUN})
        refuse_other_figures(earlier, given, workdir)
        check_mask(config, earlier, workdir)
        keep_origin(earlier, given)
        # After going back, drop the recorded changes of steps that will be repeated.
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
        **mask_of(config),
        # Folders of older versions have none.
        **({BEGAN_WITH: began_with} if began_with else {}),
        **({MADE_BY: began_by} if began_by else {}),
    }
    if jax.process_index() == 0 and contents != earlier:
        write_whole(path, (json.dumps(contents, indent=1) + "\n").encode())
    return new


def keep_origin(earlier: dict[str, Any], given: dict[str, Any]) -> None:
    """Keep the training.init_from that the run began with, whatever is given later."""
    began, now = (dict(fields(of)).get(ORIGIN, "") for of in (earlier, given))
    if now not in ("", began):
        origin = began or "fresh weights"
        say(f"ignoring {ORIGIN}={now!r}: the run resumes, and was started from {origin}")
    given["training"]["init_from"] = began


def check_recorded(config: Any, workdir: Path) -> None:
    """Check that the folder's weights have the same meaning under this config.

    Raises:
      UserError: fields differ (the message lists them), or the file is damaged.
    """
    earlier = recorded(workdir)
    if earlier is not None:
        # A consistency model maps to the time training.eps, so this is part of its meaning.
        also = ("training.eps",) if config.training.task == "consistency" else ()
        refuse_differences(earlier, as_json(config), workdir, {Role.WEIGHTS}, also)
        check_mask(config, earlier, workdir)


def check_learned_no_class(config: Any, workdir: Path) -> None:
    """Check that the folder's network was trained with label dropout if the config says so, by which modes know that it has an unconditional score.

    Raises:
      UserError: it was trained without (the message has both rates), or the file is damaged.
    """
    earlier = (
        recorded(workdir) if config.training.label_dropout and condition_names(config) else None
    )
    if earlier is not None and not label_dropout_of(earlier):
        refuse_differences(earlier, as_json(config), workdir, set(), (LABEL_DROPOUT,))


def label_dropout_of(earlier: dict[str, Any]) -> float:
    """The recorded rate of label dropout; folders that are older than the field were trained without."""
    return float(dict(fields(earlier)).get(LABEL_DROPOUT, 0.0))


def check_same_run(config: Any, workdir: Path) -> None:
    """Check that training in this folder can resume with this config.

    Raises:
      UserError: fields differ (the message lists them), or the file is damaged.
    """
    earlier = recorded(workdir)
    if earlier is not None:
        refuse_differences(earlier, as_json(config), workdir, {Role.WEIGHTS, Role.RUN})
        check_mask(config, earlier, workdir)


def check_goes_on(config: Any, workdir: Path) -> None:
    """Check as `check_same_run`, and that sample quality is measured as for the folder's earlier checkpoints.

    Raises:
      UserError: fields differ (the message lists them), or the file is damaged.
    """
    check_same_run(config, workdir)
    earlier = recorded(workdir)
    if earlier is not None:
        refuse_other_figures(earlier, as_json(config), workdir)


def refuse_other_figures(earlier: dict[str, Any], given: dict[str, Any], workdir: Path) -> None:
    """Raise UserError if checkpoints are ranked by sample quality and the settings of this measurement have changed."""
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
            f"the checkpoints in {workdir} are ranked by training.keep_best_by={by!r}, which was measured with different settings: {', '.join(found)}; "
            "restore the values in brackets, set training.keep_best_by=eval_loss, or use another --workdir"
        )


def refuse_differences(
    earlier: dict[str, Any],
    given: dict[str, Any],
    workdir: Path,
    roles: set[Role],
    also: tuple[str, ...] = (),
) -> None:
    """Raise UserError if fields with these roles, or fields named in `also`, differ from the recorded values."""
    found = [
        f"{name}={now!r} (trained with {before!r})"
        for name, before, now in differences(earlier, given, set(Role))
        if role(name) in roles or name in also
    ]
    if found:
        beside = (
            f"; training.init_from={str(workdir)!r} starts another run from its weights"
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
    """Yield (field, recorded value, given value) for each differing field with one of these roles."""
    # Fields newer than the folder have the value that changes nothing: their default, or the given one for the dataset.
    before = dict(fields({**as_json(get_config()), DATASET: given.get(DATASET, {})}))
    before |= dict(fields(earlier))
    now = dict(fields(given))
    # Ignore removed fields, which no command could set any more.
    known = {name for name in before if name in now or name.startswith(f"{DATASET}.")}
    for name in sorted(known | now.keys()):
        if role(name) in roles and before.get(name) != now.get(name):
            yield name, before.get(name), now.get(name)


def recorded(workdir: Path) -> dict[str, Any] | None:
    """Return the contents of config.json; None if there is none.

    Raises:
      UserError: the file is damaged.
    """
    return read(workdir / FILE)


def recorded_classes(workdir: Path) -> tuple[str, ...]:
    """Return the class names of the folder's network in the order of its labels; () if they are not recorded.

    Raises:
      UserError: the file is damaged.
    """
    return tuple(dict(fields(recorded(workdir) or {})).get(f"{DATASET}.{CLASSES}", ()))


def read(path: Path) -> dict[str, Any] | None:
    """Return the contents of a recorded config file, as `recorded` does for a folder."""
    try:
        found = parse_json(path.read_bytes(), named)  # older versions wrote Infinity
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); it records how the network in {path.parent} was trained: make it readable for this user"
        ) from error
    except ValueError as error:
        raise damaged(path, str(error)) from error
    if not isinstance(found, dict) or not isinstance(found.get(CHANGES, []), list):
        raise damaged(path, "no config")
    return updated(found)


def updated(found: dict[str, Any]) -> dict[str, Any]:
    """Update a record of an older version: use current field names, and drop values that had no effect."""
    sections = {name: dict(of) if isinstance(of, dict) else of for name, of in found.items()}
    for section, before, now in RENAMED:
        values = sections.get(section)
        if isinstance(values, dict) and before in values:
            values.setdefault(now, values.pop(before))
    values = sections.get("data")
    # A crop size without a resize used to be ignored; now it is an error.
    if isinstance(values, dict) and values.get("crop_size") and not values.get("resize"):
        values["crop_size"] = 0
    # So were options of stored images with a dataset that is drawn.
    if isinstance(values, dict) and values.get("name") in DRAWN:
        for field, harmless in OF_STORED.items():
            if values.get(field, harmless[0]) not in harmless:
                values[field] = harmless[0]
    dataset = sections.get(DATASET)
    # Older versions recorded the hash of an empty list of files for generated data.
    if isinstance(dataset, dict) and dataset.get("hash") == NO_FILES:
        del dataset["hash"]
    return sections


def damaged(path: Path, why: str) -> UserError:
    """Build the error for a recorded config that cannot be read."""
    return UserError(
        f"{path} is damaged ({why}); it records how the network in {path.parent} was trained: put back a copy, or, if you know the "
        "config, remove the file and train again, which records the config given"
    )


def read_config(path: Path) -> Any:
    """Read the config that a folder was trained with, from the folder or the file itself; newer fields have their defaults.

    Raises:
      UserError: the file does not exist or is damaged.
    """
    path = path / FILE if path.is_dir() else path
    found = read(path)
    if found is None:
        raise UserError(f"{path} does not exist: give a folder in which a network was trained")
    config = get_config()

    def fill(section: Any, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name not in section and (section is not config.model or declares):
                continue  # a field of an older version
            if isinstance(value, dict):
                fill(section[name], value)
            else:
                section[name] = value_like(section.get(name), value)

    try:
        declares = declares_options(found["model"]["name"]) if "model" in found else True
        fill(config, found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise damaged(path, str(error)) from error
    config.checkpoint_step = 0  # files of older versions recorded the command's value
    return config


def as_json(config: Any) -> dict[str, Any]:
    """Return the config as a dict of JSON values, with infinite numbers by `named`."""
    return json.loads(config.to_json(), parse_constant=named)


def named(constant: str) -> str:
    """The name of a number that JSON does not have, "inf" or "-inf", for Python's Infinity and -Infinity."""
    return str(float(constant))


def value_like(usual: Any, value: Any) -> Any:
    """The value of a field whose JSON value is `value`: a tuple for a list, and of numbers like `usual` an infinite one for its name."""
    if isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(usual, float) and value in ("inf", "-inf") else value


def fields(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each field."""
    for name, value in config.items():
        if not prefix and name in (MADE_BY, BEGAN_WITH, MASK):
            continue
        if isinstance(value, dict):
            yield from fields(value, f"{prefix}{name}.")
        elif prefix or name != CHANGES:
            yield f"{prefix}{name}", value
