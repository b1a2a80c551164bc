"""Lines that say what is done with a dataset."""

from __future__ import annotations


def say(message: str) -> None:
    """Print a line, as score_sde.progress does, which imports JAX only now: importing this package does not."""
    from score_sde import progress

    progress.say(message)
