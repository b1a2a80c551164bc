"""--json: one object on stdout, for programs; all that people read goes to stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from score_sde.version import made_by

_noted: ContextVar[list[dict[str, Any]] | None] = ContextVar("noted", default=None)


def note(record: dict[str, Any]) -> None:
    """A record of what a mode found, for the object that ends it; without --json nobody asks."""
    noted = _noted.get()
    if noted is not None:
        noted.append(record)


@contextlib.contextmanager
def only_json(**about: Any) -> Iterator[None]:
    """Within, what is printed goes to stderr; at the end stdout gets {"version", "commit", **about, "records": [...]}.

    The records are those noted within. If what is within fails, stdout gets nothing.
    """
    records: list[dict[str, Any]] = []
    token = _noted.set(records)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _noted.reset(token)
    if first_host():
        print(json.dumps({**made_by(), **about, "records": records}), flush=True)


def first_host() -> bool:
    """Without importing JAX where nothing has."""
    jax = sys.modules.get("jax")
    return jax is None or jax.process_index() == 0
