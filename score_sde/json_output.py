"""--json: a single JSON object on stdout, for programs; all text for people goes to stderr."""

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
    """Add a record to the JSON object printed at the end; does nothing without --json."""
    noted = _noted.get()
    if noted is not None:
        noted.append(record)


@contextlib.contextmanager
def only_json(**about: Any) -> Iterator[None]:
    """Redirect prints to stderr in the block; then print {"version", "commit", **about, "records": [...]} to stdout.

    The records are those passed to `note` in the block. If the block raises, nothing is written to stdout.
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
    """Whether this is the first host, without importing JAX if it is not imported yet."""
    jax = sys.modules.get("jax")
    return jax is None or jax.process_index() == 0
