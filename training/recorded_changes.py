"""The changes of a run's config during training, each with the step from which it applies: a list in config.json."""

from __future__ import annotations

import copy
from typing import Any

from score_sde.errors import UserError

CHANGES = "changes"
"""The key of [{"step", "field", "from", "to"}, ...], in chronological order. The new value applies from update `step` + 1 on."""


def as_of(recorded: dict[str, Any], step: int) -> dict[str, Any]:
    """Return a recorded config as it was when the run reached this step, undoing all changes made at this step or later.

    This is also the config of update number `step`, counted from 1.

    Raises:
      UserError: the list of changes is damaged.
    """
    found = copy.deepcopy(recorded)
    changes = found.get(CHANGES, [])
    try:
        while changes and changes[-1]["step"] >= step:
            undo(found, changes.pop())
    except (TypeError, LookupError, AttributeError) as error:
        raise UserError(
            f"the list {CHANGES!r} in the folder's config.json is damaged ({error!r}): put back a copy of the file, or remove the list"
        ) from error
    return found


def undo(config: dict[str, Any], change: dict[str, Any]) -> None:
    """Restore the previous value of a changed field."""
    *sections, name = change["field"].split(".")
    section = config
    for of in sections:
        section = section.setdefault(of, {})
    section[name] = change["from"]
