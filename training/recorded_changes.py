"""What changed of a run's config on the way, and from which step on: the list that config.json has beside the sections."""

from __future__ import annotations

import copy
from typing import Any

from score_sde.errors import UserError

CHANGES = "changes"
"""In the file: [{"step", "field", "from", "to"}, ...], as they came. The updates that follow `step` others are the first of the new value."""


def as_of(recorded: dict[str, Any], step: int) -> dict[str, Any]:
    """A recorded config as it was before a run that stood at this step changed anything: without changes from there on.

    So it is also what update number `step` was made with, the first being 1.

    Raises:
      UserError: the list is damaged.
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
    """Give a dotted field the value that it had."""
    *sections, name = change["field"].split(".")
    section = config
    for of in sections:
        section = section.setdefault(of, {})
    section[name] = change["from"]
